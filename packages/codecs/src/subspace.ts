/**
 * Subspace Networks (arXiv:2506.01260). Where every write to the residual stream lies in the span of an orthonormal U `[width, rank]`
 * (weights W = U·Z), a hidden state is x = E_f[token] + h with h in that span, E_f `[vocabulary, width]` being a frozen part of the
 * embedding that every stage holds. Then c = (x − E_f[token])·U says all of x, and g·U all that upstream weights can learn from a
 * gradient g: dL/dZ = Uᵀ·(dL/dh) sees nothing outside the span.
 */
import { SwarmError } from '@starling/protocol';
import { multiply } from './matrix.ts';
import type { Vector } from './quantise.ts';

export class Subspace {
  readonly width: number;
  readonly inner: number;
  private readonly basis: Float32Array;
  private readonly frozen: Float32Array;

  /** `basis`: U. `frozen`: E_f. */
  constructor(basis: Float32Array, frozen: Float32Array, width: number) {
    this.width = width;
    this.inner = basis.length / width;
    this.basis = basis;
    this.frozen = frozen;
  }

  /** x `[n, width]` of `tokens` `[n]` → c `[n, rank]`. */
  down(x: Float32Array, tokens: Int32Array): Vector {
    return multiply(this.shifted(x, tokens, -1), this.basis, this.width, this.inner);
  }

  /** c `[n, rank]` → x `[n, width]`. */
  up(c: Float32Array, tokens: Int32Array): Vector {
    return this.shifted(multiply(c, this.basis, this.inner, this.width, true), tokens, 1);
  }

  /** dL/dx `[n, width]` → dL/dc `[n, rank]`, what crosses backwards. */
  gradientDown(gradient: Float32Array): Vector {
    return multiply(gradient, this.basis, this.width, this.inner);
  }

  /** dL/dc → the part of dL/dx in the span. */
  gradientUp(gradient: Float32Array): Vector {
    return multiply(gradient, this.basis, this.inner, this.width, true);
  }

  private shifted(x: Float32Array, tokens: Int32Array, sign: 1 | -1): Vector {
    const { width, frozen } = this;
    if (x.length !== tokens.length * width)
      throw new SwarmError('TENSOR_SHAPE', `${x.length} numbers are not ${tokens.length} rows of ${width}.`);
    return Float32Array.from(x, (value, i) => value + sign * frozen[tokens[Math.floor(i / width)]! * width + (i % width)]!);
  }
}
