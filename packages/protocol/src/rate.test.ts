import { expect, it } from 'vitest';
import { Rate } from './rate.ts';

it('is zero before anything came', () => {
  expect(new Rate().perSecond(1e6)).toBe(0);
});

it('is over the time since the first sample, at least a second, at most thirty', () => {
  const rate = new Rate();
  rate.add(100, 5_000);
  expect(rate.perSecond(5_000)).toBe(100);
  expect(rate.perSecond(5_500)).toBe(100);
  expect(rate.perSecond(15_000)).toBe(10);
  expect(rate.perSecond(34_999)).toBeCloseTo(100 / 29.999, 9);
  expect(rate.perSecond(35_000)).toBe(0);
});

it('forgets what is older than its window, and goes on', () => {
  const rate = new Rate();
  for (let second = 0; second < 100; second++) rate.add(50, second * 1_000);
  expect(rate.perSecond(99_000)).toBe(50);
  expect(rate.perSecond(114_000)).toBe(25);
  expect(rate.perSecond(1e9)).toBe(0);
  rate.add(30, 1e9);
  expect(rate.perSecond(1e9)).toBe(1);
});
