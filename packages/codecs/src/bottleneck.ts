/**
 * IOTA's squeeze with a residual path (arXiv:2507.17766): c = x·D + x[:rank] crosses, x̂ = relu(c·P) + c in the first `rank` places, with
 * learned D `[width, rank]` and P `[rank, width]`. What the first places hold flows through all stages; the rest is lossy, and how
 * much is lost is learned: there is no bound.
 */
import { multiply, multiplyTransposed } from './matrix.ts';
import type { Vector } from './quantise.ts';

export class Bottleneck {
  readonly width: number;
  readonly inner: number;
  private readonly squeeze: Float32Array;
  private readonly expand: Float32Array;

  /** `squeeze`: D. `expand`: P. */
  constructor(squeeze: Float32Array, expand: Float32Array, width: number) {
    this.width = width;
    this.inner = squeeze.length / width;
    this.squeeze = squeeze;
    this.expand = expand;
  }

  /** x `[n, width]` → c `[n, rank]`. */
  down(x: Float32Array): Vector {
    return multiply(x, this.squeeze, this.width, this.inner).map((value, i) => value + x[this.inWidth(i)]!);
  }

  /** c `[n, rank]` → x̂ `[n, width]`. */
  up(c: Float32Array): Vector {
    const result = multiply(c, this.expand, this.inner, this.width).map((value) => Math.max(0, value));
    for (let i = 0; i < c.length; i++) result[this.inWidth(i)]! += c[i]!;
    return result;
  }

  /** On the receiving stage: from c and dL/dx̂, dL/dc `[n, rank]`, which crosses backwards, and dL/dP. */
  gradientDown(gradient: Float32Array, c: Float32Array): { inner: Vector; expand: Vector } {
    const before = multiply(c, this.expand, this.inner, this.width);
    const passed = gradient.map((value, i) => (before[i]! > 0 ? value : 0));
    const inner = multiply(passed, this.expand, this.width, this.inner, true).map((value, i) => value + gradient[this.inWidth(i)]!);
    return { inner, expand: multiplyTransposed(c, passed, this.inner, this.width) };
  }

  /** On the sending stage: from x and dL/dc, dL/dx `[n, width]` and dL/dD. */
  gradientUp(gradient: Float32Array, x: Float32Array): { outer: Vector; squeeze: Vector } {
    const outer = multiply(gradient, this.squeeze, this.inner, this.width, true);
    for (let i = 0; i < gradient.length; i++) outer[this.inWidth(i)]! += gradient[i]!;
    return { outer, squeeze: multiplyTransposed(x, gradient, this.width, this.inner) };
  }

  /** Where the number `i` of rows of `rank` lies in rows of `width`. */
  private inWidth(i: number): number {
    return Math.floor(i / this.inner) * this.width + (i % this.inner);
  }
}
