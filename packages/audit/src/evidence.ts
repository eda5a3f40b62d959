/**
 * What an audit is made from: all that one miner did at one stage in one step, as it was relayed. Everything here is
 * public: parameters of a version, stored inputs, what was answered, and the hashes that the miner signed.
 */
import type { Vector } from '@starling/codecs';
import type { LeaseKind, Receipt, RunConfig, TensorData } from '@starling/protocol';

/** Sizes that a replay depends on. */
export type AuditedRun = Pick<RunConfig, 'model' | 'stages' | 'sequences' | 'boundary' | 'precision' | 'gradient'>;

/** What a lease gave to the miner: tensors as they crossed the wire. */
export interface GivenLease {
  leaseId: string;
  kind: LeaseKind;
  microbatch: number;
  /** Tokens `[B·T]` at the first stage, else what the stage before sent. */
  input: TensorData;
  /** Of the microbatch, where a later stage needs them (Lease.tokens). */
  tokens: TensorData | null;
  /** A backward's output gradient as it was relayed, the last stage's targets `[B·T]`; null for any other. */
  upstream: TensorData | null;
  /** Whether it is in the gradient sum that was handed in. */
  inSum: boolean;
}

/** A lease with its answer. */
export interface AnsweredLease extends GivenLease {
  /** As signed by the miner's device. */
  said: Pick<Receipt, 'inputHash' | 'outputHash' | 'lossSum'>;
  /** As it was relayed; null where there is none. */
  output: TensorData | null;
}

/** One stage at one version, and what was to be done with it. */
export interface StageWork<L extends GivenLease = GivenLease> {
  stage: number;
  /** The flat vector `[n]`. */
  parameters: Vector;
  /** SHA-256 of it, which every replica proved. */
  parameterHash: string;
  leases: readonly L[];
}

export interface Evidence extends StageWork<AnsweredLease> {
  /** What the miner handed in `[n]`, decoded; null when no gradient was asked for, or another took its place. */
  gradient: Vector | null;
}
