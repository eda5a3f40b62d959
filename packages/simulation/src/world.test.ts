/** Thousands of faults in every run of the tests; `npm run simulate` runs as many seeds as anybody has time for. */
import { Coordinator } from '@starling/coordinator';
import { describe, expect, it, vi } from 'vitest';
import { CALM, ROUGH, scaled } from './schedule.ts';
import { add, faultsOf, noTally } from './tally.ts';
import { type Options, World } from './world.ts';

const options = (over: Partial<Options> = {}): Options => ({
  stages: 3,
  miners: 8,
  steps: 3,
  microbatchesPerStep: 6,
  minMicrobatches: 5,
  validationMicrobatches: 2,
  schedule: ROUGH,
  check: true,
  snapshotEvery: 100,
  ...over,
});

describe('the protocol under faults', () => {
  it.each([
    ['rough', 1, 250, options()],
    ['three times as rough', 1_000, 170, options({ schedule: scaled(ROUGH, 3) })],
    ['one stage', 2_000, 40, options({ stages: 1, miners: 4, schedule: scaled(ROUGH, 2) })],
    ['one miner a stage', 3_000, 40, options({ stages: 4, miners: 4, schedule: scaled(ROUGH, 2) })],
    ['clipped together', 3_500, 60, options({ clip: 'global', schedule: scaled(ROUGH, 2) })],
    ['merging beside the next step', 3_700, 80, options({ overlap: true, schedule: scaled(ROUGH, 2) })],
    ['many miners', 4_000, 6, options({ stages: 6, miners: 60, microbatchesPerStep: 24, minMicrobatches: 20, steps: 2 })],
  ])('%s: finishes every run, and no invariant breaks', { timeout: 120_000 }, async (_, from, seeds, world) => {
    const tally = noTally();
    for (let seed = from; seed < from + seeds; seed++) add(tally, await new World(seed, world).run());
    expect(tally.failures, 'run it again with `npm run simulate -- --seed N` and the same options').toEqual([]);
    expect(faultsOf(tally)).toBeGreaterThan(5 * seeds);
  });

  it('goes on under other rules after every clean end, and never handles an input again by others than it was', {
    timeout: 120_000,
  }, async () => {
    const tally = noTally();
    const world = options({ upgrades: true, schedule: { ...scaled(ROUGH, 2), kill: 0.05 } });
    for (let seed = 3_900; seed < 3_920; seed++) add(tally, await new World(seed, world).run());
    expect(tally.failures).toEqual([]);
    expect(tally.faults.upgrade).toBeGreaterThan(20);
  });

  it('gets there over lines on which every transfer takes over a minute', async () => {
    for (const transfer of [65_000, 110_000]) {
      const { problem, counters } = await new World(1, options({ schedule: CALM, stages: 2, miners: 6, transfer })).run();
      expect(problem, `${transfer / 1000} s a transfer`).toBeNull();
      expect(counters!.bans).toBe(0);
    }
  });

  it('wastes nothing when nothing goes wrong', async () => {
    const { problem, computed, counted, assigned, counters } = await new World(1, options({ schedule: CALM, uniform: true })).run();
    expect(problem).toBeNull();
    expect(computed).toBe(counted);
    expect(assigned).toBe(8);
    expect(counters).toMatchObject({ handedOver: 0, hedged: 0, recomputed: 0, redone: 0, rejected: 0, bans: 0, abandoned: 0 });
  });
});

describe('the simulation itself', () => {
  it('gives the same run for the same seed', async () => {
    const run = () => new World(7, options({ schedule: scaled(ROUGH, 3) })).run();
    expect(await run()).toEqual(await run());
  });

  it('notices a run that stands still', async () => {
    const { problem } = await new World(1, options({ strikes: { miner: () => 'lie' } })).run();
    expect(problem).toContain('no progress');
  });

  it('notices a broken invariant', async () => {
    const handle = Coordinator.prototype.handle;
    const spy = vi.spyOn(Coordinator.prototype, 'handle').mockImplementation(function (this: Coordinator, input, now) {
      const effects = handle.call(this, input, now);
      if (input.type === 'receipt') for (const miner of this.state.miners.values()) miner.kept += 1;
      return effects;
    });
    const { problem } = await new World(1, options()).run();
    spy.mockRestore();
    expect(problem).toContain('kept inputs');
  });

  it.each([
    [
      'credit without a receipt',
      'has credit',
      (coordinator: Coordinator) => {
        for (const credit of coordinator.state.credits.values()) credit.receipts += 1;
      },
    ],
    [
      'a miner that is not told why it waits',
      'is not told why',
      (coordinator: Coordinator) => {
        for (const miner of coordinator.state.miners.values()) miner.waiting = null;
      },
    ],
  ])('notices %s', async (_, message, spoil) => {
    const handle = Coordinator.prototype.handle;
    const spy = vi.spyOn(Coordinator.prototype, 'handle').mockImplementation(function (this: Coordinator, input, now) {
      const effects = handle.call(this, input, now);
      if (input.type === 'tick') spoil(this);
      return effects;
    });
    const { problem } = await new World(1, options()).run();
    spy.mockRestore();
    expect(problem).toContain(message);
  });

  it('notices an input that counts twice', async () => {
    const handle = Coordinator.prototype.handle;
    const spy = vi.spyOn(Coordinator.prototype, 'handle').mockImplementation(function (this: Coordinator, input, now) {
      const effects = handle.call(this, input, now);
      if (input.type === 'receipt') this.state.counters.hedged += 1;
      return effects;
    });
    const { problem } = await new World(1, options({ schedule: scaled(ROUGH, 5) })).run();
    spy.mockRestore();
    expect(problem).toContain('changed something when it was delivered again');
  });

  it('notices a log that does not give the state back', async () => {
    const snapshot = Coordinator.prototype.snapshot;
    let count = 0;
    const spy = vi.spyOn(Coordinator.prototype, 'snapshot').mockImplementation(function (this: Coordinator) {
      const state = snapshot.call(this);
      return { ...state, counters: { ...state.counters, moved: ++count } };
    });
    const { problem } = await new World(1, options({ schedule: scaled({ ...CALM, kill: 0.5 }, 1) })).run();
    spy.mockRestore();
    expect(problem).toContain('the whole log');
  });
});
