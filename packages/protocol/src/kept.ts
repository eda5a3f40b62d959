/** What of a run's course is kept, by its server and by pages alike: bounded, however long the run is. */
import type { RunEvent, StepPoint } from './run.ts';

/** Of each kind so many are kept, or what comes at every step would push out what comes once a day. */
export const EVENT_KINDS = ['merge', 'news', 'problem'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];
export const EVENTS_KEPT = 300;

export const eventKind = ({ level, code }: Pick<RunEvent, 'level' | 'code'>): EventKind =>
  level !== 'info' ? 'problem' : code === 'STEP_MERGED' ? 'merge' : 'news';

/** The newest of each kind, in the order they have. */
export function newestEvents<E extends Pick<RunEvent, 'level' | 'code'>>(events: readonly E[]): E[] {
  const left = Object.fromEntries(EVENT_KINDS.map((kind) => [kind, EVENTS_KEPT]));
  return events
    .toReversed()
    .filter((event) => left[eventKind(event)]!-- > 0)
    .reverse();
}

export const POINTS_KEPT = 5_000;
/** The newest steps, which are kept whole. */
const WHOLE = POINTS_KEPT / 2;

/** Of the steps up to `before`, one in `every` is kept. */
export interface Thinning {
  before: number;
  every: number;
}

/** What is kept of steps `first` to `last`; null when it is all of them. */
export function thinning(first: number, last: number): Thinning | null {
  const before = last - WHOLE;
  if (last - first < POINTS_KEPT) return null;
  // A power of two: what was left out before is what would be left out now. Two more are kept: the first, and one on the border.
  return { before, every: 2 ** Math.ceil(Math.log2((before - first) / (POINTS_KEPT - WHOLE - 2))) };
}

/**
 * Points of ascending steps, so many that the whole run is always seen: the newest, the first, and of every few in between one, with a
 * validation where there is one. Thinning what is thinned already gives the same as thinning all of it.
 */
export function thinned<P extends Pick<StepPoint, 'step' | 'validationLoss'>>(points: P[]): P[] {
  const [first, last] = [points[0], points.at(-1)];
  const rule = first && last ? thinning(first.step, last.step) : null;
  if (!rule) return points;
  const kept: P[] = [];
  // NaN equals nothing: such a step is a group by itself.
  const groupOf = ({ step }: P) => (step > rule.before || step === first!.step ? Number.NaN : Math.floor(step / rule.every));
  for (const point of points) {
    const same = kept.length > 0 && groupOf(kept.at(-1)!) === groupOf(point);
    if (!same) kept.push(point);
    else if (kept.at(-1)!.validationLoss === null || point.validationLoss !== null) kept[kept.length - 1] = point;
  }
  return kept;
}
