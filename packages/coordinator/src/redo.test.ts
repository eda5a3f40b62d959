/** Gradients that do not come: others compute their microbatches again, and whoever is first counts. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, grants, of, refusal, Swarm, whom } from './for-tests.ts';

const { firstRedo, collectDeadline } = LIMITS;

/** One stage; a has done two microbatches and does not hand in its gradient, the others have. */
function waiting(others = ['b'], over = {}): Swarm {
  const swarm = Swarm.ready(['a', ...others], { stages: 1, microbatchesPerStep: 2 + 2 * others.length, ...over });
  swarm.compute();
  for (const id of others) swarm.contribute(id);
  return swarm;
}

describe('a gradient that takes too long', () => {
  it('is waited for as long as a first upload may take, and then computed again by idle miners', () => {
    const swarm = waiting();
    expect(grants(swarm.tick(firstRedo - 1))).toEqual([]);
    const effects = swarm.tick(1);
    expect(codes(effects)).toEqual(['CONTRIBUTION_REDONE']);
    expect(grants(effects)).toMatchObject([
      { minerId: 'b', lease: { kind: 'backward', microbatch: 0 } },
      { minerId: 'b', lease: { kind: 'backward', microbatch: 1 } },
    ]);
    expect([swarm.counters.redone, swarm.stages[0]!.phase]).toEqual([1, 'training']);
    // Nobody is blamed, and it is asked no less than before.
    expect(swarm.miner('a')).toMatchObject({ late: 0, phase: 'ready' });
  });

  it('counts all the same when it comes before the others are done, and what they do is surplus', () => {
    const swarm = waiting();
    const again = grants(swarm.tick(firstRedo));
    const effects = swarm.contribute('a');
    expect(refusal(effects)).toBeUndefined();
    expect(of(effects, 'cancel').map(({ leaseId }) => leaseId)).toEqual(again.map(({ lease }) => lease.id));
    expect(swarm.begun(effects)).toMatchObject([{ tokens: 32, contributions: [{ minerId: 'a' }, { minerId: 'b' }] }]);
    for (const { minerId, lease } of again) expect(of(swarm.receipt(minerId, lease.id), 'settled')).toMatchObject([{ outcome: 'surplus' }]);
    swarm.reach(1);
  });

  it('is not wanted any more when the first of its microbatches was done again', () => {
    const swarm = waiting();
    const [first] = grants(swarm.tick(firstRedo));
    const effects = swarm.receipt('b', first!.lease.id);
    expect(codes(effects)).toEqual(['CONTRIBUTION_LATE']);
    expect(refusal(swarm.contribute('a'))).toBe('CONTRIBUTION_LATE');
    expect(swarm.miner('a')).toMatchObject({ late: 0, phase: 'ready' });
    swarm.compute();
    expect(of(swarm.log, 'collect').at(-1)).toMatchObject({ minerId: 'b', microbatches: [0, 1] });
    expect(swarm.begun(swarm.contribute('b'))).toMatchObject([{ tokens: 32 }]);
    swarm.merge(0);
    // Of a merged step nothing is known any more.
    swarm.hands.get('a')!.collect = of(swarm.log, 'collect')[0]!;
    expect(refusal(swarm.contribute('a'))).toBe('CONTRIBUTION_UNEXPECTED');
  });

  it('is computed again once', () => {
    const swarm = waiting();
    swarm.tick(firstRedo);
    expect(grants(swarm.tick(100))).toEqual([]);
    expect(swarm.counters.redone).toBe(1);
  });

  it('is not computed again while everybody else has something to do, or owes a gradient itself', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    expect(codes(swarm.tick(firstRedo))).toEqual([]);
    swarm.contribute('b');
    expect(codes(swarm.tick())).toEqual(['CONTRIBUTION_REDONE']);
  });

  it('is computed again at once when the connection of its miner is gone', () => {
    const swarm = waiting();
    swarm.disconnect('a');
    expect(whom(grants(swarm.tick(1)))).toEqual(['b', 'b']);
    // It is back and hands in: first.
    swarm.resume('a');
    expect(swarm.begun(swarm.contribute('a')).length).toBe(1);
  });

  it('is awaited for no longer than the time that uploads of the stage usually take allows', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    for (let version = 1; version <= 4; version++) {
      swarm.compute();
      swarm.wait(3_000);
      swarm.contributeAll();
      swarm.merge(0);
      for (const id of ['a', 'b']) swarm.apply(id);
    }
    swarm.compute();
    swarm.contribute('b');
    expect(codes(swarm.tick(5_999))).toEqual([]);
    expect(codes(swarm.tick(1))).toEqual(['CONTRIBUTION_REDONE']);
  });

  it('costs its miner a late mark and its stage when it has not come after a minute, done again or not', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    swarm.pass(collectDeadline - 1);
    expect(codes(swarm.log)).not.toContain('CONTRIBUTION_LATE');
    const effects = swarm.tick(1);
    expect(codes(effects)).toEqual(['CONTRIBUTION_LATE', 'CONTRIBUTION_LATE']);
    expect(of(effects, 'assign')).toMatchObject([
      { minerId: 'a', why: 'its gradient did not arrive in time' },
      { minerId: 'b', why: 'its gradient did not arrive in time' },
    ]);
    expect(swarm.miner('a')).toMatchObject({ late: 1, phase: 'loading' });
    swarm.reach(1);
  });

  it('costs its miner the same when others have begun to do it again and are no faster', () => {
    const swarm = waiting();
    swarm.tick(firstRedo);
    const effects = swarm.tick(collectDeadline - firstRedo);
    expect(codes(effects)).toContain('CONTRIBUTION_LATE');
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'a' }]);
    swarm.reach(1);
    expect(swarm.begun(swarm.log)).toMatchObject([{ tokens: 32 }]);
  });
});

