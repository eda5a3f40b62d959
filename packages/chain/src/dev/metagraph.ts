/** The chain's state as others see it. */
import type { Metagraph } from '../chain.ts';
import { type DevState, stakeOn } from './state.ts';

export function metagraphOf(state: DevState): Metagraph {
  const { block, epoch, burn, config, lastEpochBlock, hotkeys } = state;
  return {
    block,
    epoch,
    nextEpoch: lastEpochBlock + config.tempo,
    burn,
    owner: config.owner.hotkey,
    rules: {
      tempo: config.tempo,
      maxUids: config.maxUids,
      maxValidators: config.maxValidators,
      minAllowedWeights: config.minAllowedWeights,
      maxWeightLimit: config.maxWeightLimit,
      weightsRateLimit: config.weightsRateLimit,
      weightsVersion: config.weightsVersion,
      stakeThreshold: config.stakeThreshold,
      revealPeriod: config.revealPeriod,
    },
    neurons: state.neurons.map(({ weights: _w, bonds: _b, commits: _c, ...neuron }, uid) => ({
      uid,
      coldkey: hotkeys[neuron.hotkey]!.coldkey,
      stake: stakeOn(state, neuron.hotkey),
      ...neuron,
    })),
  };
}
