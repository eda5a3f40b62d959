import type { LeaseKind } from '@starling/protocol';
import { LIMITS } from './constants.ts';

const median = (sorted: readonly number[]) => {
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
const ascending = (a: number, b: number) => a - b;

/** Recent grant-to-receipt times of one stage, by kind, and the deadlines that follow from them. */
export class LeaseTimes {
  private readonly recent = new Map<LeaseKind, number[]>();

  add(kind: LeaseKind, ms: number): void {
    const times = this.recent.get(kind) ?? [];
    times.push(ms);
    if (times.length > LIMITS.recentTimes) times.shift();
    this.recent.set(kind, times);
  }

  /** Median in ms; `fallback` before the first receipt. */
  median(kind: LeaseKind, fallback: number): number {
    const times = this.recent.get(kind);
    return times?.length ? median([...times].sort(ascending)) : fallback;
  }

  /** median + k · MAD, clamped; generous until eight times are known. */
  deadline(kind: LeaseKind): number {
    const times = this.recent.get(kind) ?? [];
    if (times.length < 8) return LIMITS.firstDeadline;
    const middle = median([...times].sort(ascending));
    const spread = median(times.map((ms) => Math.abs(ms - middle)).sort(ascending));
    const deadline = middle + LIMITS.deadlineSpread * spread;
    // Twice the slowest seen: a stage whose miners differ a lot must not punish its slow half.
    return Math.min(LIMITS.maximumDeadline, Math.max(LIMITS.minimumDeadline, deadline, 2 * Math.max(...times)));
  }
}
