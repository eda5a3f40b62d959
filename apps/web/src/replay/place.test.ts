import { expect, test } from 'vitest';
import { movesSince, placeAt, seqIn, strideIn } from './place.ts';

test('an entry has a place on the slider, also in a log of one', () => {
  const range = { first: { seq: 1, at: 0 }, last: { seq: 101, at: 9 } };
  expect([1, 51, 101].map((seq) => placeAt(range, seq, 1_000))).toEqual([0, 500, 1_000]);
  expect(placeAt({ ...range, last: range.first }, 1, 1_000)).toBe(1_000);
});

test('a shared link names an entry, and nonsense names none', () => {
  expect(['?at=12', '?at=0', '?at=-1', '?at=x', ''].map(seqIn)).toEqual([12, null, null, null, null]);
});

test('what moves going on from a moment has not moved before it; going back, all that led there moves', () => {
  const moment = { seq: 9, moves: [3, 6, 9].map((seq) => ({ kind: 'merge', stage: 0, seq }) as const) };
  const from = (before: number) => movesSince(moment, before, 1).map(({ seq }) => seq);
  expect([from(0), from(6), from(12)]).toEqual([[3, 6, 9], [9], [3, 6, 9]]);
});

test('a log of any length is played in as many strides, and none of what moves in one is left out; a jump shows what led to its end', () => {
  const stride = strideIn({ first: { seq: 1, at: 0 }, last: { seq: 1_200_001, at: 9 } });
  expect(stride).toBe(10_000);
  expect(strideIn({ first: { seq: 1, at: 0 }, last: { seq: 2, at: 9 } })).toBe(1);
  const moment = { seq: 50_000, moves: [39_000, 41_000, 49_900].map((seq) => ({ kind: 'merge', stage: seq, seq }) as const) };
  const from = (before: number) => movesSince(moment, before, stride).map(({ seq }) => seq);
  expect([from(40_000), from(39_999), from(60_000)]).toEqual([[41_000, 49_900], [49_900], [49_900]]);
});
