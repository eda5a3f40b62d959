/** Whose fault a useless result is, who is to try next, and when its microbatch is left out. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, grants, of, refusal, Swarm } from './for-tests.ts';
import { packFlows, unpackFlows } from './packed.ts';
import type { GrantedLease } from './types.ts';

/** Everything but the counts of refusals. */
const text = (swarm: Swarm) => JSON.stringify(swarm.coordinator.snapshot()).replaceAll(/"rejected":\d+/g, '');

describe('a useless result', () => {
  it('takes the lease from its miner at once, counts as late, and another gets it', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    const effects = swarm.forfeit('a', 't-1');
    expect(refusal(effects)).toBe('TENSOR_NOT_FINITE');
    expect(grants(effects)).toMatchObject([{ minerId: 'c', lease: { kind: 'forward', microbatch: 0 } }]);
    expect(swarm.miner('a').late).toBe(1);
    expect(swarm.coordinator.credit('a')).toMatchObject({ receipts: 0 });
  });

  it('is the last word on its lease', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    swarm.forfeit('a', 't-1');
    const before = text(swarm);
    expect(refusal(swarm.forfeit('a', 't-1'))).toBe('LEASE_EXPIRED');
    expect(refusal(swarm.receipt('a', 't-1'))).toBe('LEASE_EXPIRED');
    expect(text(swarm)).toBe(before);
    expect(refusal(swarm.forfeit('c', 't-1'))).toBe('LEASE_NOT_YOURS');
  });

  it('for the third time, in whosever hands, leaves the microbatch out of its step', () => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 1, microbatchesPerStep: 8 });
    const spoilt = swarm.leasesOf('a')[0]!.microbatch;
    const hands: string[] = [];
    const isSpoilt = (id: string) => swarm.leasesOf(id).find(({ microbatch }) => microbatch === spoilt);
    for (let i = 0; i < 3; i++) {
      const id = ['a', 'b', 'c', 'd'].find((id) => isSpoilt(id))!;
      hands.push(id);
      swarm.forfeit(id, isSpoilt(id)!.id);
      swarm.compute((_, { microbatch }) => microbatch !== spoilt);
    }
    expect(new Set(hands).size).toBeGreaterThan(1);
    expect(codes(swarm.log)).toContain('MICROBATCH_ABANDONED');
    expect(swarm.counters.abandoned).toBe(1);
    swarm.contributeAll();
    expect(swarm.reductions.get(0)).toMatchObject({ tokens: 7 * 8 });
    expect(of(swarm.merge(0), 'closed')).toMatchObject([{ step: 0, tokens: 7 * 8 }]);
  });

  it('is asked for on and on when no more microbatches may be left out, and people are told', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2, minMicrobatches: 2 });
    for (let i = 0; i < 4; i++) {
      swarm.compute((_, { microbatch }) => microbatch === 1);
      const effects = swarm.forfeit('a', swarm.leasesOf('a')[0]!.id);
      expect(codes(effects).includes('MICROBATCH_USELESS')).toBe(i >= 2);
      expect(swarm.leasesOf('a'), 'it rests').toEqual([]);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.counters.abandoned).toBe(0);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 16 }]);
  });

  it('in a snapshot that tells only how many there were is read', () => {
    const { state } = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 }).coordinator;
    const [flow] = state.steps.get(0)!.flows;
    const task = flow!.cells[0]!.backward!;
    task.forfeits = ['a', 'b'];
    const [packed] = packFlows([flow!]);
    const before = structuredClone(packed!);
    (before[3][0]![1] as { forfeits: unknown }).forfeits = 2;
    unpackFlows([before], [flow!]);
    expect(task.forfeits).toHaveLength(2);
    expect(task.forfeits).not.toContain('a');
  });

  it('of a held-out microbatch leaves that out, whatever the step needs', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 1, validationMicrobatches: 2 });
    for (let i = 0; i < 3; i++) {
      const isUseless = ({ kind, microbatch }: GrantedLease) => kind === 'evaluate' && microbatch === 0;
      swarm.compute((_, lease) => !isUseless(lease));
      swarm.forfeit('a', swarm.leasesOf('a').find(isUseless)!.id);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.counters.abandoned).toBe(1);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 8, validation: { tokens: 8, lossSum: 16 } }]);
  });

  it('is not the last word while another still computes the same', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 3, minMicrobatches: 1 });
    const { state } = swarm.coordinator;
    const task = state.steps.get(0)!.flows[0]!.cells[0]!.backward!;
    const [holder] = ['a', 'b', 'c'].filter((id) => swarm.leasesOf(id).some(({ microbatch }) => microbatch === 0));
    const lease = swarm.leasesOf(holder!).find(({ microbatch }) => microbatch === 0)!;
    swarm.disconnect(holder!);
    swarm.compute((_, { microbatch }) => microbatch !== 0);
    const [hedge] = grants(swarm.tick());
    swarm.resume(holder!);
    task.forfeits = ['d', 'e'];
    swarm.forfeit(holder!, lease.id);
    expect(task).toMatchObject({ open: [hedge!.lease.id], forfeits: ['d', 'e', holder] });
    const effects = swarm.forfeit(hedge!.minerId, hedge!.lease.id);
    expect(codes(effects)).toContain('MICROBATCH_ABANDONED');
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 2 * 8 }]);
  });
});

