import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { disturb } from './chaos.ts';
import { RULES } from './constants.ts';
import { Coordinator } from './coordinator.ts';
import { configOf, Dice, of, Swarm } from './for-tests.ts';
import { brokenInvariant } from './invariants.ts';
import { noTimes } from './times.ts';
import type { CoordinatorConfig, Input } from './types.ts';

const copyOf = (coordinator: Coordinator) => Coordinator.restore(JSON.parse(JSON.stringify(coordinator.snapshot())));
const text = (coordinator: Coordinator) => JSON.stringify(coordinator.snapshot());

function swarmOf(seed: number, over: Partial<CoordinatorConfig> = {}): { swarm: Swarm; dice: Dice } {
  const dice = new Dice(seed);
  const stages = 1 + dice.below(3);
  const shape = { stages, microbatchesPerStep: 2 + dice.below(6), validationMicrobatches: dice.below(2), validateEvery: 2 };
  const swarm = new Swarm({ ...shape, ...over });
  for (let i = 0; i <= stages; i++) swarm.join(`m${i}`);
  return { swarm, dice };
}
const MOOD = { miners: 9, wrong: 0.12 };

describe('a coordinator that is read from a snapshot', () => {
  it('has the same snapshot, at every point of many runs', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { swarm, dice } = swarmOf(seed);
      for (let i = 0; i < 150; i++) {
        disturb(swarm, dice, MOOD);
        const copy = copyOf(swarm.coordinator);
        expect(text(copy), `seed ${seed}, input ${i}`).toBe(text(swarm.coordinator));
        expect(brokenInvariant(copy)).toBeNull();
      }
    }
  });

  it('behaves the same ever after: same effects and same snapshots for the same inputs, from whatever point it was taken at', () => {
    let copies = 0;
    const met = new Set<Input['type']>();
    for (let seed = 101; seed <= 120; seed++) {
      const { swarm, dice } = swarmOf(seed);
      const others: { since: number; coordinator: Coordinator }[] = [];
      let inputs = 0;
      swarm.watchers.push((input, effects) => {
        inputs += 1;
        met.add(input.type);
        for (const { since, coordinator } of others) {
          const same = JSON.stringify(coordinator.handle(structuredClone(input), swarm.now));
          expect(same, `seed ${seed}, copy of ${since}, input ${inputs}: ${JSON.stringify(input)}`).toBe(JSON.stringify(effects));
        }
        if (inputs % 10 > 0) return;
        const now = text(swarm.coordinator);
        for (const { since, coordinator } of others) expect(text(coordinator), `seed ${seed}, copy of ${since}, input ${inputs}`).toBe(now);
      });
      for (let i = 0; i < 600; i++) {
        // One copy from every fiftieth input or so, and copies of copies; all of them live to the end.
        if (dice.chance(0.02) && others.length < 8) {
          const from = dice.chance(0.3) ? (dice.pick(others)?.coordinator ?? swarm.coordinator) : swarm.coordinator;
          others.push({ since: inputs, coordinator: copyOf(from) });
          copies += 1;
        }
        disturb(swarm, dice, MOOD);
      }
    }
    expect(copies).toBeGreaterThan(80);
    expect(met.size).toBe(18);
  });

  it('is a copy: what is done to one leaves the other as it was', () => {
    const { swarm, dice } = swarmOf(7);
    for (let i = 0; i < 200; i++) disturb(swarm, dice, MOOD);
    const snapshot = text(swarm.coordinator);
    const copy = copyOf(swarm.coordinator);
    for (let i = 0; i < 50; i++) disturb(swarm, dice, MOOD);
    expect(text(copy)).toBe(snapshot);
  });

  it('chooses the same of miners that have been overdue for long, although its heaps are new', () => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 1, microbatchesPerStep: 200 });
    const dice = new Dice(3);
    let copy = copyOf(swarm.coordinator);
    for (let i = 0; i < 600; i++) {
      swarm.wait(dice.below(900));
      const id = dice.pick(['a', 'b', 'c', 'd'])!;
      const [lease] = swarm.leasesOf(id);
      if (!lease || dice.chance(0.4)) continue;
      const input: Input = dice.chance(0.3)
        ? { type: 'busy', minerId: id, leaseId: lease.id, pauseMs: 0 }
        : { type: 'receipt', minerId: id, leaseId: lease.id, outputHash: null, lossSum: 1, computeMs: 1 };
      expect(copy.handle(input, swarm.now)).toEqual(swarm.send(input));
      if (dice.chance(0.2)) copy = copyOf(swarm.coordinator);
    }
  });
});

