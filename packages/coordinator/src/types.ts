/** What the world tells the coordinator, and what it asks of the world. Plain data, so that a log can hold it. */
import type { AuditVerdict, Backend, ErrorCode, LeaseCounts, LeaseKind, Reason, RunEvent, Work } from '@starling/protocol';
import type { CodecName, ReductionTask } from '@starling/reduce';

export interface CoordinatorConfig {
  stages: number;
  /** Training microbatches of one step. */
  microbatchesPerStep: number;
  /** A step that stands still may close with so many of them. */
  minMicrobatches: number;
  /** Held-out microbatches of one validation; 0 for none. */
  validationMicrobatches: number;
  /** Validation runs in every step whose number is a multiple of this. */
  validateEvery: number;
  /** Steps until the run is complete; 0 for no end. */
  steps: number;
  /**
   * Whose norm clips a gradient: the stage's own, so that it waits for no other; or that of the whole model, as one process
   * would clip it, for which every stage waits for all of them.
   */
  clip: 'stage' | 'global';
  /** A step's gradients are merged while the next one is computed, and so one step late. */
  overlap: boolean;
  /** How gradients are written, cut and merged. */
  reduction: ReductionFormat;
  /** Tokens of one microbatch. */
  tokensPerMicrobatch: number;
  /** Version every stage starts at: that of the checkpoint. */
  version: number;
  /** SHA-256 of each stage's parameters at `version`. */
  parameterHashes: string[];
  /** Makes lease ids of this log differ from those of the one before it. */
  leasePrefix: string;
}

export interface ReductionFormat {
  /** Length of each stage's flat gradient. */
  parameters: readonly number[];
  /** Of what miners hand in, and of what comes of it. */
  codec: CodecName;
  merged: 'f32' | 'bf16';
  /** What is handed in are means over its tokens, and so is what comes of them. */
  means: boolean;
  /** A gradient's norm per token is clipped to so many times the median of its step; null: to nothing. */
  medianClip: number | null;
  /** Share of shards, whose reducers agree, that are computed once more. */
  spotCheck: number;
}

/** What of the configuration may change while a run goes on. */
export type Goals = Pick<CoordinatorConfig, 'steps' | 'validateEvery' | 'minMicrobatches'>;

/** What a miner says of itself: shown to people, and nothing is decided by it. */
export interface MinerFacts {
  name: string;
  backend: Backend;
  adapter: string;
  /** The public key that signs its receipts; absent: none. */
  device?: string;
}

/** A merged gradient. */
export interface Summed {
  /** Blobs of its shards, in order. */
  shards: string[];
  /** Norm of the stage's mean gradient before clipping. */
  norm: number;
  /** Tokens it covers. */
  tokens: number;
}

/** What a merge made, for replicas to make it too. */
export interface Merge extends Summed {
  /** Version after it. */
  version: number;
  /** SHA-256 of the stage's parameters after it. */
  parameterHash: string;
  /** The norm that clips: the stage's, or that of the whole model. */
  clipNorm: number;
}

export type Input =
  /** A miner said hello. `holding` is what it still has loaded, if it comes back. */
  | { type: 'join'; minerId: string; facts: MinerFacts; holding: { stage: number; version: number } | null }
  /** Its socket closed without a word. */
  | { type: 'disconnect'; minerId: string }
  /** It said that it goes. */
  | { type: 'leave'; minerId: string }
  | { type: 'ready'; minerId: string; stage: number; round: number; version: number; parameterHash: string }
  /** A completed lease whose tensors were already checked. */
  | { type: 'receipt'; minerId: string; leaseId: string; outputHash: string | null; lossSum: number | null; computeMs: number }
  /** The lease cannot be completed: its result was useless, or its miner cannot compute it. It goes to another at once. */
  | { type: 'forfeit'; minerId: string; leaseId: string; code: ErrorCode; message: string }
  /** Something it sent could not be taken, and nothing is to be done but to count and to record that. */
  | { type: 'refused'; minerId: string; code: ErrorCode; message: string; leaseId: string | null }
  /** The miner has its hands full: nothing for `pauseMs`, and this lease (if any) to somebody else. Nobody is blamed. */
  | { type: 'busy'; minerId: string; leaseId: string | null; pauseMs: number }
  /**
   * An uploaded gradient sum whose bytes were already checked: of every shard its blob, which is its commit, and Σx².
   * `microbatches` in the order they were added up.
   */
  | ({ type: 'contribution'; minerId: string; stage: number; version: number } & Omit<Contributed, 'minerId'>)
  /** The upload was useless: wrong size, or not finite. */
  | { type: 'spoiled'; minerId: string; stage: number; version: number; round: number; code: ErrorCode; message: string }
  /** The world drew chance from this merge's commits: answers `draw`. */
  | { type: 'seed'; stage: number; version: number; seed: string; secretSeed: string }
  /** A reducer's shard, whose bytes were already checked to be one. */
  | { type: 'result'; minerId: string; stage: number; version: number; round: number; shard: number; hash: string }
  /** The world finished a `recompute`. */
  | { type: 'recomputed'; stage: number; version: number; round: number; shard: number; hash: string }
  /** The world finished a `sum`. */
  | ({ type: 'summed'; stage: number; version: number } & Summed)
  /** The world finished an `apply`. */
  | ({ type: 'merged'; stage: number } & Merge)
  | { type: 'applied'; minerId: string; stage: number; version: number; parameterHash: string }
  /** A validator computed again what this miner did in a step. `validator`: its hotkey, for the record; absent: the server's own. */
  /** `drawn`: by the server's own, of a device whose work counts; absent: by another, or nothing of it counts. */
  | { type: 'audited'; minerId: string; stage: number; version: number; verdict: AuditVerdict; validator?: string; drawn?: Drawn }
  /** The server's own draw picked what this miner did in a step, which is these leases, and nobody could look at it. */
  | { type: 'unaudited'; minerId: string; stage: number; version: number; leases: LeaseCounts; message: string }
  /** The operator wants other goals for the same run. */
  | { type: 'configure'; goals: Goals }
  /** The process that carries out effects is a new one: no socket of before is open, and no effect of before is under way. */
  | { type: 'restart' }
  /** `idleMs`: the process stood still for so long, or could let nothing out, and nobody was late meanwhile. */
  | { type: 'tick'; idleMs?: number };

