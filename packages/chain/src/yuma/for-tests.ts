/** A subnet of tests: what the chain stores between epochs, and nothing else. */
import { runEpoch } from './epoch.ts';
import { type Fixed, ONE } from './fixed.ts';
import { EMPTY_ROW } from './sparse.ts';
import type { EpochParameters, NeuronAfter, NeuronBefore } from './types.ts';
import { upscaleToU16 } from './weights.ts';

/** subtensor's test runtime, as far as an epoch asks (pallets/subtensor/src/tests/mock.rs). */
export const TEST_PARAMETERS: EpochParameters = {
  maxValidators: 64,
  kappa: 32_767,
  bondsPenalty: 65_535,
  bondsMovingAverage: 900_000,
  activityCutoff: 5_000,
  tempo: 1,
  stakeThreshold: 0n,
  yuma3: false,
  liquidAlpha: null,
};

export class Subnet {
  block: number;
  neurons: NeuronBefore[];
  readonly parameters: EpochParameters;
  ownerUid: number | null = null;

  /** One neuron for every stake, in rao, registered at `block`. */
  constructor(stakes: readonly (bigint | number)[], parameters: Partial<EpochParameters> = {}, block = 0) {
    this.parameters = { ...TEST_PARAMETERS, ...parameters };
    this.block = block;
    this.neurons = stakes.map((stake) => this.newcomer(BigInt(stake)));
  }

  newcomer(stake: bigint): NeuronBefore {
    const { block } = this;
    return {
      lastUpdate: block,
      registeredAt: block,
      stake: stake << 64n,
      permit: false,
      weights: EMPTY_ROW,
      bonds: EMPTY_ROW,
      committedAt: null,
    };
  }

  setWeights(uid: number, uids: readonly number[], values: readonly number[]): void {
    Object.assign(this.neurons[uid]!, { weights: { uids, values: upscaleToU16(values) }, lastUpdate: this.block });
  }

  /** Of a million rao times a thousand, as subtensor's tests have it. */
  epoch(emission = 1_000_000_000n): NeuronAfter[] {
    const { parameters, block, neurons, ownerUid } = this;
    const after = runEpoch({ parameters, block, lastMechanismStep: 0, ownerUid, emission, neurons });
    this.neurons = neurons.map((neuron, uid) => {
      const { permit, bonds } = after[uid]!;
      return { ...neuron, permit, bonds: bonds ?? neuron.bonds };
    });
    return after;
  }

  /** The stored bond, 0 where there is none. */
  bond(uid: number, on: number): number {
    const { uids, values } = this.neurons[uid]!.bonds;
    return values[uids.indexOf(on)] ?? 0;
  }
}

/** The nearest I32F32, of two equally near the even one, as `from_num` of a float does. */
export function fromNumber(x: number): Fixed {
  const scaled = x * ONE;
  const below = Math.floor(scaled);
  const rest = scaled - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}
