import { expect, test } from 'vitest';
import { dueAt, QUIET_MS, SETTLE_MS } from './calm.ts';

const WAITING = { key: 'Waiting MERGING', tone: 'wait' } as const;
const MINING = { key: 'Mining null', tone: 'work' } as const;

test('the first news is said when it has lasted a little', () => {
  expect(dueAt({ ...WAITING, at: 1_000 }, null)).toBe(1_000 + SETTLE_MS);
});

test('what was said last is not said again, and the next news not at once', () => {
  const last = { ...MINING, at: 10_000 };
  expect(dueAt({ ...MINING, at: 60_000 }, last)).toBeNull();
  expect(dueAt({ ...WAITING, at: 11_000 }, last)).toBe(10_000 + QUIET_MS);
  expect(dueAt({ ...WAITING, at: 60_000 }, last)).toBe(60_000 + SETTLE_MS);
});

test('nobody hears long of a trouble that is over', () => {
  for (const tone of ['bad', 'wait', 'idle'] as const)
    expect(dueAt({ ...MINING, at: 11_000 }, { key: 'No connection', tone, at: 10_000 })).toBe(11_000 + SETTLE_MS);
  expect(dueAt({ ...WAITING, at: 11_000 }, { key: 'No connection', tone: 'wait', at: 10_000 })).toBe(10_000 + QUIET_MS);
});
