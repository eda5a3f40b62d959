import type { PayView } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { correlationOf, type Since, sinceAllArePaid } from './pay.ts';

const line = (address: string, work: number, emission: number, last: number) =>
  ({ address, work, emission: String(emission), lastEmission: String(last) }) as PayView;

describe('the correlation of emission with work', () => {
  it('counts from when all are paid: an epoch pays as much to few as to many', () => {
    let since: Since = new Map();
    // One is paid before the others have passed an audit.
    since = sinceAllArePaid([line('a', 10, 900, 900), line('b', 0, 0, 0), line('c', 0, 0, 0)], since);
    const all = [line('a', 20, 1_200, 300), line('b', 12, 300, 300), line('c', 11, 300, 300)];
    since = sinceAllArePaid(all, since);
    expect(correlationOf(all, since)).toBeNull();
    const later = [line('a', 30, 1_300, 100), line('b', 32, 500, 200), line('c', 41, 600, 300)];
    expect(sinceAllArePaid(later, since)).toBe(since);
    expect(correlationOf(later, since)).toBeCloseTo(1, 10);
    const unpaid = [...later, line('d', 99, 0, 0)];
    expect(correlationOf(unpaid, sinceAllArePaid(unpaid, since))).toBeCloseTo(1, 10);
  });

  it('tells when pay does not follow work', () => {
    const start = [line('a', 0, 1, 1), line('b', 0, 1, 1), line('c', 0, 1, 1)];
    const since = sinceAllArePaid(start, new Map());
    expect(correlationOf([line('a', 10, 301, 1), line('b', 20, 201, 1), line('c', 30, 101, 1)], since)).toBeCloseTo(-1, 10);
  });
});
