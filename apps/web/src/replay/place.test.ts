import { expect, test } from 'vitest';
import { movesSince, placeAt, placesIn, seqAt, seqIn, strideIn } from './place.ts';

const logOf = (entries: number) => ({ first: { seq: 1, at: 0 }, last: { seq: entries, at: 9 } });

test('an entry has a place on the slider, also in a log of one', () => {
  expect([1, 51, 101].map((seq) => placeAt(logOf(101), seq))).toEqual([0, 50, 100]);
  expect([1, 50_001, 100_001].map((seq) => placeAt(logOf(100_001), seq))).toEqual([0, 500, 1_000]);
  expect([placesIn(logOf(1)), placeAt(logOf(1), 1), seqAt(logOf(1), 0)]).toEqual([1, 1, 1]);
});

test('every arrow key moves by an entry at least, however long the log is', () => {
  const stuck: string[] = [];
  for (let entries = 2; entries <= 5_000; entries++) {
    const range = logOf(entries);
    for (let seq = 1; seq <= entries; seq++) {
      const place = placeAt(range, seq);
      if (seq > 1 && seqAt(range, Math.max(0, place - 1)) >= seq) stuck.push(`left from ${seq} of ${entries}`);
      if (seq < entries && seqAt(range, Math.min(placesIn(range), place + 1)) <= seq) stuck.push(`right from ${seq} of ${entries}`);
    }
  }
  expect(stuck).toEqual([]);
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
