/** What the world tells the coordinator, and what it asks of the world. Plain data, so that a log can hold it. */
import type { ErrorCode, LeaseKind } from '@starling/protocol';

export interface CoordinatorConfig {
  stages: number;
  /** Training microbatches of one step. */
  microbatchesPerStep: number;
  /** Held-out microbatches of one validation; 0 for none. */
  validationMicrobatches: number;
  /** Validation runs in every step whose number is a multiple of this. */
  validateEvery: number;
  /** Steps until the run is complete; 0 for no end. */
  steps: number;
  /** Tokens of one microbatch. */
  tokensPerMicrobatch: number;
  /** Version every stage starts at: that of the checkpoint. */
  version: number;
  /** SHA-256 of each stage's parameters at `version`. */
  parameterHashes: string[];
  /** Makes lease ids of this process differ from those of the one before it. */
  leasePrefix: string;
}

export type Input =
  /** A miner said hello. `holding` is what it still has loaded, if it comes back. */
  | { type: 'join'; minerId: string; holding: { stage: number; version: number } | null }
  /** Its socket closed without a word. */
  | { type: 'disconnect'; minerId: string }
  /** It said that it goes. */
  | { type: 'leave'; minerId: string }
  | { type: 'ready'; minerId: string; stage: number; version: number; parameterHash: string }
  /** A completed lease whose tensors were already checked. */
  | { type: 'receipt'; minerId: string; leaseId: string; outputHash: string | null; lossSum: number | null; computeMs: number }
  /** The lease cannot be completed: its result was useless, or its miner cannot compute it. It goes to another at once. */
  | { type: 'forfeit'; minerId: string; leaseId: string; code: ErrorCode; message: string }
  /** An uploaded gradient sum whose bytes were already checked. */
  | { type: 'contribution'; minerId: string; stage: number; version: number; microbatches: number[]; gradient: string }
  /** The upload was useless: wrong size, or not finite. */
  | { type: 'spoiled'; minerId: string; stage: number; version: number; code: ErrorCode; message: string }
  /** The world finished a `reduce`. */
  | { type: 'merged'; stage: number; version: number; parameterHash: string }
  | { type: 'applied'; minerId: string; stage: number; version: number; parameterHash: string }
  | { type: 'tick' };

export interface GrantedLease {
  id: string;
  kind: LeaseKind;
  stage: number;
  version: number;
  microbatch: number;
  deadlineMs: number;
  /** False when the miner still holds the stage input from its forward. */
  sendInput: boolean;
}

export interface Contributed {
  minerId: string;
  gradient: string;
  microbatches: number[];
}

export type Effect =
  | { type: 'assign'; minerId: string; stage: number; version: number; why: string }
  | { type: 'grant'; minerId: string; lease: GrantedLease }
  | { type: 'cancel'; minerId: string; leaseId: string }
  | { type: 'collect'; minerId: string; stage: number; version: number; microbatches: number[] }
  /** Sum these in this order, apply, answer with `merged` for `version + 1`. */
  | { type: 'reduce'; stage: number; version: number; tokens: number; contributions: Contributed[] }
  /** Tell the miner to apply the merge that made `version`. */
  | { type: 'distribute'; minerId: string; stage: number; version: number }
  | { type: 'wait'; minerId: string; code: string; message: string }
  /** The input changed nothing, for this reason. */
  | { type: 'refuse'; minerId: string; code: ErrorCode; message: string }
  /** Tensors kept for this stage and step are no longer needed. */
  | { type: 'release'; stage: number; version: number }
  /** Every stage has applied step `step`. Losses are sums in nats. */
  | { type: 'closed'; step: number; tokens: number; lossSum: number; validation: { lossSum: number; tokens: number } | null }
  | { type: 'event'; level: 'info' | 'warning' | 'error'; code: string; message: string };
