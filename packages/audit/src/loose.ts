/**
 * For tests only: the least exact GPU that WGSL allows, on tfjs's cpu backend: exponentials, logarithms, roots and quotients are off by as much as they may
 * be, all sums are made in single precision, last to first, and what is below 2^-126 is 0. No such GPU is known; limits that it keeps, those that are known keep.
 * Source: W3C, WebGPU Shading Language, "Accuracy of Concrete Floating Point Expressions", f32.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

/** Always too large, always too small, or either by chance. */
export const LOOSENESSES = ['up', 'down', 'either'] as const;
export type Looseness = (typeof LOOSENESSES)[number];

/** As a share of a number, at most. */
const ULP = 2 ** -23;
const SMALLEST_NORMAL = 2 ** -126;
const QUOTIENT = 2.5;
const INVERSE_ROOT = 2;
const exponential = (x: number) => 3 + 2 * Math.abs(x);

/** From now on tfjs's cpu backend in this thread computes like that, until what is returned is called. */
export function loosen(looseness: Looseness): () => void {
  const undo: (() => void)[] = [];
  const replace = (name: string, change: Change) => undo.push(replaced(name, change));
  let chance = 1;
  const sign = () => {
    if (looseness !== 'either') return looseness === 'up' ? 1 : -1;
    chance = (Math.imul(chance, 1_664_525) + 1_013_904_223) >>> 0;
    return chance >= 2 ** 31 ? 1 : -1;
  };
  const off = (value: number, ulps: number) => Math.fround(value * (1 + sign() * ulps * ULP));
  const exp = (x: number) => off(Math.exp(x), exponential(x));
  const log = (x: number) => (x >= 0.5 && x <= 2 ? Math.fround(Math.log(x) + sign() * 2 ** -21) : off(Math.log(x), 3));

  replace('Exp', (made, [x]) => made.map((_, i) => exp(x![i]!)));
  replace('Log', (made, [x]) => made.map((_, i) => log(x![i]!)));
  replace('Rsqrt', (made) => made.map((value) => off(value, INVERSE_ROOT)));
  replace('RealDiv', (made) => made.map((value) => off(value, QUOTIENT)));
  replace('Sigmoid', (made, [x]) => made.map((_, i) => off(1 / Math.fround(1 + exp(-x![i]!)), QUOTIENT)));
  replace('Softmax', (made, [logits], { shape }) => {
    const width = shape.at(-1)!;
    for (let row = 0; row < made.length; row += width) {
      const most = logits!.subarray(row, row + width).reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      for (let i = row; i < row + width; i++) made[i] = exp(Math.fround(logits![i]! - most));
      const total = sumOf(width, (i) => made[row + i]!);
      for (let i = row; i < row + width; i++) made[i] = off(made[i]! / total, QUOTIENT);
    }
    return made;
  });
  const sums = (made: Float32Array, x: Float32Array, axis: unknown) => {
    const count = x.length / made.length;
    // The first axis of a matrix, or its last.
    const [outer, inner] = [axis].flat().join() === '0' && made.length > 1 ? [1, made.length] : [count, 1];
    return made.map((_, at) => sumOf(count, (i) => x[at * outer + i * inner]!));
  };
  replace('Sum', (made, [x], { axis }) => sums(made, x!, axis));
  replace('Mean', (made, [x], { axis }) => sums(made, x!, axis).map((sum) => off((sum * made.length) / x!.length, QUOTIENT)));
  for (const name of ['Add', 'Sub', 'Multiply', 'Square']) replace(name, (made) => made);
  replace('BatchMatMul', (made, [a, b], { shape, inner, transposeA, transposeB }) => {
    const [rows, columns] = shape.slice(-2) as [number, number];
    for (let at = 0; at < made.length; at++) {
      const [matrix, row, column] = [Math.floor(at / (rows * columns)), Math.floor(at / columns) % rows, at % columns];
      const [left, right] = [matrix * rows * inner, matrix * inner * columns];
      made[at] = sumOf(inner, (l) => {
        const x = a![left + (transposeA ? l * rows + row : row * inner + l)]!;
        const y = b![right + (transposeB ? column * inner + l : l * columns + column)]!;
        return Math.fround(x * y);
      });
    }
    return made;
  });
  return () => {
    for (const one of undo) one();
  };
}

/** Of so many terms, in single precision, the last first. */
function sumOf(count: number, term: (i: number) => number): number {
  let sum = 0;
  for (let i = count - 1; i >= 0; i--) sum = Math.fround(sum + term(i));
  return sum;
}

const flushed = (made: Float32Array) => made.map((value) => (Math.abs(value) < SMALLEST_NORMAL ? 0 : value));

interface Of {
  /** Of the result. */
  shape: number[];
  /** Terms of each element of a product. */
  inner: number;
  axis: unknown;
  transposeA: boolean;
  transposeB: boolean;
}

/** What becomes of a kernel's result, given the numbers that it was made from. */
type Change = (made: Float32Array, inputs: Float32Array[], of: Of) => Float32Array;

/** Puts itself in a kernel's place. Returns what undoes it. */
function replaced(name: string, change: Change): () => void {
  const original = tf.getKernel(name, 'cpu');
  tf.unregisterKernel(name, 'cpu');
  tf.registerKernel({
    ...original,
    kernelFunc: (call) => {
      const made = original.kernelFunc(call) as tf.TensorInfo;
      const { data } = call.backend as { data: { get(id: object): { values: Float32Array } } };
      const inputs = Object.values(call.inputs).filter((input) => input !== undefined);
      const { axis, transposeA = false, transposeB = false } = (call.attrs ?? {}) as Partial<Of>;
      const inner = inputs[0]!.shape.at(transposeA ? -2 : -1)!;
      const numbers = inputs.map(({ dataId }) => data.get(dataId).values);
      const of: Of = { shape: made.shape, inner, axis, transposeA, transposeB };
      data.get(made.dataId).values = flushed(change(data.get(made.dataId).values, numbers, of));
      return made;
    },
  });
  return () => {
    tf.unregisterKernel(name, 'cpu');
    tf.registerKernel(original);
  };
}
