/**
 * A residual stream of fewer numbers than the model is wide, so that what crosses between stages is small by construction.
 *
 * **subspace** (Subspace Networks, arXiv:2506.01260). Every write to the stream lies in the span of a fixed orthonormal U `[width, rank]`, and a
 * fixed part of the embedding lies outside of it: x = E_f[token] + c·Uᵀ. The model here is written in c `[n, rank]` itself: what writes to the
 * stream gives c directly (W·U in place of W), and x is made where a norm needs it. So c crosses, nothing is lost, and the gradient
 * dL/dc = (dL/dx)·U is exact. Every stage makes U and E_f from the seed, and is given the tokens.
 *
 * **bottleneck** (IOTA's squeeze with a residual path, arXiv:2507.17766). At every cut c = x·D crosses, and x̂ = relu(c·P) + c in the first `rank`
 * places; D `[width, rank]` is the sending stage's, P `[rank, width]` the receiving one's, both learned. What is lost is learned, too.
 */
import { type ModelShape, type Squeeze, SwarmError } from '@starling/protocol';
import { normal, splitMix32 } from './random.ts';

type Vector = Float32Array<ArrayBuffer>;

export interface Frozen {
  /** U `[width, rank]`, row-major, UᵀU = 1 to float32. */
  basis: Vector;
  /** E_f `[vocabulary, width]`. */
  embedding: Vector;
}

/** Of the frozen embedding. Thirty times a learned one's: what is fixed cannot grow, and a narrow stream has better uses than to tell tokens apart. */
const DEVIATION = 0.6;

const hasSubspace = (shape: ModelShape): shape is ModelShape & { squeeze: Squeeze } => shape.squeeze?.kind === 'subspace';

/** Numbers of the residual stream of one token: what writes to it has so many columns. */
export const streamWidth = (shape: ModelShape) => (hasSubspace(shape) ? shape.squeeze.rank : shape.width);

/** The model's fixed part, with the same bits in every engine; null where it has none. */
export function frozenOf(shape: ModelShape): Frozen | null {
  if (!hasSubspace(shape)) return null;
  const { width, vocabulary, squeeze } = shape;
  const numbers = (length: number, salt: number) => {
    const next = splitMix32((squeeze.seed ^ salt) >>> 0);
    return Float64Array.from({ length }, () => normal(next));
  };
  const embedding = Float32Array.from(numbers(vocabulary * width, 0x5bf03635), (value) => DEVIATION * value);
  return { basis: orthonormal(numbers(width * squeeze.rank, 0x2c1b3c6d), width, squeeze.rank), embedding };
}

/** Columns of `q` `[rows, columns]` made orthonormal in doubles: modified Gram–Schmidt, twice. Throws `CONFIG_INVALID` for dependent ones. */
function orthonormal(q: Float64Array, rows: number, columns: number): Vector {
  const product = (one: number, other: number) => {
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += q[i * columns + one]! * q[i * columns + other]!;
    return sum;
  };
  for (let column = 0; column < columns; column++) {
    const before = product(column, column);
    for (let pass = 0; pass < 2; pass++) {
      for (let other = 0; other < column; other++) {
        const along = product(other, column);
        for (let i = 0; i < rows; i++) q[i * columns + column]! -= along * q[i * columns + other]!;
      }
    }
    const square = product(column, column);
    if (!(square > 1e-12 * before)) throw new SwarmError('CONFIG_INVALID', `A width of ${rows} has no room for a rank of ${columns}.`);
    const length = Math.sqrt(square);
    for (let i = 0; i < rows; i++) q[i * columns + column]! /= length;
  }
  return Float32Array.from(q);
}

/** c `[n, rank]` → c·Uᵀ `[n, width]`, in doubles, rounded once. */
export function widened(narrow: Float32Array, { basis }: Frozen, rank: number): Vector {
  const width = basis.length / rank;
  const wide = new Float32Array((narrow.length / rank) * width);
  for (let i = 0; i < wide.length; i++) {
    const row = Math.floor(i / width) * rank;
    const column = (i % width) * rank;
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += narrow[row + k]! * basis[column + k]!;
    wide[i] = sum;
  }
  return wide;
}
