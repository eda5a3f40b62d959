/** From scores to the weights a validator sets, as Bittensor's SDK does it. */
import type { SubnetRules } from './chain.ts';
import type { SparseRow } from './yuma/index.ts';

/** What neurons that earned nothing get where the subnet wants more weights than there are scores (`process_weights`). */
const LEAST = 1e-5;

/**
 * u16 weights, linear in the scores: w / max · 65535, rounded half to even, zeros left out
 * (`convert_weights_and_uids_for_emit`). Without any score all get the same; with fewer than the subnet's minimum, all get
 * a little. `scores` by uid, finite and not negative.
 */
export function weightsFromScores(scores: readonly number[], { minAllowedWeights }: Pick<SubnetRules, 'minAllowedWeights'>): SparseRow {
  const scored = scores.filter((score) => score > 0).length;
  const values = scored === 0 ? scores.map(() => 1) : scored < Math.min(minAllowedWeights, scores.length) ? withLeast(scores) : scores;
  const max = Math.max(...values);
  const row = { uids: [] as number[], values: [] as number[] };
  values.forEach((value, uid) => {
    const weight = roundHalfToEven((value / max) * 65_535);
    if (weight === 0) return;
    row.uids.push(uid);
    row.values.push(weight);
  });
  return row;
}

/** Of scores that sum to 1, as the SDK's callers give them: beside larger ones the least would round to nothing. */
function withLeast(scores: readonly number[]): number[] {
  const total = scores.reduce((all, score) => all + score, 0);
  return scores.map((score) => LEAST + score / total);
}

function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}