describe('what was useless in some hands', () => {
  /** One gives a result of no use and leaves, one computes, and two fetch the stage and come back every four minutes. */
  function delayed() {
    const swarm = Swarm.ready(['s', 'h'], { stages: 1, microbatchesPerStep: 2, minMicrobatches: 2 });
    for (const id of ['l', 'm']) swarm.join(id);
    swarm.forfeit('s', swarm.leasesOf('s')[0]!.id);
    swarm.leave('s');
    return swarm;
  }

  it('comes back to who was late with it, or rested, before anybody waits for those that are not there yet', () => {
    const swarm = delayed();
    for (const { id } of swarm.leasesOf('h')) swarm.busy('h', id);
    swarm.pass(2_000);
    swarm.compute();
    swarm.contributeAll();
    expect(swarm.stages[0]!.phase).not.toBe('training');
  });

  it('waits for nobody who fetches the stage again and again', () => {
    const swarm = Swarm.ready(['h'], { stages: 1, microbatchesPerStep: 2, minMicrobatches: 2 });
    for (const id of ['l', 'm']) swarm.join(id);
    const [{ id, microbatch }] = swarm.leasesOf('h') as [GrantedLease, ...GrantedLease[]];
    swarm.forfeit('h', id);
    swarm.pass(LIMITS.shortestRest);
    swarm.compute();
    const isBack = () => swarm.leasesOf('h').some((lease) => lease.microbatch === microbatch);
    swarm.pass(LIMITS.longestWait - 2_000);
    expect(isBack()).toBe(false);
    swarm.pass(2_000);
    expect(isBack()).toBe(true);
  });

  it('is left out by those that are here, whatever one has proved that is not, and bans do not grow of it', () => {
    const swarm = Swarm.ready(['p', 'a', 'b', 'c'], { stages: 1, microbatchesPerStep: 8, minMicrobatches: 4 });
    const { state } = swarm.coordinator;
    state.reputationOf('p').cleanSteps = LIMITS.trustedSteps;
    for (const { id } of swarm.leasesOf('p')) swarm.busy('p', id, LIMITS.longestRest);
    for (let waited = 0; waited <= LIMITS.restPatience; waited += 30_000) {
      swarm.pass(30_000);
      swarm.busy('p', null, LIMITS.longestRest);
    }
    const spoilt = 7;
    for (let i = 0; i < 20 && swarm.counters.abandoned === 0; i++) {
      swarm.compute((_, { microbatch }) => microbatch !== spoilt);
      for (const id of ['a', 'b', 'c']) for (const lease of swarm.leasesOf(id)) swarm.forfeit(id, lease.id);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.counters.abandoned).toBe(1);
    expect(swarm.counters.bans).toBeLessThan(4);
  });

  it('costs one that is alone with it one ban, and the list of who tried does not grow', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    swarm.coordinator.state.reputationOf('b').cleanSteps = LIMITS.trustedSteps;
    swarm.busy('b', null, LIMITS.longestRest);
    for (let i = 0; i < 40; i++) {
      for (const { id } of swarm.leasesOf('a')) swarm.forfeit('a', id);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.counters.bans).toBeGreaterThan(0);
    expect(swarm.counters.bans).toBeLessThan(3);
    expect(swarm.coordinator.state.steps.get(0)!.flows[0]!.cells[0]!.backward!.forfeits.length).toBeLessThanOrEqual(LIMITS.forfeitsPerTask);
  });
});

