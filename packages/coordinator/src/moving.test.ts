/** Planned moves between stages. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { of, Swarm } from './for-tests.ts';

describe('a planned move', () => {
  /** Stage 0 has a and c, stage 1 has b, who is ten times slower. */
  function unbalanced(): Swarm {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 8 });
    for (let version = 1; version <= 4; version++) {
      for (let done = false; !done; ) {
        const stage = swarm.stages.find((stage) => stage.version < version);
        done = stage === undefined;
        swarm.compute((id, lease) => lease.version < version && id !== 'b', 10);
        const slow = swarm.leasesOf('b').find((lease) => lease.version < version);
        if (slow) swarm.wait(1_000).receipt('b', slow.id);
        swarm.contributeAll();
        for (const index of swarm.reductions.keys()) swarm.merge(index);
        for (const [id, { merge }] of swarm.hands) if (merge) swarm.apply(id);
      }
    }
    return swarm;
  }

  it('waits until the miner’s stage has merged, so that nothing is lost by it', () => {
    const swarm = unbalanced();
    const { handedOver } = swarm.counters;
    swarm.tick(LIMITS.rebalanceEvery);
    const mover = ['a', 'c'].find((id) => swarm.miner(id).moving !== null)!;
    expect(swarm.miner(mover)).toMatchObject({ moving: 1, stage: 0 });
    expect(swarm.counters.moved).toBe(0);
    const late = swarm.counters.handedOver;
    swarm.reach(5);
    expect(swarm.coordinator.miner(mover)).toMatchObject({ stage: 1, moving: null, phase: 'loading' });
    expect(of(swarm.log, 'assign').at(-1)).toMatchObject({ minerId: mover, stage: 1, why: 'stage 1 was the slowest' });
    expect([swarm.counters.moved, swarm.counters.handedOver - late]).toEqual([1, 0]);
    expect(handedOver).toBe(0);
    // What it was over there says nothing of what it is here.
    expect(swarm.miner(mover).samples).toBe(0);
    swarm.reach(6);
  });

  it('is looked for once a minute, and not while another is on its way', () => {
    const swarm = unbalanced();
    swarm.tick(LIMITS.rebalanceEvery);
    const planned = () => ['a', 'b', 'c'].filter((id) => swarm.miner(id).moving !== null);
    const first = planned();
    expect(first.length).toBe(1);
    swarm.tick(LIMITS.rebalanceEvery);
    expect(planned()).toEqual(first);
  });

  /** Who is to move, and the step until then done but for the merge. */
  function planned(swarm: Swarm): string {
    swarm.tick(LIMITS.rebalanceEvery);
    return ['a', 'c'].find((id) => swarm.miner(id).moving !== null)!;
  }

  it('does not take place when the miner is away by then', () => {
    const swarm = unbalanced();
    const mover = planned(swarm);
    swarm.compute((_, lease) => lease.version < 5);
    swarm.contributeAll();
    swarm.disconnect(mover);
    swarm.merge(0);
    expect(swarm.miner(mover)).toMatchObject({ stage: 0, moving: null });
    expect(swarm.counters.moved).toBe(0);
  });

  it('does not take place when the miner is the last of its stage by then', () => {
    const swarm = unbalanced();
    const mover = planned(swarm);
    swarm.leave(mover === 'a' ? 'c' : 'a');
    swarm.reach(5);
    expect(swarm.miner(mover)).toMatchObject({ stage: 0, moving: null });
    expect(swarm.counters.moved).toBe(0);
  });
});
