/**
 * What a server and its validators need of a chain, whichever it is. Amounts are bigint rao (10^-9 TAO or alpha), shares
 * u16 (65535 is all), times Unix ms, accounts SS58 addresses with prefix 42.
 */
import * as v from 'valibot';
import type { Signer } from './identity/index.ts';

const u16 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));
const address = v.pipe(v.string(), v.regex(/^[1-9A-HJ-NP-Za-km-z]{46,50}$/, 'not an SS58 address'));
const amount = v.pipe(v.bigint(), v.minValue(0n), v.maxValue(2n ** 64n - 1n));
const version = v.pipe(v.number(), v.integer(), v.minValue(0));
/** A vector of the chain's 4,096 uids at most. */
const vector = v.pipe(v.array(u16), v.maxLength(4_096));

/** Everything that can be asked of a chain. Coldkeys sign for money, hotkeys for weights. */
export const Call = v.variant('type', [
  /**
   * Signed by the coldkey, which pays the burn price, if that is not above `limit`. `coldkey`: whose the hotkey becomes when it is
   * nobody's yet, instead of the signer's; on embedded chains only.
   */
  v.object({ type: v.literal('register'), hotkey: address, limit: v.nullable(amount), coldkey: v.exactOptional(address) }),
  v.object({ type: v.literal('addStake'), hotkey: address, amount }),
  v.object({ type: v.literal('removeStake'), hotkey: address, amount }),
  v.object({ type: v.literal('transfer'), to: address, amount }),
  v.object({ type: v.literal('setWeights'), uids: vector, weights: vector, version }),
  /** `hash`: see `commitHash`. */
  v.object({ type: v.literal('commitWeights'), hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'not 32 bytes in hex')) }),
  v.object({ type: v.literal('revealWeights'), uids: vector, weights: vector, salt: vector, version }),
]);
export type Call = v.InferOutput<typeof Call>;

export interface Head {
  number: number;
  /** 64 hex digits. */
  hash: string;
}

export interface Neuron {
  uid: number;
  hotkey: string;
  coldkey: string;
  /** Blocks. */
  registeredAt: number;
  lastUpdate: number;
  /** Alpha on the hotkey, everybody's. */
  stake: bigint;
  permit: boolean;
  active: boolean;
  stakeWeight: number;
  consensus: number;
  incentive: number;
  dividends: number;
  validatorTrust: number;
  /** Of the last epoch, for both. */
  emission: bigint;
}

/** What of the subnet's settings a caller must keep to. */
export interface SubnetRules {
  tempo: number;
  maxUids: number;
  maxValidators: number;
  minAllowedWeights: number;
  maxWeightLimit: number;
  /** Blocks. */
  weightsRateLimit: number;
  weightsVersion: number;
  stakeThreshold: bigint;
  /** Epochs between commit and reveal; null: weights are set plainly. */
  revealPeriod: number | null;
}

export interface Metagraph {
  block: number;
  /** Epochs so far, which is what commits and reveals go by. */
  epoch: number;
  /** Block of the next one. */
  nextEpoch: number;
  /** What a registration costs now. */
  burn: bigint;
  rules: SubnetRules;
  /** The owner's hotkey, which needs no permit; null: the chain names none. */
  owner: string | null;
  /** By uid. */
  neurons: Neuron[];
}

/** What one epoch paid. Amounts are null where a chain keeps them to itself. */
export interface EpochPaid {
  epoch: number;
  block: number;
  owner: bigint | null;
  /** Incentive that would have gone to the owner's own hotkeys. */
  burned: bigint | null;
  /** By uid. */
  neurons: {
    uid: number;
    hotkey: string;
    incentive: number;
    dividends: number;
    /** Rao paid for serving and for validating. */
    served: bigint;
    validated: bigint;
  }[];
}

/** A call that is in a block and was carried out. */
export interface Included {
  block: number;
  /** As of that block. */
  epoch: number;
}

export interface Chain {
  /** The chain's identity: genesis hash, 64 hex digits. */
  readonly network: string;
  readonly netuid: number;
  head(): Promise<Head>;
  metagraph(): Promise<Metagraph>;
  /** What an account has and has not staked. */
  balance(account: string): Promise<bigint>;
  /**
   * Signs the call and resolves when it is carried out and will not be forgotten. Throws `ChainRefusal` when the chain
   * does not take it, `BAD_MESSAGE` when it is none.
   */
  submit(call: Call, signer: Signer): Promise<Included>;
  /** The newest epochs, the newest first. */
  epochs(limit: number): Promise<EpochPaid[]>;
  /** Tells of every epoch from now on, in order. Returns what ends it. */
  onEpoch(listener: (paid: EpochPaid) => void): () => void;
  close(): Promise<void>;
}
