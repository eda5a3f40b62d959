/** What crosses between the stages of a run, as the tensor of a frame. */
import { boundaryWidth, type RunConfig, SwarmError, type TensorData } from '@starling/protocol';
import { type Bytes, QUANTISERS, type Vector } from './quantise.ts';

/** A byte that, all over a row, is NaN in every format. */
const NAN = 0xff;

export interface Crossing {
  /** Of the tensor: `[sequences, context, boundaryWidth]` of float32, or `[tokens, bytes of a token]`. */
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'uint8';
  /** Bytes of a token. */
  readonly tokenBytes: number;
  /** Exclusive bound of the magnitudes that can be said. */
  readonly limit: number;
  /** What it cannot say it says as NaN, as devices do: whoever reads it refuses it, and the lease goes its way. */
  pack(x: Vector): Vector | Bytes;
  /** What a device is to make of it instead of `pack`; null: it crosses as it is. */
  readonly format: Exclude<RunConfig['boundary'], 'f32'> | null;
  /** `[tokens · boundaryWidth]`. Throws `TENSOR_SHAPE` for a tensor of another kind, `TENSOR_NOT_FINITE`. */
  unpack(tensor: TensorData): Vector;
}

export function crossingOf({ boundary, sequences, model }: Pick<RunConfig, 'boundary' | 'sequences' | 'model'>): Crossing {
  const { context } = model;
  const width = boundaryWidth(model);
  const quantiser = QUANTISERS[boundary];
  const { limit } = quantiser;
  const tokens = sequences * context;
  const tokenBytes = quantiser.rowBytes(width);
  const wrong = () => new SwarmError('TENSOR_SHAPE', `What crosses in this run is written as ${boundary}.`);
  // As numbers, so that nothing is copied.
  if (boundary === 'f32') {
    return {
      shape: [sequences, context, width],
      dtype: 'float32',
      tokenBytes,
      limit,
      pack: (x) => x,
      format: null,
      unpack: (tensor) => {
        if (!(tensor instanceof Float32Array) || tensor.length !== tokens * width) throw wrong();
        return tensor;
      },
    };
  }
  return {
    shape: [tokens, tokenBytes],
    dtype: 'uint8',
    tokenBytes,
    limit,
    pack(x) {
      try {
        return quantiser.encode(x, width);
      } catch (error) {
        if (!(error instanceof SwarmError) || error.code !== 'TENSOR_NOT_FINITE') throw error;
        return new Uint8Array(tokens * tokenBytes).fill(NAN);
      }
    },
    format: boundary,
    unpack: (tensor) => {
      if (!(tensor instanceof Uint8Array) || tensor.length !== tokens * tokenBytes) throw wrong();
      return quantiser.decode(tensor, width);
    },
  };
}
