/** What an epoch of Yuma Consensus is given and gives. Uids are positions in `neurons`. */
import type { SparseRow } from './sparse.ts';

export interface LiquidAlpha {
  /** u16 shares of 1. */
  low: number;
  high: number;
  /** Hundredths; subtensor's default is 1000. */
  steepness: number;
}

export interface EpochParameters {
  /** Most validators that hold a permit. */
  maxValidators: number;
  /** Share of stake that must support a weight, as u16. */
  kappa: number;
  /** How far bonds follow clipped weights instead of those set, as u16. */
  bondsPenalty: number;
  /** Share of the old bonds kept, in millionths. */
  bondsMovingAverage: number;
  /** Blocks without new weights after which a neuron is inactive. */
  activityCutoff: number;
  tempo: number;
  /** Rao of stake under which a neuron validates nothing, whoever else has less. */
  stakeThreshold: bigint;
  yuma3: boolean;
  /** Takes part only in Yuma3; null: off. */
  liquidAlpha: LiquidAlpha | null;
}

export interface NeuronBefore {
  /** Block of its newest weights (or of their commit). */
  lastUpdate: number;
  registeredAt: number;
  /** Stake weight in units of 2^-64 rao (I64F64), see `stakeWeight`. */
  stake: bigint;
  permit: boolean;
  /** As stored: u16, in the order in which they were set. */
  weights: SparseRow;
  /** As stored: u16, by uid. */
  bonds: SparseRow;
  /** Block of its earliest commit that can still be revealed; null: none, or commit-reveal is off. */
  committedAt: number | null;
}

export interface EpochInput {
  parameters: EpochParameters;
  block: number;
  /** Block of the last epoch; 0: none yet. */
  lastMechanismStep: number;
  /** The subnet owner's; null: not registered. */
  ownerUid: number | null;
  /** Rao to be shared out. */
  emission: bigint;
  neurons: readonly NeuronBefore[];
}

/** Shares are u16. */
export interface NeuronAfter {
  active: boolean;
  permit: boolean;
  stakeWeight: number;
  consensus: number;
  incentive: number;
  dividends: number;
  validatorTrust: number;
  /** Rao, for serving; for validating; of both, as the chain keeps it for pruning. */
  serverEmission: bigint;
  validatorEmission: bigint;
  emission: bigint;
  /** What is stored from now on; null: what is stored stays. */
  bonds: SparseRow | null;
}
