/** How an epoch's emission is shared out, from shares to rao. */
import { div, type Fixed, normalise, sum } from './fixed.ts';

export interface Shares {
  server: readonly Fixed[];
  validator: readonly Fixed[];
  combined: readonly Fixed[];
}

/**
 * Incentive and dividends of their common sum, so half each. When nobody earned any, validators get by stake: that of the
 * active, else all.
 */
export function emissionShares(
  incentive: readonly Fixed[],
  dividends: readonly Fixed[],
  activeStake: readonly Fixed[],
  stake: readonly Fixed[],
): Shares {
  const combined = incentive.map((share, i) => share + dividends[i]!);
  const total = sum(combined);
  if (total === 0) {
    const byStake = sum(activeStake) === 0 ? stake : activeStake;
    return { server: incentive, validator: byStake, combined: byStake };
  }
  const ofTotal = (shares: readonly Fixed[]) => shares.map((share) => div(share, total));
  return { server: ofTotal(incentive), validator: ofTotal(dividends), combined: normalise(combined) };
}

/** ⌊share · emission⌋ in rao. */
export const rao = (share: Fixed, emission: bigint): bigint => (BigInt(share) * emission) >> 32n;
