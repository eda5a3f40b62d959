/** Planned moves between stages. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, of, Swarm } from './for-tests.ts';
import type { Effect } from './types.ts';

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

describe('a stage where work waits and nobody does any', () => {
  /** Two hold the other stage. Whoever held `stage` is gone, and `n0`, who came for them, fetches it. */
  function besieged(stage: number) {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { microbatchesPerStep: 4 });
    const honest = swarm.crews[1 - stage]!;
    let names = 0;
    const come = () => {
      const id = `n${names++}`;
      swarm.join(id);
      expect(swarm.miner(id)).toMatchObject({ stage, phase: 'loading' });
      return id;
    };
    const [first, second] = swarm.crews[stage] as [string, string];
    swarm.leave(first);
    const name = come();
    swarm.leave(second);
    return { swarm, honest, come, name };
  }
  const isSent = (effects: readonly Effect[]) => codes(effects).includes('MINER_MOVED');

  it('that is only ever fetched, under one name after the other, is sent one that works', () => {
    const { swarm, honest, come, name } = besieged(1);
    swarm.compute(undefined, 1_000);
    swarm.tick();
    let loader = name;
    for (let minute = 1; minute < 5; minute++) {
      expect(isSent(swarm.tick(60_000)), `${minute} minutes`).toBe(false);
      const next = come();
      expect(isSent(swarm.leave(loader))).toBe(false);
      loader = next;
    }
    expect(isSent(swarm.tick(60_000))).toBe(true);
    const sent = swarm.crews[1]!.find((id) => honest.includes(id))!;
    // It has five minutes, too; and who is left there is the last.
    swarm.tick(60_000);
    expect(swarm.counters.moved).toBe(1);
    swarm.load(sent);
    swarm.compute((id) => id === sent);
    expect(swarm.stages[1]!.phase).toBe('merging');
  });

  it('is sent one beside who rests on and on', () => {
    const { swarm, come, name } = besieged(0);
    let loader = come();
    swarm.busy(name, null, LIMITS.longestRest);
    swarm.load(name);
    for (let half = 1; half < 10; half++) {
      swarm.busy(name, null, LIMITS.longestRest);
      expect(isSent(swarm.tick(30_000)), `${half / 2} minutes`).toBe(false);
      if (half % 4 > 0) continue;
      const next = come();
      swarm.leave(loader);
      loader = next;
    }
    expect(swarm.miner(name)).toMatchObject({ phase: 'ready', absent: true });
    swarm.busy(name, null, LIMITS.longestRest);
    expect(isSent(swarm.tick(30_000))).toBe(true);
  });

  it('is sent one beside those who fetch it, rest at once, and go', () => {
    const { swarm, come, name } = besieged(0);
    let loader = name;
    for (let minute = 1; minute < 5; minute++) {
      const next = come();
      swarm.busy(loader, null, LIMITS.longestRest);
      swarm.load(loader);
      swarm.tick(30_000);
      expect(swarm.miner(loader)).toMatchObject({ phase: 'ready', resting: true });
      swarm.leave(loader);
      expect(isSent(swarm.tick(30_000)), `${minute} minutes`).toBe(false);
      loader = next;
    }
    expect(isSent(swarm.tick(60_000))).toBe(true);
  });

  it('is sent one after ten minutes at most beside those who take leases and answer none', () => {
    const { swarm, honest, come, name } = besieged(0);
    let taker = name;
    swarm.load(taker);
    for (let minute = 1; minute < 10; minute++) {
      expect(isSent(swarm.tick(60_000)), `${minute} minutes`).toBe(false);
      const next = come();
      swarm.load(next);
      expect(swarm.leasesOf(next).length).toBeGreaterThan(0);
      swarm.leave(taker);
      taker = next;
    }
    expect(isSent(swarm.tick(60_000))).toBe(true);
    expect(swarm.crews[0]!.some((id) => honest.includes(id))).toBe(true);
  });

  it('is not one whose miner takes almost five minutes for whatever it does, nor one that waits for it', () => {
    const { swarm, name } = besieged(0);
    swarm.load(name);
    for (let microbatch = 0; microbatch < 4; microbatch++) {
      const lease = swarm.leasesOf(name).find((held) => held.microbatch === microbatch)!;
      swarm.pass(280_000, 5_000);
      swarm.receipt(name, lease.id);
      expect(swarm.coordinator.credit(name)).toMatchObject({ receipts: microbatch + 1, surplus: 0 });
    }
    expect(swarm.counters.moved).toBe(0);
  });

  it('is not one whose miner has fetched it for long and computes now', () => {
    const { swarm, name } = besieged(0);
    swarm.pass(LIMITS.phaseDeadline - 5_000);
    swarm.load(name);
    swarm.pass(LIMITS.firstDeadline - 1_000);
    swarm.receipt(name, swarm.leasesOf(name)[0]!.id);
    expect(swarm.coordinator.credit(name)!.receipts).toBe(1);
    swarm.pass(LIMITS.phaseDeadline - 1_000);
    expect(swarm.counters.moved).toBe(0);
  });
});
