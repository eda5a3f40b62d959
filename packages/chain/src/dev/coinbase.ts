/**
 * What a block makes, and who gets it at the end of an epoch: 18 % for the owner, 41 % by incentive, 41 % by dividends
 * (coinbase/run_coinbase.rs). Shares are unsigned with 32 bits after the point (U96F32), as there; root takes no part.
 */
import type { EpochPaid } from '../chain.ts';
import { activityCutoff, type NeuronAfter, runEpoch, stakeWeight } from '../yuma/index.ts';
import { give, share } from './staking.ts';
import { type DevState, ownerUid, stakeOn } from './state.ts';
import { openCommits } from './weights.ts';

/** Here nothing is kept secret. */
export type FullyPaid = EpochPaid & { owner: bigint; burned: bigint };

const U16_MAX = 65_535n;

/** u16 share in units of 2^-32. */
const fraction = (u16: number) => (BigInt(u16) << 32n) / U16_MAX;

/** Adds what one block makes to what the next epoch shares out. */
export function mint(state: DevState): void {
  const { blockEmission, ownerCut } = state.config;
  const owner = blockEmission * fraction(ownerCut);
  const rest = (blockEmission << 32n) - owner;
  const server = rest >> 1n;
  const parts = { owner: owner >> 32n, server: server >> 32n, validator: (rest - server) >> 32n };
  state.pending.owner += parts.owner;
  state.pending.server += parts.server;
  state.pending.validator += parts.validator;
  state.issued += blockEmission;
  state.burned += blockEmission - parts.owner - parts.server - parts.validator;
}

export const isEpochDue = ({ block, lastEpochBlock, config }: DevState): boolean => block - lastEpochBlock >= config.tempo;

/** Yuma Consensus, and everybody is paid. */
export function closeEpoch(state: DevState): FullyPaid {
  const { config, pending } = state;
  const lastMechanismStep = state.lastEpochBlock;
  state.lastEpochBlock = state.block;
  state.epoch += 1;
  state.pending = { owner: 0n, server: 0n, validator: 0n };
  const after = runEpoch({
    parameters: { ...config, activityCutoff: activityCutoff(config.activityCutoffFactor, config.tempo) },
    block: state.block,
    lastMechanismStep,
    ownerUid: ownerUid(state),
    emission: pending.server + pending.validator,
    neurons: state.neurons.map((neuron) => ({
      ...neuron,
      stake: stakeWeight(stakeOn(state, neuron.hotkey), 0n, 0n),
      committedAt: config.revealPeriod === null ? null : (openCommits(state, neuron)[0]?.block ?? null),
    })),
  });
  state.neurons.forEach((neuron, uid) => {
    const { bonds, serverEmission: _s, validatorEmission: _v, ...outputs } = after[uid]!;
    Object.assign(neuron, outputs, bonds && { bonds });
  });

  const served = payServers(state, after);
  const incentive = after.reduce((all, { serverEmission }) => all + serverEmission, 0n);
  // Where nobody earned incentive, validators get that, too.
  const validated = payValidators(state, after, pending.validator + (incentive === 0n ? pending.server : 0n));
  give(state.hotkeys[config.owner.hotkey]!, config.owner.coldkey, pending.owner);
  const total = (amounts: readonly bigint[]) => amounts.reduce((all, amount) => all + amount, 0n);
  // Withheld from the owner's hotkeys, or left by rounding: nobody's.
  state.burned += pending.server + pending.validator - total(served) - total(validated);
  return {
    epoch: state.epoch,
    block: state.block,
    owner: pending.owner,
    burned: incentive - total(served),
    neurons: state.neurons.map(({ hotkey, incentive, dividends }, uid) => ({
      uid,
      hotkey,
      incentive,
      dividends,
      served: served[uid]!,
      validated: validated[uid]!,
    })),
  };
}

/** Incentive goes to the hotkey's own coldkey; that of the owner's hotkeys is burned. */
function payServers(state: DevState, after: readonly NeuronAfter[]): bigint[] {
  return state.neurons.map(({ hotkey }, uid) => {
    const key = state.hotkeys[hotkey]!;
    if (key.coldkey === state.config.owner.coldkey) return 0n;
    give(key, key.coldkey, after[uid]!.serverEmission);
    return after[uid]!.serverEmission;
  });
}

/** `alpha` in proportion to the epoch's dividends: the take to the hotkey's coldkey, the rest to all its stakers. */
function payValidators(state: DevState, after: readonly NeuronAfter[], alpha: bigint): bigint[] {
  const total = after.reduce((all, { validatorEmission }) => all + validatorEmission, 0n);
  const take = fraction(state.config.delegateTake);
  return state.neurons.map(({ hotkey }, uid) => {
    if (total === 0n) return 0n;
    const part = alpha * ((after[uid]!.validatorEmission << 32n) / total);
    const taken = (take * part) >> 32n;
    const key = state.hotkeys[hotkey]!;
    const shared = (part - taken) >> 32n;
    give(key, key.coldkey, taken >> 32n);
    share(key, shared);
    return (taken >> 32n) + shared;
  });
}
