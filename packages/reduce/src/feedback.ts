/**
 * Error feedback (Seide et al. 2014; with decay as in SparseLoCo, arXiv:2508.15706): what a lossy codec could not say this
 * time is kept by its miner and added to what it says next: e ← β·e + Δ, send Q(e), e ← e − Q(e).
 *
 * It belongs to one miner and one stage. It is worth keeping over a reconnect; a miner that lost it, or fetched the stage
 * anew, starts with zeros, which costs a little of what was held back and is never wrong. A sum that was sent and then left
 * out of its merge is lost with it, unless the state of before was kept.
 */
import { SwarmError } from '@starling/protocol';
import { type Bytes, f32, type GradientCodec, type Vector } from './codec.ts';
import { encodeShards, type Shard } from './shards.ts';

export class ErrorFeedback {
  readonly residual: Vector;
  /** β: how much of an old residual is still believed. */
  readonly decay: number;

  /** For vectors `[length]`; nothing is held back yet. */
  constructor(length: number, decay = 0.95) {
    this.residual = new Float32Array(length);
    this.decay = decay;
  }

  /** Throws `SHARD_MALFORMED`, `BLOB_TOO_LARGE` or `TENSOR_NOT_FINITE` when `bytes` are no state for vectors `[length]`. */
  static restore(bytes: Uint8Array, length: number, decay?: number): ErrorFeedback {
    const feedback = new ErrorFeedback(length, decay);
    feedback.residual.set(f32.decode(bytes, length));
    return feedback;
  }

  serialise(): Bytes {
    return f32.encode(this.residual);
  }

  zero(): void {
    this.residual.fill(0);
  }

  /** `vector` `[length]` and what was held back, shard by shard. On an error the state is as it was. */
  encode(codec: GradientCodec, vector: Float32Array, shards: readonly Shard[]): Bytes[] {
    const { residual, decay } = this;
    if (vector.length !== residual.length) {
      throw new SwarmError('TENSOR_SHAPE', `Expected a vector of ${residual.length} numbers, got ${vector.length}.`);
    }
    const total = Float32Array.from(vector, (value, i) => decay * residual[i]! + value);
    const encoded = encodeShards(codec, total, shards);
    shards.forEach(({ offset, length }, index) => {
      const said = codec.decode(encoded[index]!, length);
      for (let i = 0; i < length; i++) total[offset + i]! -= said[i]!;
    });
    residual.set(total);
    return encoded;
  }
}
