/** Steps in which nothing moves any more. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, of, Swarm } from './for-tests.ts';

const { stalledStep } = LIMITS;

/** Two stages; x holds the second one alone and does only what is given; nothing else moves. */
function standing(done: number, over = {}): Swarm {
  const swarm = Swarm.ready(['a', 'x'], { microbatchesPerStep: 4, minMicrobatches: 2, ...over });
  swarm.compute((_, { microbatch }) => microbatch < done);
  return swarm;
}
/** The clock goes on, and x asks for a rest again and again: nobody is late, and nothing moves. */
function rest(swarm: Swarm, ms: number): ReturnType<Swarm['tick']> {
  const effects: ReturnType<Swarm['tick']> = [];
  for (const end = swarm.now + ms; swarm.now < end; ) {
    for (const id of ['a', 'x']) {
      for (const { id: lease } of swarm.leasesOf(id)) swarm.busy(id, lease, LIMITS.longestRest);
      swarm.busy(id, null, LIMITS.longestRest);
    }
    effects.push(...swarm.tick(Math.min(10_000, end - swarm.now)));
  }
  return effects;
}

describe('a step in which nothing was settled for five minutes', () => {
  it('goes on without what is missing, if enough is there', () => {
    const swarm = standing(3);
    expect(codes(rest(swarm, stalledStep - 1))).not.toContain('MICROBATCH_ABANDONED');
    const effects = rest(swarm, 1);
    expect(codes(effects)).toEqual(['MICROBATCH_ABANDONED']);
    expect(swarm.counters.abandoned).toBe(1);
    swarm.contributeAll();
    for (const stage of [0, 1]) swarm.merge(stage);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 3 * 8 }]);
  });

  it('waits on while too few are there', () => {
    const swarm = standing(1);
    rest(swarm, 4 * stalledStep);
    expect(swarm.counters.abandoned).toBe(0);
    // One more is done, and five minutes later the other two are left out.
    swarm.busy('a', null, 0);
    swarm.busy('x', null, 0);
    swarm.compute((_, { kind, microbatch }) => kind === 'forward' || microbatch < 2);
    rest(swarm, stalledStep);
    expect(swarm.counters.abandoned).toBe(2);
  });

  it('counts what was left out before: no stage is ever merged of fewer than wanted', () => {
    const swarm = Swarm.ready(['a', 'x'], { microbatchesPerStep: 3, minMicrobatches: 2 });
    for (let i = 0; i < LIMITS.forfeitsPerTask; i++) {
      swarm.compute((id, { microbatch }) => id === 'a' && microbatch !== 0);
      swarm.forfeit('a', swarm.leasesOf('a')[0]!.id);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.counters.abandoned).toBe(1);
    // Two are left; one of them is done.
    swarm.compute((_, { microbatch }) => microbatch === 1);
    rest(swarm, 2 * stalledStep);
    expect(swarm.counters.abandoned).toBe(1);
    swarm.pass(LIMITS.banMaximum);
    swarm.reach(1);
    for (const { tokens } of swarm.begun(swarm.log)) expect(tokens).toBe(2 * 8);
  });

  it('goes on without held-out microbatches that are missing, since none of them is needed', () => {
    const swarm = standing(0, { validationMicrobatches: 2, minMicrobatches: 4 });
    swarm.compute((id, { kind }) => id === 'a' || kind !== 'evaluate');
    swarm.contributeAll();
    rest(swarm, stalledStep);
    expect(swarm.counters.abandoned).toBe(2);
    swarm.contributeAll();
    for (const stage of [0, 1]) swarm.merge(stage);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 32, validation: null }]);
  });

  it('has moved when one receipt came: five minutes begin anew', () => {
    const swarm = standing(3);
    rest(swarm, stalledStep - 1);
    swarm.busy('a', null, 0);
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    rest(swarm, stalledStep - 1);
    expect(swarm.counters.abandoned).toBe(0);
    rest(swarm, 1);
    expect(swarm.counters.abandoned).toBe(1);
  });

  it('is not one that waits for gradients, nor the next one that waits for this one', () => {
    // x does not hand in its gradient, and fetches its stage every minute; stage 0 is a step ahead.
    const swarm = Swarm.ready(['a', 'x'], { microbatchesPerStep: 2, minMicrobatches: 1 });
    swarm.compute();
    swarm.contribute('a');
    swarm.merge(0);
    swarm.apply('a');
    swarm.compute((id) => id === 'a');
    expect(swarm.stages.map((stage) => stage.version)).toEqual([1, 0]);
    rest(swarm, 3 * stalledStep);
    expect(of(swarm.log, 'event').filter(({ message }) => message.includes('step 1'))).toEqual([]);
    expect(swarm.counters.abandoned).toBe(0);
  });
});

describe('a run', () => {
  it('makes progress with one miner on every stage, however slow each of them is', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 3, microbatchesPerStep: 3 });
    // Every receipt takes as long as the longest deadline; the clock ticks all the while.
    for (let i = 0; i < 400 && swarm.stages.some((stage) => stage.version < 3); i++) {
      swarm.pass(LIMITS.maximumDeadline / 10, 5_000);
      for (const [id, { assigned, merge }] of swarm.hands) {
        if (assigned) swarm.load(id);
        if (merge) swarm.apply(id);
      }
      for (const id of ['a', 'b', 'c']) {
        const [lease] = swarm.leasesOf(id);
        if (lease && i % 3 === 0) swarm.receipt(id, lease.id);
      }
      swarm.contributeAll();
      for (const stage of swarm.reductions.keys()) swarm.merge(stage);
    }
    expect(swarm.stages.map((stage) => stage.version)).toEqual([3, 3, 3]);
    expect(of(swarm.log, 'closed').map(({ tokens }) => tokens)).toEqual([24, 24, 24]);
  });
});
