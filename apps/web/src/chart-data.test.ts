import type { StepPoint } from '@starling/protocol';
import { expect, test } from 'vitest';
import { column, logTicks, lossColumns, normColumns, remaining, smooth, sparkline, valueAt, xOf } from './chart-data.ts';

const point = (step: number, part: Partial<StepPoint> = {}): StepPoint => ({
  step,
  tokens: step * 100,
  time: 1_000_000 + step * 2000,
  loss: 5 - step,
  validationLoss: null,
  learningRate: 0.001,
  gradientNorms: [step, 2 * step],
  tokensPerSecond: 50,
  ...part,
});
const points = [point(1), point(2, { validationLoss: 3.5 }), point(3)];

test('the horizontal axis is steps, tokens, or seconds since the start', () => {
  expect(xOf(points, 'step', 0)).toEqual([1, 2, 3]);
  expect(xOf(points, 'tokens', 0)).toEqual([100, 200, 300]);
  expect(xOf(points, 'time', 1_000_000)).toEqual([2, 4, 6]);
});

test('smoothing by nothing changes nothing; it starts at the first value and keeps constants', () => {
  expect(smooth([3, 1, 2], 0)).toEqual([3, 1, 2]);
  expect(smooth([4, 2], 0.5)).toEqual([4, (0.5 * 2 + 1) / 0.75]);
  for (const value of smooth(Array(50).fill(7), 0.98)) expect(value).toBeCloseTo(7, 12);
});

test('loss columns: raw, smoothed, and validation with holes', () => {
  expect(lossColumns(points, 'step', 0, 0)).toEqual([
    [1, 2, 3],
    [4, 3, 2],
    [4, 3, 2],
    [null, 3.5, null],
  ]);
});

test('one gradient norm column per stage, with holes where a point has fewer stages', () => {
  const columns = normColumns([...points, point(4, { gradientNorms: [9] })], 'step', 0, 2);
  expect(columns).toEqual([
    [1, 2, 3, 4],
    [1, 2, 3, 9],
    [2, 4, 6, null],
  ]);
});

test('without points every column is empty', () => {
  expect(column([], 'step', 0, 'tokensPerSecond')).toEqual([[], []]);
  expect(sparkline([], 10, 10)).toBe('');
});

test('valueAt looks back over holes', () => {
  expect(valueAt([null, 3, null], 2)).toBe(3);
  expect(valueAt([null, 3, null], 0)).toBeNull();
  expect(valueAt([1, 2], 99)).toBe(2);
});

test('the time left follows the pace of the newest points', () => {
  expect(remaining(points, 3, 13)).toBe(20_000);
  expect(remaining(points, 3, 0)).toBeNull();
  expect(remaining(points, 13, 13)).toBeNull();
  expect(remaining([points[0]], 1, 13)).toBeNull();
  expect(remaining([points[0], points[0]], 1, 13)).toBeNull();
});

test('a sparkline spans its box, and its length is bounded', () => {
  expect(sparkline([1, 3], 10, 20)).toBe('M0.0 20.0L10.0 0.0');
  const path = sparkline(
    Array.from({ length: 5000 }, (_, i) => i),
    100,
    10,
  );
  expect(path.split('L').length).toBeLessThanOrEqual(101);
  expect(path.endsWith('100.0 0.0')).toBe(true);
});

test('logarithmic ticks are round and inside', () => {
  expect(logTicks(1.4, 6)).toEqual([1.5, 2, 3, 4, 5]);
  expect(logTicks(1e-6, 1)).toEqual([1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1].map((tick) => expect.closeTo(tick)));
  expect(logTicks(0, 5)).toEqual([]);
});
