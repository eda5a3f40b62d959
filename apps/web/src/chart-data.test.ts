import type { RunConfig, StepPoint } from '@starling/protocol';
import { expect, test } from 'vitest';
import {
  byteSteps,
  type Columns,
  column,
  isVain,
  logTicks,
  lossColumns,
  remaining,
  shownOf,
  smooth,
  sparkline,
  spikesOf,
  stageColumns,
  tokenGoal,
  valueAt,
  xOf,
} from './chart-data.ts';

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

test('one column per stage, with holes where a point has fewer stages, or was made before there was such a number', () => {
  expect(stageColumns([...points, point(4, { gradientNorms: [9] })], 'step', 0, [0, 1], 'gradientNorms')).toEqual([
    [1, 2, 3, 4],
    [1, 2, 3, 9],
    [2, 4, 6, null],
  ]);
});

test('the curves of throughput and queue begin with the first point that has them', () => {
  const more = [...points, point(4, { stageTokensPerSecond: [30, null], queue: [2, 0] })];
  expect(stageColumns(more, 'step', 0, [0, 1], 'stageTokensPerSecond').slice(1)).toEqual([
    [null, null, null, 30],
    [null, null, null, null],
  ]);
  expect(stageColumns(more, 'step', 0, [1], 'queue')[1]).toEqual([null, null, null, 0]);
});

test('a range has an end that goes along with the data where none is set, and shows all rather than nothing', () => {
  expect(shownOf([1, 2, 3], { from: null, to: null })).toBeNull();
  expect(shownOf([1, 2, 3], { from: 2, to: null })).toEqual([2, 3]);
  expect(shownOf([1, 2, 3], { from: null, to: 2 })).toEqual([1, 2]);
  expect(shownOf([1, 2, 3], { from: 3, to: 2 })).toBeNull();
  expect(shownOf([1, 2, 3], { from: 9, to: null })).toBeNull();
  expect(shownOf([1, 2, 3], { from: 8, to: 9 })).toBeNull();
  expect(shownOf([1, 2, 3], { from: -2, to: 0 })).toBeNull();
  expect(shownOf([1, 2, 3], { from: 1.2, to: 1.8 }), 'between two points').toBeNull();
  expect(shownOf([1, 2, 3], { from: 1.2, to: 2 })).toEqual([1.2, 2]);
  expect(shownOf([1, 2, 3], { from: 0, to: 9 })).toEqual([0, 9]);
  expect(shownOf([], { from: 2, to: 3 })).toBeNull();
  const asked = (from: number | null, to: number | null) => isVain([1, 2, 3], { from, to });
  expect([asked(3, 2), asked(9, null), asked(null, 0)], 'of which nothing would be left').toEqual([true, true, true]);
  expect([asked(null, null), asked(1, 2), isVain([], { from: 3, to: 2 })]).toEqual([false, false, false]);
});

test('the goal is the tokens of all steps; a run without end has none', () => {
  const config = { steps: 10, microbatchesPerStep: 4, sequences: 2, model: { context: 64 } } as RunConfig;
  expect(tokenGoal(config)).toBe(5120);
  expect(tokenGoal({ ...config, steps: 0 })).toBeNull();
});

test('without points every column is empty', () => {
  expect(column([], 'step', 0, 'tokensPerSecond')).toEqual([[], []]);
  expect(sparkline([], 10, 10)).toBe('');
});

test('valueAt looks back over holes, and not beyond the first', () => {
  expect(valueAt([null, 3, null], 2)).toBe(3);
  expect(valueAt([null, 3, null], 0)).toBeNull();
  expect(valueAt([1, 2], 99)).toBe(2);
  expect([valueAt([3, null, null], 2, 1), valueAt([3, 4, null], 2, 1), valueAt([], -1)]).toEqual([null, 4, null]);
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

test('bytes have ticks that are round in KiB or MiB, and each another label', () => {
  expect(byteSteps(40)).toEqual([1, 2, 5, 10, 20, 50, 100, 200, 500]);
  expect(byteSteps(20 * 1024).map((step) => step / 1024)).toEqual([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]);
  expect(byteSteps(1.5 * 1024 ** 2)[0]).toBe(0.1 * 1024 ** 2);
  expect(byteSteps(0)[0]).toBe(1);
});

test('one spike does not flatten a loss curve; its start, its noise and what is no spike are shown whole', () => {
  // Falls from 5.5 to 2, with a noise of 0.05 that is the same in every run.
  const losses = Array.from({ length: 400 }, (_, i) => 2 + 3.5 * Math.exp(-i / 20) + 0.05 * Math.sin(i * i));
  const columns = (values: number[]): Columns => [
    values.map((_, i) => i + 1),
    values,
    smooth(values, 0.6),
    values.map((value, i) => (i % 10 === 9 ? value : null)),
  ];
  expect(spikesOf(columns(losses), 1, 400)).toBeNull();
  expect(spikesOf(columns(losses), 200, 400), 'noise alone').toBeNull();
  const spiked = losses.with(300, 8.3);
  const spikes = spikesOf(columns(spiked), 200, 400)!;
  expect(spikes.highest).toBe(8.3);
  expect(spikes.top).toBeLessThan(2.8);
  expect(spikesOf(columns(spiked.slice(0, 301)), 1, 301), 'its newest value').toEqual({ top: expect.closeTo(5.5, 0), highest: 8.3 });
  expect(spikesOf(columns(spiked), 1, 290), 'where it is not shown').toBeNull();
  expect(spikesOf(columns(losses.map((loss, i) => (i < 300 ? loss : 8))), 1, 400), 'a run that diverged').toBeNull();
  expect(spikesOf([[], [], []], 0, 1)).toBeNull();
  expect(spikesOf([[1], [5]], 0, 1)).toBeNull();
});
