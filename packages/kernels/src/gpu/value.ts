/** What programs compute with: numbers that lie, or will lie, somewhere on the device. */
import type { Tensor } from '../kernels.ts';

/**
 * Where a value lies. `temporary`: in a buffer that others use, too, when it is not needed (any more). `kept`: in the set of buffers that
 * a run of the program leaves behind, `index` in the order given. `buffer`: in one of its own. `elsewhere`: nobody asks, since nothing runs.
 */
export type Place = { kind: 'temporary' } | { kind: 'kept'; index: number } | { kind: 'buffer'; buffer: GPUBuffer } | { kind: 'elsewhere' };

/** What shaders know halves as: their own type, where the adapter has it, else two in a word. The bytes are the same. */
export type HalfFormat = 'f16' | 'packed';

/** Several values may share one: rows of another, or what is computed in its place. */
export interface Storage {
  bytes: number;
  place: Place;
  /** How its numbers lie, which a plan decides when it knows who reads them; null: four bytes each. */
  halves: HalfFormat | null;
}

export class Value implements Tensor {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly storage: Storage;
  /** Numbers of the storage before its first. */
  readonly start: number;
  /** Whoever reads it takes of each number the nearest half. */
  readonly rounded: boolean;

  constructor(shape: readonly number[], dtype: 'float32' | 'int32', storage: Storage, start = 0, rounded = false) {
    this.shape = shape;
    this.dtype = dtype;
    this.storage = storage;
    this.start = start;
    this.rounded = rounded;
  }

  get size(): number {
    return this.shape.reduce((n, axis) => n * axis, 1);
  }

  get bytes(): number {
    return bytesEach(this.storage.halves) * this.size;
  }

  /** Bytes into the storage; a multiple of the device's alignment. */
  get offset(): number {
    return bytesEach(this.storage.halves) * this.start;
  }

  /** Rows from `first` on, `count` of them: the same numbers, not a copy. */
  rows(first: number, count: number): Value {
    const width = this.size / this.shape[0]!;
    return new Value([count, ...this.shape.slice(1)], this.dtype, this.storage, this.start + first * width, this.rounded);
  }

  /** The same numbers in another shape. */
  as(...shape: number[]): Value {
    return new Value(shape, this.dtype, this.storage, this.start, this.rounded);
  }

  /** The same numbers, rounded to halves wherever they are read. */
  asHalves(): Value {
    return new Value(this.shape, this.dtype, this.storage, this.start, true);
  }
}

export const bytesEach = (halves: HalfFormat | null): number => (halves ? 2 : 4);

export function temporary(shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): Value {
  const bytes = 4 * shape.reduce((n, axis) => n * axis, 1);
  return new Value(shape, dtype, { bytes, place: { kind: 'temporary' }, halves: null });
}
