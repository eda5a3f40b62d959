import { SwarmError } from '@starling/protocol';
import type { Vector } from './quantise.ts';

/** A `[n, inner]` · B `[inner, columns]`, or · Bᵀ of a B `[columns, inner]`. Sums in doubles. Throws `TENSOR_SHAPE`. */
export function multiply(a: Float32Array, b: Float32Array, inner: number, columns: number, transposed = false): Vector {
  const rows = a.length / inner;
  if (!Number.isInteger(rows) || b.length !== inner * columns) {
    throw new SwarmError('TENSOR_SHAPE', `${a.length} numbers in rows of ${inner} cannot be multiplied by ${b.length}.`);
  }
  const result = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a[i * inner + k]! * b[transposed ? j * inner + k : k * columns + j]!;
      result[i * columns + j] = sum;
    }
  }
  return result;
}

/** Aᵀ·B of A `[n, rows]` and B `[n, columns]`: `[rows, columns]`. */
export function multiplyTransposed(a: Float32Array, b: Float32Array, rows: number, columns: number): Vector {
  const sums = new Float64Array(rows * columns);
  for (let n = 0; n < a.length / rows; n++) {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) sums[i * columns + j]! += a[n * rows + i]! * b[n * columns + j]!;
  }
  return Float32Array.from(sums);
}

/** Columns of `matrix` `[rows, columns]` made orthonormal: modified Gram–Schmidt, twice. Throws `CONFIG_INVALID` for dependent ones. */
export function orthonormal(matrix: Float32Array, rows: number, columns: number): Vector {
  const q = Float64Array.from(matrix);
  const project = (from: number, to: number) => {
    let dot = 0;
    for (let i = 0; i < rows; i++) dot += q[i * columns + from]! * q[i * columns + to]!;
    return dot;
  };
  for (let column = 0; column < columns; column++) {
    const before = project(column, column);
    for (let pass = 0; pass < 2; pass++) {
      for (let other = 0; other < column; other++) {
        const dot = project(other, column);
        for (let i = 0; i < rows; i++) q[i * columns + column]! -= dot * q[i * columns + other]!;
      }
    }
    const square = project(column, column);
    if (!(square > 1e-12 * before)) throw new SwarmError('CONFIG_INVALID', `${columns} columns of ${rows} rows are not independent.`);
    const norm = Math.sqrt(square);
    for (let i = 0; i < rows; i++) q[i * columns + column]! /= norm;
  }
  return Float32Array.from(q);
}
