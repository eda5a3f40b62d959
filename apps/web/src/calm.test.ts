import { expect, test } from 'vitest';
import { dueAt, QUIET_MS, SETTLE_MS } from './calm.ts';

test('the first news is said when it has lasted a little', () => {
  expect(dueAt({ key: 'waiting MERGING', at: 1_000 }, null)).toBe(1_000 + SETTLE_MS);
});

test('what was said last is not said again, and the next news not at once', () => {
  const last = { key: 'waiting MERGING', at: 10_000 };
  expect(dueAt({ key: 'waiting MERGING', at: 60_000 }, last)).toBeNull();
  expect(dueAt({ key: 'mining', at: 11_000 }, last)).toBe(10_000 + QUIET_MS);
  expect(dueAt({ key: 'mining', at: 60_000 }, last)).toBe(60_000 + SETTLE_MS);
});
