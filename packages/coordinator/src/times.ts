import type { LeaseKind } from '@starling/protocol';
import { LIMITS } from './constants.ts';

const median = (sorted: readonly number[]) => {
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
const ascending = (a: number, b: number) => a - b;

interface Recent {
  /** The newest last. */
  times: number[];
  /** Receipts since `middle` and `deadline` were computed. */
  news: number;
  middle: number;
  deadline: number;
}

/** Recent grant-to-receipt times of one stage, by kind, and the deadlines that follow from them. */
export class LeaseTimes {
  private readonly recent = new Map<LeaseKind, Recent>();

  add(kind: LeaseKind, ms: number): void {
    const recent = this.recent.get(kind) ?? { times: [], news: 0, middle: ms, deadline: LIMITS.firstDeadline };
    this.recent.set(kind, recent);
    recent.times.push(ms);
    if (recent.times.length > LIMITS.recentTimes) recent.times.shift();
    recent.news += 1;
    // An eighth of what is known is new: no statistic moves much before that, and sorting is dear.
    if (8 * recent.news >= recent.times.length) this.learn(recent);
  }

  /** Median in ms; `fallback` before the first receipt. */
  median(kind: LeaseKind, fallback: number): number {
    return this.recent.get(kind)?.middle ?? fallback;
  }

  /** median + k · MAD, clamped; generous until eight times are known. */
  deadline(kind: LeaseKind): number {
    return this.recent.get(kind)?.deadline ?? LIMITS.firstDeadline;
  }

  private learn(recent: Recent): void {
    const { times } = recent;
    recent.news = 0;
    recent.middle = median(times.toSorted(ascending));
    if (times.length < 8) return;
    const spread = median(times.map((ms) => Math.abs(ms - recent.middle)).sort(ascending));
    const deadline = recent.middle + LIMITS.deadlineSpread * spread;
    // Twice the slowest seen: a stage whose miners differ a lot must not punish its slow half.
    recent.deadline = Math.min(LIMITS.maximumDeadline, Math.max(LIMITS.minimumDeadline, deadline, 2 * Math.max(...times)));
  }
}
