import type { PayView } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { correlationOf, NOT_SINCE, sinceSettled } from './pay.ts';

const line = (address: string, work: number, emission: number, last: number) =>
  ({ address, work, emission: String(emission), lastEmission: String(last) }) as PayView;

const SETTLING = 100;

describe('the correlation of emission with work', () => {
  it('counts from when the scores of all that are paid have settled', () => {
    // One is paid before the others have passed an audit.
    let since = sinceSettled([line('a', 10, 900, 900), line('b', 0, 0, 0), line('c', 0, 0, 0)], NOT_SINCE, 1_000, SETTLING);
    const all = [line('a', 20, 1_200, 300), line('b', 12, 300, 300), line('c', 11, 300, 300)];
    since = sinceSettled(all, since, 1_200, SETTLING);
    // An epoch in which the first is still paid for its past.
    const settling = [line('a', 20, 1_500, 300), line('b', 22, 400, 100), line('c', 31, 400, 100)];
    since = sinceSettled(settling, since, 1_299, SETTLING);
    const later = [line('a', 30, 1_600, 100), line('b', 42, 600, 200), line('c', 61, 700, 300)];
    expect(correlationOf(later, sinceSettled(later, since, 1_399, SETTLING)), 'too short a time').toBeNull();
    expect(correlationOf(settling, sinceSettled(settling, since, 1_400, SETTLING)), 'nothing was done since').toBeNull();
    expect(correlationOf(later, sinceSettled(later, since, 1_400, SETTLING))).toBeCloseTo(1, 10);
    const unpaid = [...later, line('d', 99, 0, 0)];
    expect(correlationOf(unpaid, sinceSettled(unpaid, since, 1_400, SETTLING))).toBeCloseTo(1, 10);
    const newcomer = [...later, line('d', 99, 1, 1)];
    expect(correlationOf(newcomer, sinceSettled(newcomer, since, 1_600, SETTLING)), 'it begins anew').toBeNull();
  });

  it('tells when pay does not follow work, also of who did nothing', () => {
    const start = [line('a', 0, 1, 1), line('b', 0, 1, 1), line('c', 0, 1, 1)];
    const since = { ...sinceSettled(start, NOT_SINCE, 1_000, SETTLING), isLong: true };
    expect(correlationOf([line('a', 10, 301, 1), line('b', 20, 201, 1), line('c', 30, 101, 1)], since)).toBeCloseTo(-1, 10);
    expect(correlationOf([line('a', 0, 301, 1), line('b', 10, 201, 1), line('c', 20, 101, 1)], since)).toBeCloseTo(-1, 10);
  });
});