export interface GrantedLease {
  id: string;
  kind: LeaseKind;
  stage: number;
  version: number;
  microbatch: number;
  /** Which of the miner's gradient sums a backward belongs to: a later round starts at zero. */
  round: number;
  deadlineMs: number;
  /** False when the miner still holds the stage input from its forward. */
  sendInput: boolean;
}

/** How the server's own draw picked a miner. */
export interface Drawn {
  /** The chance it had. */
  rate: number;
  /**
   * So many times the pay of what could not be verified is taken: 1 / rate, unless other steps of its device were drawn, or were not, between
   * this draw and its verdict. Absent in logs of before: 1 / rate.
   */
  times?: number;
}

export interface Contributed {
  minerId: string;
  round: number;
  /** Of every shard. */
  hashes: string[];
  squares: number[];
  /** In the order its miner added them up. */
  microbatches: number[];
}

/** Whether a receipt counts for the step, or came when it was not needed any more: nobody looks at that, and so it earns nothing. */
export type Outcome = 'counted' | 'surplus';

export type Effect =
  /** Fetch this stage. `round` grows with every assignment: an older one that comes late is void. */
  | { type: 'assign'; minerId: string; stage: number; version: number; round: number; why: string }
  | { type: 'grant'; minerId: string; lease: GrantedLease }
  | { type: 'cancel'; minerId: string; leaseId: string }
  /** The input was a receipt, and this is what became of it. */
  | {
      type: 'settled';
      minerId: string;
      leaseId: string;
      work: Work;
      outcome: Outcome;
    }
  /** Ask the miner for its gradient, cut into so many shards. */
  | { type: 'collect'; minerId: string; stage: number; version: number; round: number; microbatches: number[]; shards: number }
  /** Hash this text, alone and with a secret; answer with `seed`. */
  | { type: 'draw'; stage: number; version: number; over: string }
  /** Ask the miner for the sum of these uploads. */
  | ({ type: 'reduce'; minerId: string; stage: number; version: number } & ReductionTask)
  /** Compute this shard from the uploads, keep it, answer with `recomputed`. Nobody may learn of it. */
  | ({ type: 'recompute'; stage: number; version: number } & ReductionTask)
  /** These are the merged gradient. Keep them, measure their norm, answer with `summed`. */
  | { type: 'sum'; stage: number; version: number; tokens: number; shards: string[] }
  /** This will have to be applied soon: fetch it. */
  | { type: 'prefetch'; minerId: string; stage: number; shards: string[] }
  /** Clip the sum by this norm, apply it, answer with `merged` for `version + 1`. No shards: nothing changes. */
  | { type: 'apply'; stage: number; version: number; summed: Summed; clipNorm: number }
  /** Tell the miner to apply the merge. */
  | { type: 'distribute'; minerId: string; stage: number; merge: Merge }
  /** Times are Unix ms; `until` is null where nobody knows the end. */
  | { type: 'wait'; minerId: string; reason: Reason; since: number; until: number | null }
  /** A gradient of its, over so many microbatches, is in the merge of this step: so many backwards of its are paid. */
  | { type: 'included'; minerId: string; stage: number; version: number; microbatches: number }
  /** The server's own validator found its work of this step to be what it said. */
  | { type: 'passed'; minerId: string; stage: number; version: number }
  /** These leases could not be verified in an audit that was drawn so; null: they were drawn, and nobody looked. They are not paid. */
  | { type: 'unverified'; minerId: string; stage: number; version: number; leases: LeaseCounts; drawn: Drawn | null }
  /** An audit found its work of this step false: what is held of its pay is lost. */
  | { type: 'convicted'; minerId: string; stage: number; version: number }
  /** It was taken off the run although its socket is open: closing that makes it say hello again. */
  | { type: 'dismiss'; minerId: string }
  /** The input changed nothing, for this reason. `work` is null when no lease of this miner is known that it was for. */
  | { type: 'refuse'; minerId: string; code: ErrorCode; message: string; leaseId: string | null; work: Work | null }
  /** Something of this miner's was given up, whatever the input was about. */
  | { type: 'lapse'; minerId: string; code: ErrorCode; message: string; leaseId: string | null; work: Work | null }
  /** Tensors kept for this stage and step are no longer needed. */
  | { type: 'release'; stage: number; version: number }
  /** Nor are its gradients. */
  | { type: 'forget'; stage: number; version: number }
  /** Every stage has applied step `step`. Losses are sums in nats over so many tokens. */
  | {
      type: 'closed';
      step: number;
      tokens: number;
      lossSum: number;
      validation: { lossSum: number; tokens: number } | null;
      /** Of each stage's mean gradient before clipping. */
      norms: number[];
    }
  | ({ type: 'event' } & Pick<RunEvent, 'level' | 'code' | 'message' | 'merged'>);

export type Of<T extends Input['type']> = Extract<Input, { type: T }>;
