/** From step points to the columns that charts draw: `[x, y…]`, one value per point, null where there is none. */
import type { RunConfig, StepPoint } from '@starling/protocol';

export type XAxis = 'step' | 'tokens' | 'time';
export type Column = (number | null)[];
export type Columns = [x: number[], ...y: Column[]];

/** `time` is seconds since the run began. */
export function xOf(points: StepPoint[], axis: XAxis, startedAt: number): number[] {
  if (axis === 'time') return points.map((point) => (point.time - startedAt) / 1000);
  return points.map((point) => point[axis]);
}

/**
 * Exponential moving average with the bias of its start removed, as most training dashboards draw it:
 * `s ← weight·s + (1 − weight)·y`, shown as `s / (1 − weight^n)`. Weight 0 gives the values back.
 */
export function smooth(values: number[], weight: number): number[] {
  let sum = 0;
  let remaining = 1;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    remaining *= weight;
    return sum / (1 - remaining);
  });
}

/** x, raw loss, smoothed loss, validation loss. */
export function lossColumns(points: StepPoint[], axis: XAxis, startedAt: number, weight: number): Columns {
  const raw = points.map((point) => point.loss);
  return [xOf(points, axis, startedAt), raw, smooth(raw, weight), points.map((point) => point.validationLoss)];
}

type StageKey = 'gradientNorms' | 'computeMs' | 'stageTokensPerSecond' | 'queue';

/** x and one line per stage. */
export function stageColumns(points: StepPoint[], axis: XAxis, startedAt: number, stages: readonly number[], key: StageKey): Columns {
  return [xOf(points, axis, startedAt), ...stages.map((stage) => points.map((point) => point[key]?.[stage] ?? null))];
}

type Key = 'tokensPerSecond' | 'learningRate' | 'utilisation' | 'bytesPerToken';

export function column(points: StepPoint[], axis: XAxis, startedAt: number, key: Key): Columns {
  return [xOf(points, axis, startedAt), points.map((point) => point[key] ?? null)];
}

/** A line for each x, as a spreadsheet has it. */
export const rowsOf = ([x, ...lines]: Columns): (number | null)[][] => x.map((at, i) => [at, ...lines.map((line) => line[i] ?? null)]);

/** An end of it that is null goes along with the data. */
export interface Range {
  from: number | null;
  to: number | null;
}

export const ALL: Range = { from: null, to: null };

/** What of the axis is shown: `[from, to]`; null for all of it, and when nothing would be left. */
export function shownOf(x: readonly number[], { from, to }: Range): [from: number, to: number] | null {
  if ((from === null && to === null) || x.length === 0) return null;
  const [low, high] = [from ?? x[0]!, to ?? x.at(-1)!];
  return low < high && x.some((at) => at >= low && at <= high) ? [low, high] : null;
}

/** A range was asked for of which nothing would be left. */
export const isVain = (x: readonly number[], range: Range): boolean =>
  x.length > 0 && (range.from !== null || range.to !== null) && shownOf(x, range) === null;

/** Tokens after the last step; null for a run without end. */
export function tokenGoal({ steps, microbatchesPerStep, sequences, model }: RunConfig): number | null {
  return steps > 0 ? steps * microbatchesPerStep * sequences * model.context : null;
}

/** Milliseconds until `steps` are done at the pace of the last 50 points; null without an end or a pace. */
export function remaining(points: StepPoint[], step: number, steps: number): number | null {
  const pace = stepPace(points);
  return steps === 0 || step >= steps || pace === null ? null : pace * (steps - step);
}

/** Milliseconds that a step takes, over the last 50 points; null before there are two. */
export function stepPace(points: StepPoint[]): number | null {
  const recent = points.slice(-50);
  const [first, last] = [recent[0], recent.at(-1)];
  if (!first || !last || last.step <= first.step) return null;
  const pace = (last.time - first.time) / (last.step - first.step);
  return pace > 0 ? pace : null;
}

