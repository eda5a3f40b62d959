/** What the server does in a merge: looks at what is uploaded, draws the pairs, computes again what is in doubt. */
import type { Effect } from '@starling/coordinator';
import type { ParameterLayout } from '@starling/model';
import { type RunConfig, SwarmError } from '@starling/protocol';
import { type Formats, ShardedGradient, seedsOf, type Vector } from '@starling/reduce';
import type { Blobs } from './blobs.ts';

export const formatsOf = ({ gradient, merged }: Pick<RunConfig, 'gradient' | 'merged'>): Formats => ({ codec: gradient, merged });

type Task = Pick<Extract<Effect, { type: 'recompute' }>, 'shard' | 'contributions'>;

export class Reductions {
  private readonly run: RunConfig;
  private readonly layouts: readonly ParameterLayout[];
  private readonly blobs: Blobs;
  /** Nobody else knows it, and so which results are computed again. */
  private readonly secret: string;

  constructor(run: RunConfig, layouts: readonly ParameterLayout[], blobs: Blobs, secret: string) {
    this.run = run;
    this.layouts = layouts;
    this.blobs = blobs;
    this.secret = secret;
  }

  /** Answers `draw`. */
  seeds(over: string): ReturnType<typeof seedsOf> {
    return seedsOf(over, this.secret);
  }

  /**
   * Σx² of every shard of an uploaded gradient, of which a step has `microbatchesPerStep` at most. Throws the code that says what
   * is wrong with it.
   */
  inspect(stage: number, shards: readonly Uint8Array[], count: number): number[] {
    const gradient = this.of(stage, count);
    const { length } = gradient.shards;
    if (shards.length !== length) throw new SwarmError('SHARD_MALFORMED', `This gradient is ${length} shards, not ${shards.length}.`);
    return shards.map((bytes, shard) => gradient.inspect(shard, bytes, this.run.microbatchesPerStep));
  }

  /** Throws for bytes that cannot be a reducer's result. */
  inspectResult(stage: number, shard: number, bytes: Uint8Array, count: number): void {
    this.of(stage, count).inspectResult(shard, bytes);
  }

  /** The truth about a shard. Throws `BLOB_NOT_FOUND`. */
  reduce(stage: number, { shard, contributions }: Task, count: number): Uint8Array<ArrayBuffer> {
    const uploads = contributions.map(({ hash, scale }) => ({ bytes: this.blobs.get(hash), scale }));
    return this.of(stage, count).reduce(shard, uploads);
  }

  /** A contribution's gradient sum, as far as its codec says it. Throws `BLOB_NOT_FOUND`. */
  contributionOf(stage: number, hashes: readonly string[]): Vector {
    return this.of(stage, hashes.length).decode(hashes.map((hash) => this.blobs.get(hash)));
  }

  private of(stage: number, count: number): ShardedGradient {
    return new ShardedGradient(formatsOf(this.run), this.layouts[stage]!.size, count);
  }
}
