/** What a run is and how it looks from outside: shared by server, miners and pages. */
import * as v from 'valibot';
import type { WireError } from './errors.ts';
import type { LeaseKind } from './messages.ts';
import type { Explained, Waiting } from './reasons.ts';
import type { Move } from './watch.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const positive = v.pipe(v.number(), v.integer(), v.minValue(1));
const sha = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

/** A residual stream that is narrow where it crosses between stages: packages/model/src/squeeze.ts. */
export const Squeeze = v.object({
  kind: v.picklist(['subspace', 'bottleneck']),
  /** Numbers that cross for a token. */
  rank: positive,
  /** Of what is fixed. */
  seed: count,
});
export type Squeeze = v.InferOutput<typeof Squeeze>;

/** Sizes of a Llama-style decoder. Head size is `width / heads`; keys and values have `keyValueHeads` heads. */
export const ModelShape = v.object({
  vocabulary: positive,
  width: positive,
  layers: positive,
  heads: positive,
  keyValueHeads: positive,
  /** Inner width of the SwiGLU block. */
  hidden: positive,
  /** Tokens per sequence. */
  context: positive,
  squeeze: v.optional(Squeeze),
});
export type ModelShape = v.InferOutput<typeof ModelShape>;

/** Numbers that cross between stages for a token. */
export const boundaryWidth = ({ width, squeeze }: ModelShape) => squeeze?.rank ?? width;

/**
 * Magnitudes that cross between stages end here: what is larger is said as this. So an honest result is never one that may not be relayed, and
 * none lies where rounding alone decides whether it may. Half of what float16 can write; else far more than an honest run ever comes to (the largest
 * activations known of any Llama are of the order of 1e4), and so little that the next stage's sums of products stay far from float32's 3e38.
 */
export const LARGEST_CROSSING = { f32: 2 ** 19, f16: 32_752, int8: 2 ** 19, int4: 2 ** 19 } as const;
/** Magnitudes below it are computed on as 0: those from 2^-126 on devices may keep or not, and processors take a hundred times as long with them. */
export const SMALLEST_CROSSING = 2 ** -32;

/** The layers `[firstLayer, firstLayer + layers)` of a model; stage 0 also embeds, the last one holds norm, head and loss. */
export const StageSpec = v.object({
  index: count,
  firstLayer: count,
  layers: count,
  isFirst: v.boolean(),
  isLast: v.boolean(),
});
export type StageSpec = v.InferOutput<typeof StageSpec>;

/** How the numbers of hidden states, and of gradients with respect to them, are written between stages: docs/protocol.md. */
export const BOUNDARIES = ['f32', 'f16', 'int8', 'int4'] as const;

/** What stages are computed in: docs/kernels.md, Halves. */
export const PRECISIONS = ['f32', 'f16'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** How the numbers of a gradient are written. */
export const GRADIENTS = ['f32', 'bf16', 'int8', 'topk2bit'] as const;

/**
 * Miners take steps of their own between merges, and what is merged is how far they came (DiLoCo, SparseLoCo): for lines too slow for a
 * gradient every step.
 */
export const Inner = v.object({
  /** Steps of the preset's batch that one step of the run stands for. */
  steps: positive,
  /** Microbatches of a miner's own step. */
  microbatches: positive,
  /** Of the outer step. */
  learningRate: v.number(),
  /** Nesterov's; 0: a plain step. */
  momentum: v.number(),
});
export type Inner = v.InferOutput<typeof Inner>;

export const RunConfig = v.object({
  runId: v.string(),
  preset: v.string(),
  model: ModelShape,
  stages: v.array(StageSpec),
  /** Sequences in one microbatch. */
  sequences: positive,
  microbatchesPerStep: positive,
  /** Steps until the run is complete; 0 for no end. */
  steps: count,
  /** A validation loss is taken every so many steps. */
  validateEvery: positive,
  /** Whose norm clips a gradient: the stage's own, or that of the whole model, for which stages wait for each other. */
  clip: v.picklist(['stage', 'global']),
  boundary: v.picklist(BOUNDARIES),
  /** Absent: float32, as of every run before there was a choice. */
  precision: v.optional(v.picklist(PRECISIONS)),
  /** How gradients are written when they are handed in, and when they are merged: docs/reduce.md. */
  gradient: v.picklist(GRADIENTS),
  merged: v.picklist(['f32', 'bf16']),
  /** A gradient's norm per token is clipped to so many times the median of its step; null: to nothing. */
  medianClip: v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))),
  /** A step's gradients are merged while the next one is computed, and so one step late. */
  overlap: v.boolean(),
  /** Null: gradients are merged, every step. */
  inner: v.nullable(Inner),
  seed: count,
});
export type RunConfig = v.InferOutput<typeof RunConfig>;

