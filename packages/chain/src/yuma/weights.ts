/** Which of the weights set count, how they are clipped, and the form in which they are stored. */
import { div, type Fixed, mul, ONE, U16_MAX } from './fixed.ts';
import { denseRow, EMPTY_ROW, filterRow, normaliseRows, type SparseMatrix, sparseRow } from './sparse.ts';
import type { EpochInput } from './types.ts';

/**
 * Rows of validators, each summing to 1. Left out are weights on oneself (but not the owner's), and those that were set,
 * or committed, before the neuron that has the uid now was registered.
 */
export function countedWeights({ neurons, ownerUid }: EpochInput, permitted: readonly boolean[]): SparseMatrix {
  const rows = neurons.map(({ weights, lastUpdate, committedAt }, i) => {
    if (!permitted[i]) return EMPTY_ROW;
    return filterRow(weights, (j) => {
      const { registeredAt } = neurons[j]!;
      return (i !== j || i === ownerUid) && lastUpdate > registeredAt && (committedAt === null || committedAt >= registeredAt);
    });
  });
  return normaliseRows(rows);
}

/** Weights above consensus cut to it. An entry goes only if nothing of it is left by the cut. */
export function clip(weights: SparseMatrix, consensus: readonly Fixed[]): SparseMatrix {
  return weights.map(({ uids, values }) => {
    const clipped: { uids: number[]; values: number[] } = { uids: [], values: [] };
    for (let k = 0; k < uids.length; k++) {
      const most = consensus[uids[k]!]!;
      if (most <= 0 && values[k]! > most) continue;
      clipped.uids.push(uids[k]!);
      clipped.values.push(Math.min(values[k]!, most));
    }
    return clipped;
  });
}

/** W + ratio · (V − W), entries above 0; W or V themselves, in their own order, when the ratio is 0 or 1. */
export function interpolate(from: SparseMatrix, to: SparseMatrix, ratio: Fixed, n: number): SparseMatrix {
  if (ratio === 0) return from;
  if (ratio === ONE) return to;
  return from.map((row, i) => {
    const goal = denseRow(to[i]!, n);
    return sparseRow(denseRow(row, n).map((value, j) => value + mul(ratio, goal[j]! - value)));
  });
}

/**
 * u16 weights scaled so that the largest is 65535 (`vec_u16_max_upscale_to_u16`): x · 65535 / max, rounded to the nearest.
 * Above 32768 the quotient is taken first, and cut to I32F32, because the product would overflow.
 */
export function upscaleToU16(weights: readonly number[]): number[] {
  const max = Math.max(0, ...weights);
  if (max === 0) return [...weights];
  if (max > 32_768) {
    const factor = div(U16_MAX, max);
    return weights.map((weight) => Math.floor((weight * factor + ONE / 2) / ONE));
  }
  return weights.map((weight) => Math.floor((2 * weight * U16_MAX + max) / (2 * max)));
}

/** Whether no weight is more than `limit`/65535 of their sum (`check_vec_max_limited`). */
export function isMaxLimited(weights: readonly number[], limit: number): boolean {
  const total = weights.reduce((all, weight) => all + weight, 0);
  return weights.every((weight) => div(weight, total) <= div(limit, U16_MAX));
}
