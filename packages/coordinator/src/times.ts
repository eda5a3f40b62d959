/** How long things took lately, and how long is too long. */
import { LIMITS } from './constants.ts';

/** Times known before a median says anything: leases come by the dozen, uploads once a step. */
const ENOUGH = { leases: 8, uploads: 3 };

/** A statistic over the newest times of one kind; plain data. */
export interface Recent {
  /** Ms, the newest last. */
  times: number[];
  /** Added since the statistics below were computed. */
  news: number;
  median: number;
  /** Median absolute deviation from the median. */
  mad: number;
  slowest: number;
}

export const noTimes = (): Recent => ({ times: [], news: 0, median: 0, mad: 0, slowest: 0 });

const ascending = (a: number, b: number) => a - b;
const middleOf = (sorted: readonly number[]) => {
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

export function addTime(recent: Recent, ms: number): void {
  const { times } = recent;
  times.push(ms);
  if (times.length > LIMITS.recentTimes) times.shift();
  recent.news += 1;
  // An eighth of what is known is new: no statistic moves much before that, and sorting is dear.
  if (8 * recent.news < times.length) return;
  const sorted = times.toSorted(ascending);
  recent.news = 0;
  recent.median = middleOf(sorted);
  recent.mad = middleOf(sorted.map((time) => Math.abs(time - recent.median)).sort(ascending));
  recent.slowest = sorted.at(-1)!;
}

const upper = ({ median, mad }: Recent) => median + LIMITS.spread * mad;

/**
 * When a lease is taken away. Twice the slowest seen: a stage whose miners differ a lot must not punish its slow half.
 * Twice as long again for every time its miner was late in a row (as TCP's timer backs off, RFC 6298 §5.5): one that is
 * slower than anything seen must be able to finish at all.
 */
export function deadlineOf(recent: Recent, late = 0): number {
  const known = recent.times.length >= ENOUGH.leases;
  const wanted = known ? Math.max(LIMITS.minimumDeadline, upper(recent), 2 * recent.slowest) : LIMITS.firstDeadline;
  return Math.min(LIMITS.maximumDeadline, wanted * 2 ** late);
}

/** When an idle miner computes the same lease too: well outside what is usual, and never before anything is known. */
export function hedgeAfter(recent: Recent): number {
  if (recent.times.length < ENOUGH.leases) return Number.POSITIVE_INFINITY;
  return Math.max(LIMITS.hedgeMinimum, 2 * recent.median, upper(recent));
}

/** When the microbatches of a gradient that does not come are computed again. */
export function redoAfter(recent: Recent): number {
  if (recent.times.length < ENOUGH.uploads) return LIMITS.firstRedo;
  return Math.max(LIMITS.redoMinimum, 2 * recent.median, upper(recent));
}
