/** What crosses between the stages of a run, as the tensor of a frame. */
import { boundaryWidth, LARGEST_CROSSING, type RunConfig, SMALLEST_CROSSING, SwarmError, type TensorData } from '@starling/protocol';
import { type Bytes, LIMIT, QUANTISERS, type Vector } from './quantise.ts';

/** A byte that, all over a row, is NaN in every format. */
const NAN = 0xff;

export interface Crossing {
  /** Of the tensor: `[sequences, context, boundaryWidth]` of float32, or `[tokens, bytes of a token]`. */
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'uint8';
  /** Bytes of a token. */
  readonly tokenBytes: number;
  /** Of what is read, no honest magnitude is above it: `LARGEST_CROSSING`, and what the rounding of a scale may add. */
  readonly most: number;
  /**
   * What is larger than `LARGEST_CROSSING` as that. What is no number, or so large that it will soon be none, it says as it is, or as NaN, as
   * devices do: whoever reads it refuses it, and the lease goes its way.
   */
  pack(x: Vector): Vector | Bytes;
  /** What a device is to make of it instead of `pack`; null: it crosses as it is. */
  readonly format: Exclude<RunConfig['boundary'], 'f32'> | null;
  /** What was said, `[tokens · boundaryWidth]`. Throws `TENSOR_SHAPE` for a tensor of another kind, `TENSOR_NOT_FINITE`. */
  unpack(tensor: TensorData): Vector;
  /** The same as a stage computes on it: below `SMALLEST_CROSSING` it is 0, on every device. Throws as `unpack`. */
  input(tensor: TensorData): Vector;
}

/** The least exact scale, of `int4`, has eight bits. */
const ROUNDING = 1 + 2 ** -8;

/** Between ±`most`; itself where all of it is. */
function within(x: Vector, most: number): Vector {
  if (x.every((value) => !(Math.abs(value) > most))) return x;
  return x.map((value) => (Math.abs(value) < LIMIT ? Math.max(-most, Math.min(most, value)) : value));
}

/** Without what is too small to be computed on; itself where nothing is. */
function settled(x: Vector): Vector {
  const isTiny = (value: number) => value !== 0 && Math.abs(value) < SMALLEST_CROSSING;
  return x.some(isTiny) ? x.map((value) => (isTiny(value) ? 0 : value)) : x;
}

export function crossingOf({ boundary, sequences, model }: Pick<RunConfig, 'boundary' | 'sequences' | 'model'>): Crossing {
  const { context } = model;
  const width = boundaryWidth(model);
  const quantiser = QUANTISERS[boundary];
  const largest = LARGEST_CROSSING[boundary];
  const most = largest * ROUNDING;
  const tokens = sequences * context;
  const tokenBytes = quantiser.rowBytes(width);
  const wrong = () => new SwarmError('TENSOR_SHAPE', `What crosses in this run is written as ${boundary}.`);
  // As numbers, so that nothing is copied.
  if (boundary === 'f32') {
    const unpack = (tensor: TensorData) => {
      if (!(tensor instanceof Float32Array) || tensor.length !== tokens * width) throw wrong();
      return tensor;
    };
    return {
      shape: [sequences, context, width],
      dtype: 'float32',
      tokenBytes,
      most,
      pack: (x) => within(x, largest),
      format: null,
      unpack,
      input: (tensor) => settled(unpack(tensor)),
    };
  }
  const unpack = (tensor: TensorData) => {
    if (!(tensor instanceof Uint8Array) || tensor.length !== tokens * tokenBytes) throw wrong();
    return quantiser.decode(tensor, width);
  };
  return {
    shape: [tokens, tokenBytes],
    dtype: 'uint8',
    tokenBytes,
    most,
    pack(x) {
      try {
        return quantiser.encode(within(x, largest), width);
      } catch (error) {
        if (!(error instanceof SwarmError) || error.code !== 'TENSOR_NOT_FINITE') throw error;
        return new Uint8Array(tokens * tokenBytes).fill(NAN);
      }
    },
    format: boundary,
    unpack,
    input: (tensor) => settled(unpack(tensor)),
  };
}
