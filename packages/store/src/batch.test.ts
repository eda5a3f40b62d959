import { SwarmError } from '@starling/protocol';
import { expect, test } from 'vitest';
import { Guard } from './batch.ts';
import { batchOf, entriesOf } from './samples.ts';

const batch = (first: number, last: number) => batchOf({ entries: entriesOf(first, last) });
const full = new SwarmError('STORE_FAILED', 'The disk is full.');

test('a batch must wait for every one before it that failed, not only for the first', () => {
  const guard = new Guard();
  const [first, second, third] = [batch(1, 2), batch(3, 4), batch(5, 6)];
  const fails = (one: typeof first, newest: number) => {
    let code: unknown = null;
    try {
      guard.place(one, newest);
      throw full;
    } catch (error) {
      guard.failed(one, error);
      ({ code } = error as SwarmError);
    }
    return code;
  };
  expect([fails(first, 0), fails(second, 0)]).toEqual(['STORE_FAILED', 'STORE_FAILED']);
  expect(guard.place(first, 0)).toBe('following');
  guard.stored(first);
  // The second is about to be tried again: a third that is quicker must not be taken for somebody else's.
  expect(() => guard.place(third, 2)).toThrow(
    expect.objectContaining({ code: 'STORE_FAILED', message: expect.stringContaining('Entry 3') }),
  );
  expect(guard.place(second, 2)).toBe('following');
  guard.stored(second);
  expect(guard.place(third, 4)).toBe('following');
});