/** An SVG path over a `width` × `height` box; at most `width` points, so its length does not grow with the run. */
export function sparkline(values: number[], width: number, height: number): string {
  if (values.length < 2) return '';
  const stride = Math.max(1, Math.ceil(values.length / width));
  const kept = values.filter((_, i) => i % stride === 0 || i === values.length - 1);
  const low = Math.min(...kept);
  const range = Math.max(...kept) - low || 1;
  return kept
    .map((value, i) => {
      const x = (i / (kept.length - 1)) * width;
      const y = height - ((value - low) / range) * height;
      return `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

const MANTISSAS = [1, 1.5, 2, 3, 4, 5, 7];

/** Round numbers inside `[low, high]` for a logarithmic axis; every decade has the same ones. */
export function logTicks(low: number, high: number): number[] {
  if (!(low > 0 && high > low)) return [];
  const first = Math.floor(Math.log10(low));
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => 10 ** (first + i));
  const mantissas = decades.length > 4 ? [1] : MANTISSAS;
  return decades.flatMap((decade) => mantissas.map((mantissa) => mantissa * decade)).filter((tick) => tick >= low && tick <= high);
}

/** Increments for an axis of bytes whose largest is `high`: round in the unit that it is shown in, and no finer than its labels. */
export function byteSteps(high: number): number[] {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(1, high)) / 10));
  return [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].map((step) => step * unit).filter((step) => step >= 1);
}

/** On each side of a value, those that it is held against. */
const NEIGHBOURS = 9;
/** How far above them a spike is, in medians of what two values after each other differ by: six or so standard deviations of noise. */
const FAR = 6;
/** Spikes that take less of the picture than this flatten nothing. */
const LARGEST_SHARE = 1 / 3;

export interface Spikes {
  /** Largest value that is none of them. */
  top: number;
  /** Largest of all. */
  highest: number;
}

/**
 * Spikes that would flatten the lines between `from` and `to` (of x, both included); null where there are none. A spike is far above its neighbours
 * on both sides: a curve that falls from its start has none.
 */
export function spikesOf([x, ...lines]: Columns, from: number, to: number): Spikes | null {
  const spikes: Spikes = { top: Number.NEGATIVE_INFINITY, highest: Number.NEGATIVE_INFINITY };
  let low = Number.POSITIVE_INFINITY;
  for (const line of lines) {
    const known = line.flatMap((y, i) => (y === null ? [] : [{ x: x[i]!, y }]));
    const values = known.map(({ y }) => y);
    const far = FAR * median(values.slice(1).map((y, i) => Math.abs(y - values[i]!)));
    const shown = known.flatMap((point, i) => (point.x >= from && point.x <= to ? [{ ...point, i }] : [])).sort((a, b) => b.y - a.y);
    const top = shown.find(({ i }) => !isSpike(values, i, far));
    if (!top) continue;
    spikes.top = Math.max(spikes.top, top.y);
    spikes.highest = Math.max(spikes.highest, shown[0]!.y);
    low = Math.min(low, shown.at(-1)!.y);
  }
  return spikes.highest - spikes.top > LARGEST_SHARE * (spikes.highest - low) ? spikes : null;
}

function isSpike(values: readonly number[], i: number, far: number): boolean {
  const before = values.slice(Math.max(0, i - NEIGHBOURS), i);
  // The newest has none after it yet.
  const after = values.slice(i + 1, i + 1 + NEIGHBOURS);
  return before.length > 0 && values[i]! > median(before) + far && (after.length === 0 || values[i]! > median(after) + far);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** The value at `index`, or the last one before it that is not null, from `first` on. */
export function valueAt(values: Column, index: number, first = 0): number | null {
  for (let i = Math.min(index, values.length - 1); i >= first; i--) {
    if (values[i] !== null) return values[i];
  }
  return null;
}
