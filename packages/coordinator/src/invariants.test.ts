/** That the check can fail: states that are broken by hand, each noticed. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { Swarm, uploadOf } from './for-tests.ts';
import { brokenInvariant } from './invariants.ts';
import type { MinerRecord } from './miner.ts';
import type { State } from './state.ts';

/** Two on stage 0, of whom a has leases and a pinned backward; b on stage 1 has leases; c works. */
function busy(): Swarm {
  const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 8 });
  swarm.compute((id, { kind }) => id === 'a' && kind === 'forward');
  for (let i = 0; i < 4; i++) swarm.receipt('b', swarm.leasesOf('b')[0]!.id);
  return swarm;
}
/** One stage that waits for a's gradient and has b's. */
function merging(): Swarm {
  const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
  swarm.compute();
  swarm.contribute('b');
  return swarm;
}
/** One stage where somebody is idle, since all work is given out. */
function idle(): Swarm {
  return Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
}
const a = (state: State): MinerRecord => state.miners.get('a')!;
const flowOf = (state: State, step = 0, index = 0) => state.steps.get(step)!.flows[index]!;

const CORRUPTIONS: [what: string, says: RegExp, scene: () => Swarm, corrupt: (state: State) => void][] = [
  // ── miners
  ['a miner is on a stage whose crew does not have it', /a is in the crew of another stage/, busy, (state) => (a(state).stage = 1)],
  ['a crew forgets a miner', /miners, but crews of/, busy, (state) => state.crews[0]!.remove(a(state))],
  ['a miner is forgotten that stands in a crew', /miners, but crews of/, busy, (state) => state.miners.delete('c')],
  ['a miner has a lease too many', /a holds 3 leases/, busy, (state) => a(state).leases.add('t-77')],
  ['a kept input is booked that nobody keeps', /a is booked with \d+ kept inputs/, busy, (state) => (a(state).kept += 1)],
  ['an input is kept that is not booked', /is booked with/, busy, (state) => (flowOf(state, 0, 7).cells[0]!.holder = 'c')],
  [
    'a miner keeps far too many inputs',
    /a keeps \d+ inputs/,
    () => Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 60 }),
    (state) => {
      for (let i = 0; i < LIMITS.keptInputs + 3; i++) flowOf(state, 0, i).cells[0]!.holder = 'a';
      a(state).kept = LIMITS.keptInputs + 3;
    },
  ],
  ['a miner that loads holds leases', /a is loading and holds leases/, busy, (state) => (a(state).phase = 'loading')],
  ['a change of a miner was not told to its crew', /a stands in taken, not in out/, busy, (state) => (a(state).connected = false)],
  [
    'a lease belongs to another',
    /holds lease .*, which is not its own/,
    busy,
    (state) => (state.leases.get([...a(state).leases][0]!)!.minerId = 'c'),
  ],
  ['a lease is not known', /which is not its own/, busy, (state) => state.leases.delete([...a(state).leases][0]!)],
  [
    'a lease is of another version',
    /a lease of another stage or version/,
    busy,
    (state) => (state.leases.get([...a(state).leases][0]!)!.version = 7),
  ],
  [
    'a task does not know of its lease',
    /is open and its task does not know/,
    busy,
    (state) => state.taskOf(state.leases.get([...a(state).leases][0]!)!).open.pop(),
  ],
  ['an assignment is owed that nobody will send', /a is owed an assignment/, idle, (state) => (a(state).owed = 'it was late')],

  // ── stages
  ['stages are two versions apart', /stages are at versions 2,0/, () => new Swarm(), (state) => (state.stages[0]!.version = 2)],
  [
    'a microbatch is in two gradients',
    /microbatch 2 is in two gradients of stage 0/,
    merging,
    (state) => state.stages[0]!.merge.contributions.push({ minerId: 'x', round: 9, ...uploadOf('x', 9, 2), microbatches: [2] }),
  ],
  [
    'a gradient is booked that nobody handed in',
    /is booked as contributed/,
    merging,
    (state) => (flowOf(state).cells[0]!.contributed = true),
  ],
  [
    'a gradient is handed in and not booked',
    /is booked as contributed/,
    merging,
    (state) => (flowOf(state, 0, 2).cells[0]!.contributed = false),
  ],
  [
    'somebody is asked for a gradient who is not there',
    /stage 0 asks x for round 1/,
    merging,
    (state) => state.stages[0]!.merge.collecting.set('x', { round: 1, microbatches: [0], since: 0, redone: false }),
  ],
  ['a miner goes on with the round it is asked for', /stage 0 asks a for round/, merging, (state) => (a(state).round = 1)],
  [
    'somebody is asked for what is there already',
    /a is asked for a microbatch that is contributed/,
    merging,
    (state) => state.stages[0]!.merge.collecting.get('a')!.microbatches.push(2),
  ],
  [
    'a stage merges while a gradient is redone',
    /stage 0 merges while a gradient is redone/,
    merging,
    (state) => (state.stages[0]!.merge.collecting.get('a')!.redone = true),
  ],
  [
    'a stage merges with work left',
    /stage 0 merges with open tasks/,
    busy,
    (state) => {
      state.stages[0]!.phase = 'merging';
      state.stages[0]!.merge.collecting.set('a', { round: 0, microbatches: [9], since: 0, redone: false });
    },
  ],

  // ── steps
  [
    'too many steps are open',
    /3 steps are open/,
    idle,
    (state) => {
      for (const number of [8, 9]) state.steps.set(number, state.steps.get(0)!);
    },
  ],
  ['a microbatch is under way and not counted', /under way, booked/, busy, (state) => (state.steps.get(0)!.underWay -= 1)],
  ['tasks are open and not counted', /tasks open at stage 1, booked/, busy, (state) => (state.steps.get(0)!.open[1]! -= 1)],
  [
    'a ready task is on no list',
    /forwards ready at stage 0, \d+ listed/,
    () => Swarm.ready(['a', 'b'], { microbatchesPerStep: 8 }),
    (state) => state.steps.get(0)!.ready[0]!.forward.pop(),
  ],
  ['a pinned task is on no list', /backwards ready at stage 0, \d+ listed/, busy, (state) => state.steps.get(0)!.pinned.get('a')!.pop()],
  ['an empty list is left', /an empty list, or one of nobody/, busy, (state) => state.steps.get(0)!.pinned.set('c', [])],
  [
    'a list is left of somebody who is gone',
    /an empty list, or one of nobody/,
    busy,
    (state) => state.steps.get(0)!.pinned.set('z', [flowOf(state)]),
  ],
  [
    'a leased task has no lease',
    /0 open leases/,
    idle,
    (state) => {
      const miner = [...state.miners.values()].find(({ leases }) => leases.size > 0)!;
      flowOf(state).cells[0]!.backward!.open = [];
      miner.leases.clear();
      state.refresh(miner);
    },
  ],
  [
    'a task names a lease that is lost',
    /lease .* is not open/,
    busy,
    (state) => {
      const { id } = [...state.leases.values()].find((lease) => lease.state === 'counted')!;
      state.taskOf(state.leases.get([...a(state).leases][0]!)!).open.push(id);
    },
  ],
  [
    'the gradient of a task that is done is with nobody',
    /its gradient was with c, who is gone/,
    () => {
      const swarm = Swarm.ready(['a', 'c'], { stages: 1, microbatchesPerStep: 4 });
      swarm.compute((_, { microbatch }) => microbatch < 3);
      return swarm;
    },
    (state) => {
      const miner = state.miners.get('c')!;
      for (const { cells } of state.steps.get(0)!.flows) if (cells[0]!.backward!.state === 'done') cells[0]!.backward!.minerId = 'c';
      miner.phase = 'loading';
      miner.leases.clear();
      state.crewOf(miner).place(miner);
    },
  ],
  [
    'an abandoned microbatch is still to be done',
    /abandoned and is still to be done/,
    busy,
    (state) => (flowOf(state, 0, 7).abandoned = true),
  ],

  // ── nobody waits without a reason
  [
    'somebody could work and is not asked',
    /could do microbatch \d \(backward\) at stage 0, and is not asked/,
    idle,
    (state) => {
      const step = state.steps.get(0)!;
      const [lease] = state.leases.values();
      state.lose(lease!);
      expect(step.ready[0]!.backward.length).toBe(1);
    },
  ],
  [
    'work waits for somebody who has nothing to do',
    /work waits for a, who stands in half/,
    busy,
    (state) => {
      const lease = state.leases.get([...a(state).leases][0]!)!;
      lease.state = 'lost';
      a(state).leases.delete(lease.id);
      state.taskOf(lease).open = [];
      state.steps.get(0)!.settle(lease.flow, 0, 'backward', 'done', 'a', 0);
      lease.flow.cells[0]!.holder = null;
      a(state).kept -= 1;
      state.crewOf(a(state)).place(a(state));
    },
  ],
];

describe('the check of the invariants', () => {
  it.each([
    ['busy', busy],
    ['merging', merging],
    ['idle', idle],
    ['empty', () => new Swarm()],
  ] as const)('finds nothing wrong with a state that is sound: %s', (_, scene) => {
    expect(brokenInvariant(scene().coordinator)).toBeNull();
  });

  it.each(CORRUPTIONS)('notices that %s', (_, says, scene, corrupt) => {
    const swarm = scene();
    expect(brokenInvariant(swarm.coordinator)).toBeNull();
    corrupt(swarm.coordinator.state);
    expect(brokenInvariant(swarm.coordinator)).toMatch(says);
  });
});
