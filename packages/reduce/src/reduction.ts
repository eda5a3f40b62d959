/**
 * What a reducer computes, and what the orchestrator computes again when it must. Doubles, contributors in the order given,
 * rounded to float32 once: plain ECMAScript arithmetic, which no engine may fuse or reorder.
 */
import { SwarmError } from '@starling/protocol';
import { type Bytes, type GradientCodec, LARGEST } from './codec.ts';

/**
 * Looks at one uploaded shard `[length]` of one of `members` contributors and returns Σx², added up in index order.
 * Throws `BLOB_TOO_LARGE`, `SHARD_MALFORMED`, or `TENSOR_NOT_FINITE` for numbers whose sum over all members might overflow.
 */
export function inspectShard(codec: GradientCodec, bytes: Uint8Array, length: number, members: number): number {
  const vector = codec.decode(bytes, length);
  const largest = LARGEST / members;
  let squares = 0;
  for (let i = 0; i < length; i++) {
    const value = vector[i]!;
    if (Math.abs(value) > largest) throw new SwarmError('TENSOR_NOT_FINITE', `A shard holds ${value}, too large to be summed.`);
    squares += value * value;
  }
  return squares;
}

/**
 * Factors min(1, `multiple` · median / norm) of contributions with these norms (SparseLoCo clips at a multiple of 1).
 * The median is the lower of the two middle ones, so that one of two contributors cannot raise it; zeros do not count, so
 * that idlers cannot lower it to nothing. `multiple` null: nothing is clipped.
 */
export function clipScales(norms: readonly number[], multiple: number | null): number[] {
  const sizes = norms.filter((norm) => norm > 0).sort((a, b) => a - b);
  if (multiple === null || sizes.length === 0) return norms.map(() => 1);
  const limit = multiple * sizes[Math.floor((sizes.length - 1) / 2)]!;
  return norms.map((norm) => (norm > limit ? limit / norm : 1));
}

export interface ReductionFormat {
  /** Of the contributions. */
  codec: GradientCodec;
  /** Of the result. */
  merged: GradientCodec;
}

/** Σ scale · contribution over encoded shards `[length]` in the order given, encoded. Throws as `decode` and `encode`. */
export function reduceShard(
  { codec, merged }: ReductionFormat,
  length: number,
  contributions: readonly { bytes: Uint8Array; scale: number }[],
): Bytes {
  const sums = new Float64Array(length);
  for (const { bytes, scale } of contributions) {
    const vector = codec.decode(bytes, length);
    for (let i = 0; i < length; i++) sums[i]! += scale * vector[i]!;
  }
  return merged.encode(Float32Array.from(sums));
}