describe('strangers that give back whatever they get', () => {
  const MICROBATCHES = 24;

  /** `strangers` at the second stage, and honest miners at both. */
  function besieged(strangers: number, over = {}) {
    const swarm = new Swarm({ stages: 2, microbatchesPerStep: MICROBATCHES, minMicrobatches: 18, ...over });
    for (const id of 'abcdefgh') swarm.join(id);
    const evil: string[] = [];
    for (let i = 0; evil.length < strangers; i++) {
      swarm.join(`s${i}`);
      if (swarm.miner(`s${i}`).stage === 1) evil.push(`s${i}`);
    }
    const honest = swarm.crews[1]!.filter((id) => !evil.includes(id));
    for (const id of [...swarm.crews[0]!, ...evil]) swarm.load(id);
    const { state } = swarm.coordinator;
    /** Until they have nothing left. Returns how many results of no use there were. */
    const spoil = () => {
      let many = 0;
      for (let held = true; held; ) {
        held = false;
        swarm.compute((_, { stage }) => stage === 0);
        for (const id of evil)
          for (const { id: lease } of swarm.leasesOf(id)) {
            swarm.forfeit(id, lease);
            held = true;
            many += 1;
          }
        if (many > 1_000) break;
      }
      return many;
    };
    /** The honest compute and hand in all there is, and everybody applies it. */
    const step = () => {
      for (const [id, { merge }] of swarm.hands) if (merge) swarm.apply(id);
      for (let busy: string | undefined = 'all'; busy; ) {
        spoil();
        busy = honest.find((id) => swarm.leasesOf(id).length > 0);
        if (busy) swarm.wait(1_000).receipt(busy, swarm.leasesOf(busy)[0]!.id);
      }
      swarm.contributeAll();
      for (const stage of [0, 1]) swarm.merge(stage);
    };
    const lateOf = (ids: readonly string[]) => ids.map((id) => swarm.miner(id).late);
    return { swarm, state, evil, honest, spoil, step, lateOf };
  }

  it('have each microbatch once, while those that fetch their stage are waited for', () => {
    const { swarm, evil, honest, spoil, step, lateOf } = besieged(1);
    expect(spoil()).toBeLessThanOrEqual(MICROBATCHES);
    expect(spoil()).toBe(0);
    swarm.pass(30_000);
    expect(swarm.counters.abandoned).toBe(0);
    for (const id of honest) swarm.load(id);
    step();
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: MICROBATCHES * 8 }]);
    expect(lateOf(honest)).toEqual(honest.map(() => 0));
    expect(swarm.counters.bans).toBeGreaterThan(0);
    expect(of(swarm.log, 'event').filter(({ code, message }) => code === 'MINER_BANNED' && !message.includes(evil[0]!))).toEqual([]);
  });

  it('leave nothing out where others have proved something, however long those take to apply a merge', () => {
    const { swarm, state, honest, step, spoil, lateOf } = besieged(3);
    for (const id of honest) swarm.load(id);
    for (const id of honest) state.reputationOf(id).cleanSteps = 1;
    for (let version = 0; version < 3; version++) step();
    const before = swarm.counters.abandoned;
    for (const [id, { merge }] of swarm.hands) if (merge && !honest.includes(id)) swarm.apply(id);
    for (let seconds = 0; seconds < 60; seconds++) {
      spoil();
      swarm.tick(1_000);
    }
    expect(swarm.stages[1]!.version).toBe(3);
    step();
    expect(swarm.counters.abandoned).toBe(before);
    expect(swarm.stages[1]!.version).toBe(4);
    expect(lateOf(honest)).toEqual(honest.map(() => 0));
  });

  it('leave out no more than a step may lack, where nobody has proved anything', () => {
    const { swarm, honest, spoil, step } = besieged(6);
    spoil();
    expect(swarm.counters.abandoned).toBeLessThanOrEqual(MICROBATCHES - 18);
    for (const id of honest) swarm.load(id);
    step();
    expect(of(swarm.log, 'closed')[0]!.tokens).toBeGreaterThanOrEqual(18 * 8);
  });

  it('have a microbatch left out when one that is trusted can make nothing of it either', () => {
    const { swarm, state, evil, honest } = besieged(2);
    const [proven, ...others] = honest as [string, ...string[]];
    state.reputationOf(proven).cleanSteps = LIMITS.trustedSteps;
    for (const id of honest) swarm.load(id);
    swarm.compute((_, { stage }) => stage === 0);
    const lease = swarm.leasesOf(proven)[0]!;
    const flow = state.steps.get(0)!.flows[lease.microbatch]!;
    const { forfeits } = flow.cells[1]!.backward!;
    forfeits.push(...evil);
    swarm.forfeit(proven, lease.id);
    expect(flow.abandoned).toBe(true);
    expect(state.trustIn(proven), 'it has no say in it before it has proved as much again').toBe(0);
    state.reputationOf(others[1]!).cleanSteps = LIMITS.trustedSteps;
    const other = swarm.leasesOf(others[0]!)[0]!;
    const its = state.steps.get(0)!.flows[other.microbatch]!;
    its.cells[1]!.backward!.forfeits.push(...evil);
    swarm.forfeit(others[0]!, other.id);
    expect(its.abandoned).toBe(false);
  });
});
