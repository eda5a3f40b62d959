import { expect, test } from 'vitest';
import type { MinerView, RunSnapshot, StageView } from './run.ts';
import { deltaOf, withDelta } from './watch.ts';

const miner = (id: string, part: Partial<MinerView> = {}) =>
  ({ id, activity: 'forward', microbatches: 1, waiting: null, ...part }) as MinerView;
const stage = (index: number, miners: MinerView[], part: Partial<StageView> = {}) =>
  ({ index, done: 0, layers: [0, 1], miners, ...part }) as StageView;
const run = (stages: StageView[], part: Partial<RunSnapshot> = {}) =>
  ({ step: 1, loss: 2, counters: { a: 1 }, stages, ...part }) as RunSnapshot;

test('only what changed is said, and it makes the one of the other', () => {
  const before = run([stage(0, [miner('a'), miner('b')]), stage(1, [miner('c')])]);
  const after = run([stage(0, [miner('a', { microbatches: 2 }), miner('b')]), stage(1, [miner('c')], { done: 3 })], { step: 2 });
  const delta = deltaOf(before, after);
  expect(delta).toEqual({ run: { step: 2 }, stages: { 1: { done: 3 } }, miners: [{ id: 'a', microbatches: 2 }] });
  const made = withDelta(before, delta);
  expect(made).toEqual(after);
  expect(made.stages[0]!.miners[1]).toBe(before.stages[0]!.miners[1]);
});

test('nothing new is nothing, and the very same run', () => {
  const before = run([stage(0, [miner('a')])]);
  const delta = deltaOf(before, structuredClone(before));
  expect(delta).toEqual({});
  expect(withDelta(before, delta)).toBe(before);
});

test('miners come, go, move to another stage, and change their order', () => {
  const before = run([stage(0, [miner('a'), miner('b')]), stage(1, [miner('c')])]);
  for (const after of [
    run([stage(0, [miner('a')]), stage(1, [miner('c'), miner('b', { stage: 1 })])]),
    run([stage(0, [miner('b'), miner('a')]), stage(1, [])]),
    run([stage(0, []), stage(1, [miner('d', { waiting: null })])]),
  ])
    expect(withDelta(before, deltaOf(before, after))).toEqual(after);
});

test('any series of changes is followed', () => {
  let seed = 7;
  const next = (n: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % n;
  };
  const any = () =>
    run(
      [0, 1, 2].map((index) =>
        stage(
          index,
          Array.from({ length: next(4) }, () => `${index}${next(5)}`)
            .filter((id, i, all) => all.indexOf(id) === i)
            .map((id) => miner(id, { microbatches: next(3) })),
          { done: next(3) },
        ),
      ),
      { step: next(5), counters: { a: next(2) } },
    );
  let shown = any();
  for (let i = 0; i < 500; i++) {
    const after = any();
    shown = withDelta(shown, deltaOf(shown, after));
    expect(shown).toEqual(after);
  }
});