export const precisionOf = ({ precision = 'f32' }: Pick<RunConfig, 'precision'>): Precision => precision;

/** Names of the three blobs (tensor frames, `[n]` float32) that make up a stage at one version. */
export const StageState = v.object({ parameters: sha, firstMoment: sha, secondMoment: sha });
export type StageState = v.InferOutput<typeof StageState>;

/**
 * The numbers of one AdamW update, computed once by the orchestrator so that no replica calls `pow`.
 * `gradientScale` turns the summed gradient into the clipped mean: clip factor ÷ tokens.
 */
export const OptimizerNumbers = v.object({
  learningRate: v.number(),
  beta1: v.number(),
  beta2: v.number(),
  epsilon: v.number(),
  weightDecay: v.number(),
  /** 1 − beta1^version */
  biasCorrection1: v.number(),
  /** 1 − beta2^version */
  biasCorrection2: v.number(),
  gradientScale: v.number(),
});
export type OptimizerNumbers = v.InferOutput<typeof OptimizerNumbers>;

/** Of a miner's own AdamW steps until the next merge. They need not be the same bits anywhere else. */
export const InnerNumbers = v.object({
  learningRate: v.number(),
  beta1: v.number(),
  beta2: v.number(),
  epsilon: v.number(),
  weightDecay: v.number(),
  /** Largest norm of a mean gradient; Infinity: none. */
  clipNorm: v.number(),
});
export type InnerNumbers = v.InferOutput<typeof InnerNumbers>;

/** What a merge does with the merged vector: AdamW on a gradient sum, the outer step on a mean change, or, where there is none, nothing. */
export const Update = v.variant('kind', [
  v.object({ kind: v.literal('adamw'), ...OptimizerNumbers.entries }),
  v.object({ kind: v.literal('outer'), learningRate: v.number(), momentum: v.number(), inner: InnerNumbers }),
  v.object({ kind: v.literal('none') }),
]);
export type Update = v.InferOutput<typeof Update>;

export type Backend = 'webgpu' | 'wasm' | 'cpu';

/** What a miner is doing; `waiting` always comes with a reason. */
export const ACTIVITIES = [
  'connecting',
  'downloading',
  'warming-up',
  'forward',
  'backward',
  'evaluate',
  'uploading',
  'reducing',
  'applying',
  'waiting',
  'stopped',
] as const;
export type Activity = (typeof ACTIVITIES)[number];

export interface MinerView {
  id: string;
  name: string;
  /** Public key that signs its receipts, by which accounts know it; null: it has none. */
  device: string | null;
  stage: number | null;
  backend: Backend;
  adapter: string;
  activity: Activity;
  /** A sentence: why it waits, or null while it works. */
  reason: string | null;
  /** Parameter version it last proved by hash, or null before the first. */
  version: number | null;
  connected: boolean;
  leases: number;
  /** Receipts that counted, ever. */
  microbatches: number;
  /** Receipts that came when others had done the work. */
  surplus: number;
  /** Tokens of its backwards that counted, ever. */
  tokens: number;
  /** Tokens of accepted receipts per second over the last 30 s. */
  tokensPerSecond: number;
  /** What it sent that was refused, ever. */
  rejected: number;
  /** Why it has no lease, what to do, and since when; null while it has some. */
  waiting: Waiting | null;
  /** Unix ms until which it gets no leases, or null. */
  bannedUntil: number | null;
}

/** Ids that `GET /v1/miners?ids=` takes in one request. */
export const MINERS_AT_ONCE = 100;

/** What a lease was for, and how many milliseconds went by from its grant to what came of it. */
export interface Work {
  kind: LeaseKind;
  stage: number;
  version: number;
  microbatch: number;
  tookMs: number;
}

/** What became of one receipt (or of something else a miner sent), as its history shows it. */
export interface ReceiptEntry {
  /** Ascends in the order of settling. */
  id: number;
  time: number;
  leaseId: string | null;
  /** `lost`: nothing came of it in time. */
  outcome: 'counted' | 'surplus' | 'refused' | 'lost';
  /** Of the lease; null when nobody knows which it was for. */
  work: Work | null;
  /** Why it was refused or lost, and what to do; null when it was not. */
  error: WireError | null;
}

