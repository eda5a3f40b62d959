/** What programs compute with: numbers that lie, or will lie, somewhere on the device. */
import type { Tensor } from '../kernels.ts';

/**
 * Where a value lies. `temporary`: in a buffer that others use, too, when it is not needed (any more). `kept`: in the set of buffers that
 * a run of the program leaves behind, `index` in the order given. `buffer`: in one of its own. `elsewhere`: nobody asks, since nothing runs.
 */
export type Place = { kind: 'temporary' } | { kind: 'kept'; index: number } | { kind: 'buffer'; buffer: GPUBuffer } | { kind: 'elsewhere' };

/** Several values may share one: rows of another, or what is computed in its place. */
export interface Storage {
  readonly bytes: number;
  place: Place;
}

export class Value implements Tensor {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly storage: Storage;
  /** Bytes into the storage; a multiple of the device's alignment. */
  readonly offset: number;

  constructor(shape: readonly number[], dtype: 'float32' | 'int32', storage: Storage, offset = 0) {
    this.shape = shape;
    this.dtype = dtype;
    this.storage = storage;
    this.offset = offset;
  }

  get size(): number {
    return this.shape.reduce((n, axis) => n * axis, 1);
  }

  get bytes(): number {
    return 4 * this.size;
  }

  /** Rows from `first` on, `count` of them: the same numbers, not a copy. */
  rows(first: number, count: number): Value {
    const width = this.size / this.shape[0]!;
    return new Value([count, ...this.shape.slice(1)], this.dtype, this.storage, this.offset + 4 * first * width);
  }

  /** The same numbers in another shape. */
  as(...shape: number[]): Value {
    return new Value(shape, this.dtype, this.storage, this.offset);
  }
}

export function temporary(shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): Value {
  const bytes = 4 * shape.reduce((n, axis) => n * axis, 1);
  return new Value(shape, dtype, { bytes, place: { kind: 'temporary' } });
}
