/** A stage's flat vector as contiguous shards. */
import { SwarmError } from '@starling/protocol';
import type { Bytes, GradientCodec } from './codec.ts';

export interface Shard {
  /** Its first number. */
  offset: number;
  length: number;
}

/** One for every pair of members; one for a member alone. */
export const pairsOf = (members: number) => Math.max(1, (members * (members - 1)) / 2);

/**
 * Shards for `members`: one for every pair, as far as none gets longer than 2¹⁸ numbers (a request of 1 MiB, after which an upload
 * that broke off goes on) or shorter than 4,096 (whose messages would outweigh it).
 */
export function shardCount(length: number, members: number): number {
  return Math.max(Math.ceil(length / 2 ** 18), Math.min(pairsOf(members), Math.max(1, Math.floor(length / 4_096))));
}

/**
 * `wanted` shards, cut at multiples of `align` numbers; fewer where the vector has fewer blocks. Lengths differ by one block at
 * most, the longer ones first; the last block may be cut short. Throws `CONFIG_INVALID` when there is nothing to cut.
 */
export function cutShards(length: number, wanted: number, align: number): Shard[] {
  if (!(length >= 1 && wanted >= 1 && align >= 1)) {
    throw new SwarmError('CONFIG_INVALID', `A vector of ${length} numbers cannot be cut into ${wanted} shards.`);
  }
  const blocks = Math.ceil(length / align);
  const count = Math.min(wanted, blocks);
  return Array.from({ length: count }, (_, index) => {
    const start = (at: number) => Math.min(length, align * (at * Math.floor(blocks / count) + Math.min(at, blocks % count)));
    return { offset: start(index), length: start(index + 1) - start(index) };
  });
}

/** Blocks are powers of two, so the larger is a multiple of the smaller. */
export const alignmentOf = (...codecs: GradientCodec[]) => Math.max(...codecs.map(({ block }) => block));

/** Every shard encoded by itself. Throws as `encode`. */
export function encodeShards(codec: GradientCodec, vector: Float32Array, shards: readonly Shard[]): Bytes[] {
  return shards.map(({ offset, length }) => codec.encode(vector.subarray(offset, offset + length)));
}
