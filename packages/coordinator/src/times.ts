/** How long things took lately, and how long is too long. */
import { LIMITS } from './constants.ts';

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
  const known = recent.times.length >= LIMITS.enoughLeases;
  const wanted = known ? Math.max(LIMITS.minimumDeadline, upper(recent), 2 * recent.slowest) : LIMITS.firstDeadline;
  return Math.min(LIMITS.maximumDeadline, wanted * 2 ** late);
}

/** When an idle miner computes the same lease too: well outside what is usual, and never before anything is known. */
export function hedgeAfter(recent: Recent): number {
  if (recent.times.length < LIMITS.enoughLeases) return Number.POSITIVE_INFINITY;
  return Math.max(LIMITS.hedgeMinimum, 2 * recent.median, upper(recent));
}

/** When a gradient is not waited for any more. `missed`: so many of the miner's before it did not come, in a row. */
export function collectUntil(recent: Recent, missed: number): number {
  const usual = recent.times.length < LIMITS.enoughUploads ? 0 : Math.max(upper(recent), 2 * recent.slowest);
  return Math.min(LIMITS.longestCollect, Math.max(LIMITS.collectDeadline, usual) * 2 ** missed);
}

/** A reducer fetches and sends about three gradients' worth: another does it when it takes longer than that usually would. */
export function reduceWithin(recent: Recent): number {
  return Math.max(LIMITS.reduceMinimum, 3 * redoAfter(recent));
}

/**
 * When the microbatches of a gradient that does not come are computed again. `redos`: so often it was done in this step. Twice
 * as long each time, or miners on slow lines would take each other's work in turn and none would ever get it through.
 */
export function redoAfter(recent: Recent, redos = 0): number {
  const known = recent.times.length >= LIMITS.enoughUploads;
  const usual = known ? Math.max(LIMITS.redoMinimum, 2 * recent.median, upper(recent)) : LIMITS.firstRedo;
  return usual * 2 ** redos;
}
