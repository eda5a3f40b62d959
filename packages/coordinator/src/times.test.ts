import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { addTime, collectUntil, deadlineOf, hedgeAfter, noTimes, type Recent, redoAfter } from './times.ts';

function after(times: readonly number[]): Recent {
  const recent = noTimes();
  for (const time of times) addTime(recent, time);
  return recent;
}
const repeat = (time: number, n: number) => Array.from({ length: n }, () => time);
/** Eight times with this median, and this median absolute deviation. */
const spread = (median: number, mad: number) => after([...repeat(median - mad, 4), ...repeat(median + mad, 4)]);

describe('recent times', () => {
  it('have the median of an odd and of an even number of times', () => {
    expect(after([5]).median).toBe(5);
    expect(after([9, 1, 5]).median).toBe(5);
    expect(after([9, 1, 5, 7]).median).toBe(6);
  });

  it('have the median deviation from the median, which one straggler does not change', () => {
    const recent = after([1, 2, 3, 4, 5, 6, 7]);
    expect([recent.median, recent.mad]).toEqual([4, 2]);
    const straggler = after([1, 2, 3, 4, 5, 6, 1_000_000]);
    expect([straggler.median, straggler.mad, straggler.slowest]).toEqual([4, 2, 1_000_000]);
  });

  it('keep the newest ones only', () => {
    const recent = after([...repeat(1_000_000, LIMITS.recentTimes), ...repeat(10, LIMITS.recentTimes + 8)]);
    expect(recent.times).toEqual(repeat(10, LIMITS.recentTimes));
    expect([recent.median, recent.mad, recent.slowest]).toEqual([10, 0, 10]);
  });

  it('are looked at anew when an eighth of them is new, and not before', () => {
    const recent = after(repeat(10, 64));
    while (recent.news > 0) addTime(recent, 10);
    for (let i = 1; i < 8; i++) {
      addTime(recent, 99);
      expect([recent.news, recent.slowest]).toEqual([i, 10]);
    }
    addTime(recent, 99);
    expect([recent.news, recent.slowest]).toEqual([0, 99]);
  });

  it('are looked at anew with every one of the first eight', () => {
    const recent = noTimes();
    for (const [i, median] of [4, 5, 6, 7, 8, 9, 10, 11].entries()) {
      addTime(recent, 4 + 2 * i);
      expect(recent.median).toBe(median);
    }
  });

  it('do not sort the times they were given', () => {
    expect(after([3, 1, 2]).times).toEqual([3, 1, 2]);
  });
});

describe('while fewer than eight times are known', () => {
  const few = [noTimes(), after(repeat(5, 7))];

  it('a deadline leaves time for shaders to compile', () => {
    for (const recent of few) expect(deadlineOf(recent)).toBe(LIMITS.firstDeadline);
  });

  it('nothing is hedged', () => {
    for (const recent of few) expect(hedgeAfter(recent)).toBe(Number.POSITIVE_INFINITY);
  });

  it('a gradient has the time of a first upload', () => {
    // Three are enough: they come but once a step.
    for (const recent of [noTimes(), after([7, 7])]) expect(redoAfter(recent)).toBe(LIMITS.firstRedo);
    expect(redoAfter(after([7, 7, 7]))).toBe(LIMITS.redoMinimum);
  });
});

describe('a deadline', () => {
  it('is the median and four median deviations', () => {
    expect(deadlineOf(spread(20_000, 10_000))).toBe(20_000 + LIMITS.spread * 10_000);
  });

  it('is at least twice the slowest time seen: the slow half of a mixed stage is not late', () => {
    expect(deadlineOf(after([...repeat(100, 7), 30_000]))).toBe(60_000);
  });

  it('is never shorter than what a busy desktop needs', () => {
    expect(deadlineOf(after(repeat(1, 8)))).toBe(LIMITS.minimumDeadline);
    expect(deadlineOf(after(repeat(LIMITS.minimumDeadline / 2 + 1, 8)))).toBe(LIMITS.minimumDeadline + 2);
  });

  it('is never longer than a run can wait', () => {
    expect(deadlineOf(after(repeat(LIMITS.maximumDeadline, 8)))).toBe(LIMITS.maximumDeadline);
  });

  it('is twice as long for every time its miner was late in a row, up to the same bound', () => {
    const times = after(repeat(20_000, 8));
    expect([0, 1, 2, 3].map((late) => deadlineOf(times, late))).toEqual([40_000, 80_000, 160_000, LIMITS.maximumDeadline]);
    expect(deadlineOf(noTimes(), 1)).toBe(2 * LIMITS.firstDeadline);
  });
});

describe('the time after which a lease is hedged', () => {
  it('is well outside of what is usual: twice the median where times hardly differ, else four deviations more', () => {
    expect(hedgeAfter(spread(10_000, 100))).toBe(20_000);
    expect(hedgeAfter(spread(10_000, 5_000))).toBe(30_000);
  });

  it('is not moved by one straggler, unlike the deadline', () => {
    expect(hedgeAfter(after([...repeat(1_000, 9), 900_000]))).toBe(2_000);
  });

  it('is never shorter than a pause of garbage collection', () => {
    expect(hedgeAfter(after(repeat(1, 8)))).toBe(LIMITS.hedgeMinimum);
  });
});

describe('the time after which a gradient is computed again', () => {
  it('follows the uploads seen', () => {
    expect(redoAfter(spread(10_000, 100))).toBe(20_000);
    expect(redoAfter(spread(10_000, 5_000))).toBe(30_000);
  });

  it('is never shorter than an upload that is merely a little slow', () => {
    expect(redoAfter(after(repeat(1, 8)))).toBe(LIMITS.redoMinimum);
  });
});

describe('the end of waiting for a gradient', () => {
  it('is a minute, or twice the slowest seen, and twice as long for every one in a row that did not come', () => {
    expect([0, 1, 2].map((missed) => collectUntil(noTimes(), missed))).toEqual([60_000, 120_000, 240_000]);
    expect(collectUntil(after(repeat(45_000, 3)), 0)).toBe(90_000);
    expect(collectUntil(after(repeat(100, 3)), 0)).toBe(LIMITS.collectDeadline);
    expect(collectUntil(noTimes(), 50)).toBe(LIMITS.longestCollect);
  });
});
