/** One stage's gradient as the shards in which it crosses: the only place that ties cut, codec and arithmetic together. */
import { SwarmError } from '@starling/protocol';
import type { Bytes, CodecName, GradientCodec, Vector } from './codec.ts';
import { CODECS } from './codecs.ts';
import type { ErrorFeedback } from './feedback.ts';
import { inspectShard, reduceShard } from './reduction.ts';
import { alignmentOf, cutShards, encodeShards, type Shard } from './shards.ts';

export interface Formats {
  /** Of contributions. */
  codec: CodecName;
  /** Of the merged result. */
  merged: 'f32' | 'bf16';
}

export class ShardedGradient {
  readonly shards: readonly Shard[];
  private readonly length: number;
  private readonly codec: GradientCodec;
  private readonly merged: GradientCodec;

  /** A vector `[length]` in `count` shards, or as many as it has blocks. Throws `CONFIG_INVALID`. */
  constructor({ codec, merged }: Formats, length: number, count: number) {
    this.length = length;
    this.codec = CODECS[codec];
    this.merged = CODECS[merged];
    this.shards = cutShards(length, count, alignmentOf(this.codec, this.merged));
  }

  /** `feedback`: adds what could not be said before, and keeps what cannot be said now. Throws `TENSOR_NOT_FINITE`. */
  encode(gradient: Float32Array, feedback: ErrorFeedback | null = null): Bytes[] {
    return feedback ? feedback.encode(this.codec, gradient, this.shards) : encodeShards(this.codec, gradient, this.shards);
  }

  /** Σx² of one of `members` uploads for this shard. Throws as `inspectShard`. */
  inspect(shard: number, bytes: Uint8Array, members: number): number {
    return inspectShard(this.codec, bytes, this.shards[shard]!.length, members);
  }

  /** A contribution's shards as the vector `[length]` they were made from, as far as its codec says it. Throws as `inspect`. */
  decode(parts: readonly Uint8Array[]): Vector {
    return this.join(this.codec, parts);
  }

  /** What the uploads of a shard give, encoded. Throws as `reduceShard`. */
  reduce(shard: number, contributions: readonly { bytes: Uint8Array; scale: number }[]): Bytes {
    return reduceShard({ codec: this.codec, merged: this.merged }, this.shards[shard]!.length, contributions);
  }

  /** Throws `SHARD_MALFORMED`, `BLOB_TOO_LARGE` or `TENSOR_NOT_FINITE` for bytes that cannot be a result for this shard. */
  inspectResult(shard: number, bytes: Uint8Array): void {
    this.merged.decode(bytes, this.shards[shard]!.length);
  }

  /** The merged gradient `[length]` of its shards' bytes. Throws as `inspectResult`. */
  assemble(parts: readonly Uint8Array[]): Vector {
    return this.join(this.merged, parts);
  }

  private join(codec: GradientCodec, parts: readonly Uint8Array[]): Vector {
    if (parts.length !== this.shards.length)
      throw new SwarmError('SHARD_MALFORMED', `A gradient of ${this.shards.length} shards came in ${parts.length}.`);
    const vector = new Float32Array(this.length);
    for (const [index, { offset, length }] of this.shards.entries()) vector.set(codec.decode(parts[index]!, length), offset);
    return vector;
  }
}
