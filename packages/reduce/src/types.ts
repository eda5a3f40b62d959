/** What the world tells a merge, and what it asks of the world. Plain data, so that a log can hold it. */
import type { ErrorCode } from '@starling/protocol';
import type { CodecName } from './codec.ts';

export interface ButterflyConfig {
  stage: number;
  version: number;
  /** Length of the stage's flat gradient. */
  parameters: number;
  /** Of contributions. */
  codec: CodecName;
  /** Of the merged result. */
  merged: 'f32' | 'bf16';
  /**
   * Who was asked for a gradient, and how many tokens it covers: at least one. Gradients are added in this order. Absent ones are
   * not here (any more), or somebody's second gradient: such a one reduces nothing.
   */
  members: readonly { id: string; tokens: number; absent?: boolean }[];
  /** Into how many the vector is cut, where it has as many blocks: `shardCount`, or what it was when gradients were asked for. */
  shards: number;
  /** Contributions are means, weighed by their tokens, and so is the merged result; otherwise sums, and the result is their sum. */
  means?: boolean;
  /**
   * A contribution's norm per token is clipped to so many times the median. At 1, as SparseLoCo has it, about half of all honest
   * contributions are scaled; null clips nothing, and the merge is the plain sum.
   */
  clip: number | null;
  /** Share of agreed shards that the orchestrator computes again, to catch pairs that lie together. */
  spotCheck: number;
  /** The gradient of a reducer that lied is left out, too, and the merge begins again without it. Else only its results are. */
  excludeLiars: boolean;
  /** Reducers drawn for one shard after its first two, before the orchestrator computes it itself. */
  redraws: number;
  /** Rounds are numbered from the one after this: of an earlier merge of the same version, results may still be on their way. */
  after?: number;
  /** Ms that commits, uploads and the results of a reducer may take. */
  deadlines: { commit: number; upload: number; reduce: number };
}

export type ButterflyInput =
  /** SHA-256 of each encoded shard. */
  | { type: 'commit'; memberId: string; hashes: string[] }
  /** The answer to `draw`: see `seedsOf`. */
  | { type: 'seed'; seed: string; secretSeed: string }
  /** An upload that was looked at: its hash, and what `inspectShard` returned. */
  | { type: 'upload'; memberId: string; shard: number; hash: string; squares: number }
  /** An upload whose hash is the committed one, and which `inspectShard` refused: no other bytes can take its place. */
  | { type: 'spoiled'; memberId: string; shard: number; hash: string; code: ErrorCode; message: string }
  /** A reducer's result. Its bytes are where everybody can fetch them, and were checked against the hash. */
  | { type: 'result'; memberId: string; round: number; shard: number; hash: string }
  /** The answer to `recompute` and `spotCheck`: what the uploads give. Its bytes are where everybody can fetch them. */
  | { type: 'recomputed'; round: number; shard: number; hash: string }
  /** The member is gone and will not come back in time. */
  | { type: 'left'; memberId: string }
  /** The member may have lost what it was told: everything asked of it and not answered is asked again. */
  | { type: 'resumed'; memberId: string }
  /** Nobody could answer for so long: nobody is late for it. */
  | { type: 'postpone'; ms: number }
  /** An audit found that this member's gradient is false. */
  | { type: 'exclude'; memberId: string; message: string }
  /** Whoever carries out effects is new: everything asked for and not answered is asked for again, with all its time. */
  | { type: 'restart' }
  | { type: 'tick' };

export interface ReductionTask {
  /** Grows when the merge begins again without somebody: results of an earlier round are void. */
  round: number;
  shard: number;
  /** To be added in this order, each times its scale. */
  contributions: { memberId: string; hash: string; scale: number }[];
}

export type ButterflyEffect =
  /** Hash this text, answer with `seed`. */
  | { type: 'draw'; over: string }
  /** Ask the member for all its shards that are not there yet. */
  | { type: 'upload'; memberId: string; shards: number[] }
  /** Ask the member for the result of this shard. */
  | ({ type: 'reduce'; memberId: string } & ReductionTask)
  /** Compute this shard from the uploads, answer with `recomputed`: its reducers disagree, or too few are left. */
  | ({ type: 'recompute'; why: 'disagreement' | 'lost' } & ReductionTask)
  /** The same, and nobody may learn of it: its reducers agree. */
  | ({ type: 'spotCheck' } & ReductionTask)
  /** This member's gradient is left out. */
  | { type: 'excluded'; memberId: string; code: ErrorCode; message: string }
  /** This member reported `claimed` for a shard whose uploads give `truth`. */
  | { type: 'liar'; memberId: string; round: number; shard: number; claimed: string; truth: string }
  /** Everybody fetches these. `tokens` are those of the contributors: the sum divides by them. */
  | { type: 'merged'; hashes: string[]; contributors: string[]; tokens: number }
  /** Nothing is left to merge. */
  | { type: 'failed'; code: ErrorCode; message: string }
  /** The input changed nothing, for this reason. */
  | { type: 'refuse'; memberId: string; code: ErrorCode; message: string };

export type ButterflyPhase = 'committing' | 'drawing' | 'uploading' | 'reducing' | 'done' | 'failed';

export type Of<T extends ButterflyInput['type']> = Extract<ButterflyInput, { type: T }>;