describe('whoever does its own microbatches again', () => {
  /** a's gradient is being redone by b, who is gone then: a itself is the only one left. */
  function alone(): Swarm {
    const swarm = waiting();
    swarm.tick(firstRedo);
    swarm.leave('b');
    return swarm;
  }

  it('is asked for the new sum, with everything that is in it', () => {
    const swarm = alone();
    expect(swarm.leasesOf('a').map(({ microbatch }) => microbatch)).toEqual([0, 1]);
    swarm.compute();
    expect(refusal(swarm.log)).toBeUndefined();
    expect(of(swarm.log, 'collect').at(-1)).toMatchObject({ minerId: 'a', microbatches: [0, 1] });
    expect(swarm.counters.handedOver).toBe(2); // b's leases
    expect(swarm.begun(swarm.contribute('a'))).toMatchObject([{ tokens: 32 }]);
  });

  it('may hand in the old one first', () => {
    const swarm = alone();
    const effects = swarm.contribute('a');
    expect(swarm.begun(effects).length).toBe(1);
    expect(whom(of(effects, 'cancel'))).toEqual(['a', 'a']);
  });

  it('leaves what it has not done again to be done', () => {
    const swarm = alone();
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    expect(refusal(swarm.contribute('a'))).toBe('CONTRIBUTION_LATE');
    expect(swarm.leasesOf('a').map(({ microbatch }) => microbatch)).toEqual([1]);
    swarm.reach(1);
    expect(of(swarm.log, 'collect').at(-1)).toMatchObject({ minerId: 'a', microbatches: [0, 1] });
  });
});

describe('a microbatch that was left out of its step', () => {
  it('goes with the gradient that others were faster than, and is not done again', () => {
    // a and b share stage 1, x and y stage 0.
    const swarm = Swarm.ready(['x', 'a', 'y', 'b'], { microbatchesPerStep: 4, minMicrobatches: 1 });
    swarm.compute((_, { kind, stage }) => stage === 1 || kind === 'forward');
    expect(of(swarm.log, 'collect')).toMatchObject([
      { minerId: 'a', stage: 1, microbatches: [0, 2, 3] },
      { minerId: 'b', stage: 1, microbatches: [1] },
    ]);
    swarm.contribute('b');
    // At stage 0 microbatch 0 is useless in everybody's hands.
    for (let i = 0; i < 3; i++) {
      swarm.compute((_, { microbatch }) => microbatch !== 0);
      const holder = ['x', 'y'].find((id) => swarm.leasesOf(id).length > 0)!;
      swarm.forfeit(holder, swarm.leasesOf(holder)[0]!.id);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.counters.abandoned).toBe(1);
    // What a has done does not come, and 2 and 3 of it are done again.
    const again = grants(swarm.tick(firstRedo)).filter(({ lease }) => lease.stage === 1);
    expect(again.map(({ lease }) => lease.microbatch)).toEqual([2, 3]);
    swarm.compute((_, { stage }) => stage === 1);
    const { flows } = swarm.coordinator.state.steps.get(0)!;
    expect(flows.map(({ cells }) => cells[1]!.backward!.state)).toEqual(['dropped', 'done', 'done', 'done']);
    swarm.reach(1);
    const merged = swarm.begun(swarm.log).find(({ stage }) => stage === 1)!;
    expect(merged.contributions.map(({ minerId, microbatches }) => [minerId, microbatches])).toEqual([
      ['b', [1]],
      ['b', [2, 3]],
    ]);
    expect(merged.tokens).toBe(3 * 8);
  });

  it('counts at a stage that has handed in its gradient in time', () => {
    const swarm = Swarm.ready(['x', 'a', 'y'], { microbatchesPerStep: 2, minMicrobatches: 1 });
    swarm.compute((_, { kind, stage }) => stage === 1 || kind === 'forward');
    swarm.contribute('a');
    for (let i = 0; i < 3; i++) {
      swarm.compute((_, { microbatch }) => microbatch !== 0);
      const holder = ['x', 'y'].find((id) => swarm.leasesOf(id).length > 0)!;
      swarm.forfeit(holder, swarm.leasesOf(holder)[0]!.id);
      swarm.pass(LIMITS.shortestRest);
    }
    swarm.reach(1);
    expect(swarm.begun(swarm.log).map(({ stage, tokens }) => [stage, tokens])).toEqual([
      [1, 2 * 8],
      [0, 8],
    ]);
  });
});