describe('a log of inputs', () => {
  it('gives the same state when it is handled again from the start, to the bit', () => {
    for (let seed = 201; seed <= 215; seed++) {
      const { swarm, dice } = swarmOf(seed);
      const log: string[] = [];
      const begun = swarm.coordinator.config;
      // What was done before anybody watched: joining.
      const again = new Coordinator({ ...begun }, 1_000_000);
      for (const id of swarm.hands.keys())
        again.handle({ type: 'join', minerId: id, facts: { name: 'one', backend: 'cpu', adapter: 'none' }, holding: null }, 1_000_000);
      swarm.watchers.push((input) => log.push(JSON.stringify({ input, now: swarm.now })));
      for (let i = 0; i < 300; i++) disturb(swarm, dice, MOOD);
      for (const line of log) {
        const { input, now } = JSON.parse(line) as { input: Input; now: number };
        again.handle(input, now);
      }
      expect(text(again), `seed ${seed}`).toBe(text(swarm.coordinator));
    }
  });
});

/** Of one log under the rules of now. Another hash: raise `RULES`, unless only these tests' own inputs have changed. */
const RULED = { rules: 6, hash: '5a47df9c77c6ae1cdf40bab3a5787425e1863d933c640be0f2a5fd83078030e5' };

describe('the rules', () => {
  it('have another number as soon as the same inputs give another state or other effects', () => {
    const all = createHash('sha256');
    for (let seed = 301; seed <= 310; seed++) {
      const { swarm, dice } = swarmOf(seed);
      swarm.watchers.push((input, effects) => all.update(JSON.stringify([input, effects])));
      for (let i = 0; i < 600; i++) disturb(swarm, dice, MOOD);
      all.update(text(swarm.coordinator));
    }
    expect({ rules: RULES, hash: all.digest('hex') }, 'then raise RULES, and write both here').toEqual(RULED);
  });
});

describe('a snapshot', () => {
  it('is plain data: nothing is lost on the way through JSON', () => {
    const { swarm, dice } = swarmOf(9);
    for (let i = 0; i < 300; i++) disturb(swarm, dice, MOOD);
    const snapshot = structuredClone(swarm.coordinator.snapshot());
    expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
    // JSON has no NaN and no infinity: they would come back as null.
    const numbers = (value: unknown): number[] =>
      typeof value === 'number' ? [value] : typeof value === 'object' && value ? Object.values(value).flatMap(numbers) : [];
    expect(numbers(snapshot).every(Number.isFinite)).toBe(true);
  });

  it('does not grow with the length of the run', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 4 });
    const sizes: number[] = [];
    for (let version = 1; version <= 60; version++) {
      swarm.reach(version, 10);
      for (const [id, { merge }] of swarm.hands) if (merge) swarm.apply(id);
      sizes.push(text(swarm.coordinator).length);
    }
    // After the lists of recent times are full only digits get more.
    expect(sizes.at(-1)!).toBeLessThan(1.1 * sizes[30]!);
    expect(of(swarm.log, 'closed').length).toBe(60);
  });

  it('of before, which tells what nobody needs any more, is read without it', () => {
    const { swarm, dice } = swarmOf(9);
    for (let i = 0; i < 300; i++) disturb(swarm, dice, MOOD);
    swarm.coordinator.state.reputationOf([...swarm.hands.keys()][0]!);
    const same = text(swarm.coordinator);
    const before = JSON.parse(same) as ReturnType<Coordinator['snapshot']>;
    for (const miner of before.miners) Object.assign(miner, { useful: 7, tardy: true });
    for (const [, reputation] of before.reputations!) Object.assign(reputation, { amends: 7 });
    for (const stage of before.stages) Object.assign(stage, { versionSince: 7, times: { ...stage.times, apply: noTimes() } });
    expect(text(Coordinator.restore(before))).toBe(same);
  });

  it('names its format, so that one that cannot be read is known', () => {
    expect(new Coordinator(configOf(), 0).snapshot().format).toBe(3);
  });
});
