import type { LeaseKind, StagePhase } from '@starling/protocol';
import type { Agreement, Butterfly } from '@starling/reduce';
import { LIMITS } from './constants.ts';
import type { Slot } from './flow.ts';
import { noTimes, type Recent } from './times.ts';
import type { Contributed, Merge, Summed } from './types.ts';

/** A gradient that a miner was asked for. */
export interface Claim {
  round: number;
  /** Ascending. */
  microbatches: number[];
  since: number;
  /** It did not come in time: others compute its microbatches again, and whoever is first counts. */
  redone: boolean;
}

/** How far the gradients of one step are on their way to become one. */
export interface MergeWork {
  /** The step. */
  version: number;
  /** Accepted gradient sums. */
  contributions: Contributed[];
  /** Into how many shards gradients are cut; 0 before the first is asked for. */
  shards: number;
  /** Who was asked for a gradient and has not answered. */
  collecting: Map<string, Claim>;
  /** Whose gradient is not wanted any more, since others were faster, and its round. */
  voided: Map<string, number>;
  /** Gradients that others began to compute again. */
  redos: number;
  /** The all-reduce, while it is under way. */
  butterfly: Butterfly | null;
  /** The last round of a butterfly that began anew. */
  reductionRound: number;
  /** What came of it, once it is known. */
  summed: Summed | null;
}

export const noMerge = (version: number): MergeWork => ({
  version,
  contributions: [],
  shards: 0,
  collecting: new Map(),
  voided: new Map(),
  redos: 0,
  butterfly: null,
  reductionRound: 0,
  summed: null,
});

/** Of a step whose gradients came to nothing, or before the first: the parameters stay as they are. */
export const NOTHING: Summed = { shards: [], norm: 0, tokens: 0 };

/** What a run begins with: the gradients of the step before it were nothing. */
export const mergedBefore = (version: number): MergeWork => ({ ...noMerge(version - 1), summed: NOTHING });

/** One stage's progress: which step it works on, and who has handed in what. `version` = steps applied so far. */
export interface StageRecord {
  index: number;
  isLast: boolean;
  version: number;
  parameterHash: string;
  phase: Exclude<StagePhase, 'waiting'>;
  phaseSince: number;
  /** When something done here counted last, somebody was sent here, nothing was left to do here, or nobody was here: since then work waits. */
  attendedAt: number;
  /** Of the present step's gradients. */
  merge: MergeWork;
  /** With overlap: what the miners are to apply, until it is in the log. */
  applying: Summed | null;
  /** Of all merges: how often two miners' results for one shard were the same. */
  agreement: Agreement[];
  /** The newest merges, the newest last. */
  merges: Merge[];
  /** Grant to receipt, by kind of lease; request to gradient. */
  times: Record<LeaseKind | 'collect', Recent>;
  /** Ms of work per lease, queueing aside: what a backward costs in forwards. */
  work: Record<Slot, Recent>;
}

export function newStage(index: number, stages: number, version: number, parameterHash: string, now: number): StageRecord {
  return {
    index,
    isLast: index === stages - 1,
    version,
    parameterHash,
    phase: 'training',
    phaseSince: now,
    attendedAt: now,
    merge: noMerge(version),
    applying: null,
    agreement: [],
    merges: [],
    times: { forward: noTimes(), backward: noTimes(), evaluate: noTimes(), collect: noTimes() },
    work: { forward: noTimes(), backward: noTimes() },
  };
}

export function enterStagePhase(stage: StageRecord, phase: StageRecord['phase'], now: number): void {
  if (stage.phase !== phase) Object.assign(stage, { phase, phaseSince: now } satisfies Partial<StageRecord>);
}

/** Work of one lease in units of this stage's forward. */
export function unitsOf(stage: StageRecord, slot: Slot): number {
  if (slot === 'forward') return 1;
  const { forward, backward } = stage.work;
  return forward.median > 0 && backward.median > 0 ? backward.median / forward.median : LIMITS.backwardUnits;
}

/** Work of a whole training microbatch at this stage. */
export function unitsPerMicrobatch(stage: StageRecord): number {
  return unitsOf(stage, 'backward') + (stage.isLast ? 0 : 1);
}

/** The merge that made `version`, if it is kept. */
export function mergeOf(stage: StageRecord, version: number): Merge | undefined {
  return stage.merges.find((merge) => merge.version === version);
}
