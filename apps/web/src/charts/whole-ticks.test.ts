import { expect, test } from 'vitest';
import { wholeTicks } from './whole-ticks.ts';

test('an axis counts in whole numbers, and holds its highest bar', () => {
  expect(wholeTicks(3.6)).toEqual([0, 1, 2, 3, 4]);
  expect(wholeTicks(60)).toEqual([0, 20, 40, 60]);
  expect(wholeTicks(256)).toEqual([0, 100, 200, 300]);
  for (const low of [0, 0.3, 1]) expect(wholeTicks(low)).toEqual([0, 1]);
  for (let highest = 0.1; highest < 1e7; highest *= 1.1) {
    const ticks = wholeTicks(highest);
    expect(ticks.every(Number.isInteger)).toBe(true);
    expect(ticks.at(-1)).toBeGreaterThanOrEqual(highest);
    expect(ticks.length).toBeLessThanOrEqual(5);
  }
});
