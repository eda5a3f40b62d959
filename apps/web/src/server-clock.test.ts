import { expect, test } from 'vitest';
import { aheadBy } from './server-clock.ts';

const noon = Date.UTC(2026, 2, 4, 12);
const header = (time: number) => new Date(time).toUTCString();

test('clocks that differ by minutes are told apart, in both directions', () => {
  expect(aheadBy(header(noon), noon - 300_000, noon - 299_000)).toBe(300_000);
  expect(aheadBy(header(noon), noon + 300_000, noon + 301_000)).toBe(-300_000);
});

test('whole seconds, a slow network and a missing header are no difference', () => {
  expect(aheadBy(header(noon), noon, noon)).toBe(0);
  expect(aheadBy(header(noon), noon + 900, noon + 999)).toBe(0);
  expect(aheadBy(header(noon), noon - 1_000, noon + 1_500)).toBe(0);
  expect([aheadBy(null, noon, noon), aheadBy('soon', noon, noon)]).toEqual([0, 0]);
});
