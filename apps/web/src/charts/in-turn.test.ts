import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { inTurn } from './in-turn.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('each has a turn of its own, in order, also after one that failed; who left has none', () => {
  const done: string[] = [];
  const draw = (name: string) => inTurn(() => done.push(name));
  draw('loss');
  const leave = draw('norm');
  inTurn(() => {
    throw new Error('no canvas');
  });
  draw('pace');
  leave();
  expect(done).toEqual([]);
  vi.advanceTimersToNextTimer();
  expect(done, 'one at a time').toEqual(['loss']);
  expect(() => vi.advanceTimersToNextTimer()).toThrow('no canvas');
  vi.advanceTimersToNextTimer();
  expect(done).toEqual(['loss', 'pace']);
  draw('again');
  vi.runAllTimers();
  expect(done).toEqual(['loss', 'pace', 'again']);
});
