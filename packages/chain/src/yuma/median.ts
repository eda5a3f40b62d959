/**
 * Consensus of validators on a neuron's weight: the stake-weighted median, that is the largest weight that at least κ of
 * the stake supports. subtensor's algorithm is followed to its ties: epoch/math.rs `weighted_median`, a binary search that
 * takes the middle entry as pivot.
 */
import { type Fixed, normalise, sum } from './fixed.ts';
import type { SparseMatrix } from './sparse.ts';

/**
 * The median of `score`. `stake` are shares, `total` their sum, `minority` the stake that may stay below.
 */
export function weightedMedian(stake: readonly Fixed[], score: ArrayLike<Fixed>, minority: Fixed, total: Fixed): Fixed {
  let candidates = Array.from(stake, (_, i) => i);
  let low = 0;
  let high = total;
  while (candidates.length > 1) {
    const pivot = score[candidates[candidates.length >> 1]!]!;
    const lower = candidates.filter((i) => score[i]! < pivot);
    const upper = candidates.filter((i) => score[i]! > pivot);
    const upToLower = low + sumOf(stake, lower);
    const fromUpper = high - sumOf(stake, upper);
    if (minority < upToLower && lower.length > 0) {
      candidates = lower;
      high = upToLower;
    } else if (fromUpper <= minority && upper.length > 0) {
      candidates = upper;
      low = fromUpper;
    } else return pivot;
  }
  return candidates.length === 0 ? 0 : score[candidates[0]!]!;
}

/** The median of every column [n] over the rows that have stake. A weight that is not set counts as 0. */
export function consensusOf(activeStake: readonly Fixed[], weights: SparseMatrix, n: number, kappa: Fixed): Fixed[] {
  const staked = activeStake.flatMap((share, i) => (share > 0 ? [i] : []));
  const stake = normalise(staked.map((i) => activeStake[i]!));
  const total = sum(stake);
  const scores = Array.from({ length: n }, () => new Float64Array(staked.length));
  staked.forEach((i, k) => {
    const { uids, values } = weights[i]!;
    for (let e = 0; e < uids.length; e++) scores[uids[e]!]![k] = values[e]!;
  });
  return scores.map((score) => weightedMedian(stake, score, total - kappa, total));
}

function sumOf(stake: readonly Fixed[], indices: readonly number[]): Fixed {
  let total = 0;
  for (const i of indices) total += stake[i]!;
  return total;
}
