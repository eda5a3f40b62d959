/** Whose stake counts in an epoch, and who may validate in the next one. */
import { type Fixed, normalise } from './fixed.ts';
import type { EpochInput } from './types.ts';

const U64_MAX = 2n ** 64n - 1n;

/**
 * Stake weight in units of 2^-64 rao: alpha + tao · weight, `taoWeight` being a u64 share of 2^64 − 1 that subtensor first
 * rounds down to 32 bits after the point (`get_tao_weight`, U96F32).
 */
export function stakeWeight(alpha: bigint, tao: bigint, taoWeight: bigint): bigint {
  return (alpha << 64n) + ((tao * ((taoWeight << 32n) / U64_MAX)) << 32n);
}

/** Shares of all stake, [n], those under the threshold left out: divided in I64F64, then cut to I32F32. */
export function stakeShares({ neurons, ownerUid, parameters }: EpochInput): Fixed[] {
  const counted = neurons.map(({ stake }, uid) => (uid !== ownerUid && stake >> 64n < parameters.stakeThreshold ? 0n : stake));
  const total = counted.reduce((all, stake) => all + stake, 0n);
  // Where nobody has stake there is nothing to divide; what is left is cut in the same way.
  return counted.map((stake) => Number((total === 0n ? stake : (stake << 64n) / total) >> 32n));
}

/**
 * The `most` neurons with the largest stake; of equal ones those with the higher uid. Never one without stake, but always
 * the owner.
 */
export function permits(shares: readonly Fixed[], most: number, ownerUid: number | null): boolean[] {
  const permitted = shares.map((share) => share !== 0);
  const ascending = shares.map((_, uid) => uid).sort((a, b) => shares[a]! - shares[b]! || a - b);
  for (const uid of ascending.slice(0, Math.max(0, shares.length - most))) permitted[uid] = false;
  if (ownerUid !== null) permitted[ownerUid] = true;
  return permitted;
}

/** Whether a neuron has set weights lately. */
export function activity({ neurons, block, parameters }: EpochInput): boolean[] {
  return neurons.map(({ lastUpdate }) => lastUpdate + parameters.activityCutoff >= block);
}

/** Shares among those who are active and hold a permit. */
export function activeStake(shares: readonly Fixed[], active: readonly boolean[], permitted: readonly boolean[]): Fixed[] {
  return normalise(shares.map((share, uid) => (active[uid] && permitted[uid] ? share : 0)));
}

/** Blocks after which a neuron counts as inactive: `factor` thousandths of a tempo, at least one. */
export const activityCutoff = (factor: number, tempo: number): number => Math.max(1, Math.floor((factor * tempo) / 1_000));
