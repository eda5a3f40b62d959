/** Settings of an embedded chain: those of subnet 9 and of subtensor, where they have them. */
import { DEFAULTS_OF_SUBNET_9 } from './subnet-9.ts';

/** Amounts in rao; shares u16. */
export interface DevConfig {
  /** Any text: chains of other names are other networks. */
  name: string;
  netuid: number;
  blockMs: number;
  /** Whose the subnet is. Its hotkey is the first neuron. */
  owner: { coldkey: string; hotkey: string };
  /** What accounts have at the beginning. */
  endowments: { account: string; amount: bigint }[];
  /** Alpha made in a block. */
  blockEmission: bigint;
  ownerCut: number;
  /** Of dividends, for whom the hotkey belongs to; the rest is for its stakers. */
  delegateTake: number;
  tempo: number;
  maxUids: number;
  maxValidators: number;
  minAllowedWeights: number;
  maxWeightLimit: number;
  weightsRateLimit: number;
  weightsVersion: number;
  /** Null: off. */
  revealPeriod: number | null;
  immunityPeriod: number;
  /** Neurons without immunity that pruning leaves there. */
  minNonImmune: number;
  /** Thousandths of a tempo. */
  activityCutoffFactor: number;
  stakeThreshold: bigint;
  kappa: number;
  bondsPenalty: number;
  bondsMovingAverage: number;
  yuma3: boolean;
  liquidAlpha: { low: number; high: number; steepness: number } | null;
  burn: { start: bigint; min: bigint; max: bigint /** Blocks. */; halfLife: number /** Per registration. */; increase: number };
}

export type DevOptions = Pick<DevConfig, 'name' | 'owner'> & Partial<DevConfig>;

export const devConfig = (options: DevOptions): DevConfig => ({ ...DEFAULTS_OF_SUBNET_9, ...options });
