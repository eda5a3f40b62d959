import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { pace } from './pace.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('the first value passes at once, then at most one per interval, and always the last', () => {
  const seen: number[] = [];
  const push = pace((value: number) => void seen.push(value), 100);
  for (let i = 1; i <= 5; i++) push(i);
  expect(seen).toEqual([1]);
  vi.advanceTimersByTime(100);
  expect(seen).toEqual([1, 5]);
  push(6);
  expect(seen).toEqual([1, 5]);
  vi.advanceTimersByTime(100);
  expect(seen).toEqual([1, 5, 6]);
  vi.advanceTimersByTime(500);
  push(7);
  expect(seen).toEqual([1, 5, 6, 7]);
});