export type StagePhase = 'training' | 'merging' | 'waiting' | 'complete';

export interface StageView {
  index: number;
  layers: [first: number, last: number];
  parameters: number;
  version: number;
  phase: StagePhase;
  /** What the stage waits for, or null while it trains. */
  reason: Explained | null;
  /** Microbatches of the present step whose backward was accepted here. */
  done: number;
  total: number;
  /** Leases that miners have now. */
  leases: number;
  parameterHash: string;
  miners: MinerView[];
}

/** One closed step. Times are Unix milliseconds; losses are nats per token. */
export interface StepPoint {
  step: number;
  tokens: number;
  time: number;
  loss: number;
  validationLoss: number | null;
  learningRate: number;
  /** Norm of each stage's mean gradient before clipping. */
  gradientNorms: number[];
  tokensPerSecond: number;
  /** Of the time of the miners that were here, the share in which they computed what counted; absent in steps of before a restart, as below. */
  utilisation?: number;
  /** Bytes through the server, both ways, for each token trained on. */
  bytesPerToken?: number;
  /** Mean ms that a lease's computing took, by stage; null where none was settled. */
  computeMs?: (number | null)[];
  /**
   * By stage: tokens per second over its part of the step, from the grant of its first lease to the last receipt that counted
   * there; null where none did. Absent in steps that an older release closed, as below.
   */
  stageTokensPerSecond?: (number | null)[];
  /** By stage: tasks that were ready and had no miner, as a mean over the receipts that counted there; null without any. */
  queue?: (number | null)[];
  /** By stage. */
  mergeBytes?: MergeBytes[];
}

/** The model after one step, as `GET /v1/models` offers it; of step 0, which follows from the seed, nothing is served. */
export interface ModelVersion {
  version: number;
  /** Of that step; null when the step is no longer known. */
  loss: number | null;
  tokens: number | null;
  /** Unix ms. */
  time: number | null;
}

/** What a step that every stage has merged came to. */
export interface MergedStep {
  step: number;
  microbatches: number;
  /** From its last result until every stage had it in its parameters. */
  tookMs: number;
  /** Of all stages, as in its point. */
  bytes?: MergeBytes;
}

/** What merging cost the server's line since the step before closed. */
export interface MergeBytes {
  /** Of gradients, and of what reducers made of them, that were taken from miners. */
  uploaded: number;
  /** The same, to whoever asked for them: reducers, and those who apply what came of them, which may be the next step's. */
  sent: number;
}

export interface RunEvent {
  /** Unix ms. */
  time: number;
  /** Of the log, that caused it: what the run was like then can be looked at. Absent where none did. */
  entry?: number;
  level: 'info' | 'warning' | 'error';
  code: string;
  message: string;
  /** Of `STEP_MERGED`; absent in those that an older release wrote. */
  merged?: MergedStep;
}

/** The run as it was after an entry of its log. */
export interface Moment {
  seq: number;
  /** Unix ms. */
  at: number;
  run: RunSnapshot;
  /**
   * Of the newest input before it that a release with other rules had handled, and those it is shown by: it may not have been quite
   * so. Null: it was so.
   */
  otherRules: { written: number; shown: number } | null;
  /** As many as pages are shown of a run that goes on, the newest last. */
  points: StepPoint[];
  events: RunEvent[];
  /**
   * What moved last up to it, each with its entry, the newest last: of each stage the newest merge, of each miner here the newest audit,
   * and the newest receipts. Complete, in this sense, for the 200 entries before, and from the moment that was asked for before this one.
   */
  moves: (Move & { seq: number })[];
}

/** The entries that a log has. */
export interface MomentRange {
  first: { seq: number; at: number };
  last: { seq: number; at: number };
}

export interface RunSnapshot {
  config: RunConfig;
  phase: 'waiting' | 'training' | 'complete';
  /** Why the run waits, or null. */
  reason: Explained | null;
  step: number;
  tokens: number;
  tokensPerSecond: number;
  loss: number | null;
  validationLoss: number | null;
  parameters: number;
  startedAt: number;
  stages: StageView[];
  /** Counts that should stay small: handed over, recomputed, rejected, resynchronised. */
  counters: Record<string, number>;
}
