/**
 * One epoch of Yuma Consensus, as subtensor computes it (pallets/subtensor, epoch/run_epoch.rs `epoch_mechanism`, the
 * sparse path): pure, and equal to the last bit. docs/chain.md has the formulas.
 */
import { type Bonds, yuma2, yuma3 } from './bonds.ts';
import { emissionShares, rao } from './emission.ts';
import { div, normalise, toU16, U16_MAX } from './fixed.ts';
import { consensusOf } from './median.ts';
import { columnsWeighted, EMPTY_ROW, rowSums } from './sparse.ts';
import { activeStake, activity, permits, stakeShares } from './stake.ts';
import type { EpochInput, NeuronAfter } from './types.ts';
import { clip, countedWeights, interpolate } from './weights.ts';

/** What the epoch made of every neuron, by uid. */
export function runEpoch(input: EpochInput): NeuronAfter[] {
  const { parameters, neurons, ownerUid, emission } = input;
  const n = neurons.length;
  // Whoever had a permit validates now; who gets one now validates next time.
  const permitted = neurons.map(({ permit }, uid) => permit || uid === ownerUid);
  const stake = stakeShares(input);
  const active = activity(input);
  const staked = activeStake(stake, active, permitted);

  const weights = countedWeights(input, permitted);
  const consensus = consensusOf(staked, weights, n, div(parameters.kappa, U16_MAX));
  const clipped = clip(weights, consensus);
  const incentive = normalise(columnsWeighted(clipped, staked, n));

  const followed = interpolate(weights, clipped, div(parameters.bondsPenalty, U16_MAX), n);
  const bondsInput = { epoch: input, weights: followed, activeStake: staked, incentive, consensus };
  const { dividends, stored } = parameters.yuma3 ? yuma3(bondsInput) : yuma2(bondsInput);

  const shares = emissionShares(incentive, dividends, staked, stake);
  const trust = rowSums(clipped);
  const next = permits(stake, parameters.maxValidators, ownerUid);
  return neurons.map((_, uid) => ({
    active: active[uid]!,
    permit: next[uid]!,
    stakeWeight: toU16(stake[uid]!),
    consensus: toU16(consensus[uid]!),
    incentive: toU16(incentive[uid]!),
    dividends: toU16(dividends[uid]!),
    validatorTrust: toU16(trust[uid]!),
    serverEmission: rao(shares.server[uid]!, emission),
    validatorEmission: rao(shares.validator[uid]!, emission),
    emission: rao(shares.combined[uid]!, emission),
    bonds: keptBonds(stored, uid, next[uid]!, permitted[uid]!),
  }));
}

/** Those with a permit keep bonds, those who lost it lose them, and nobody else's are touched. */
function keptBonds(stored: Bonds['stored'], uid: number, permit: boolean, permittedBefore: boolean) {
  if (permit) return stored[uid]!;
  return permittedBefore ? EMPTY_ROW : null;
}
