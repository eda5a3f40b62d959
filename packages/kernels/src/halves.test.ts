/** Every backend rounds operands as the host does, bit for bit, and reads what it stored as halves. */
import { fromHalf } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { asHalves, fromHalves, nearestHalf } from './halves.ts';
import { type Kernels, LARGEST_HALF, type Tensor } from './kernels.ts';
import { onEachBackend, randomNumbers } from './testing.ts';

/** Bits of the positive halves, 0 to the largest. */
const HALVES = Array.from({ length: 0x7c00 }, (_, bits) => bits);
const step = new Uint32Array(1);
const stepped = new Float32Array(step.buffer);
/** The float32 so many bits from a positive one. */
function beside(x: number, by: number): number {
  stepped[0] = x;
  step[0]! += by;
  return stepped[0]!;
}

/** All halves, what lies in the middle between two, and the numbers beside both; of magnitudes from subnormal to 2^127; and their negatives. */
const numbers = (() => {
  const halves = HALVES.map(fromHalf);
  const middles = halves.slice(1).map((half, i) => (half + halves[i]!) / 2);
  const positive = [...halves, ...middles, ...[...halves.slice(1), ...middles].flatMap((x) => [beside(x, 1), beside(x, -1)])];
  const random = [...randomNumbers(20_000, 3)].map((x, i) => Math.abs(x) * 2 ** ((i % 250) - 130));
  const large = [65_519.99, 65_520, 65_536, 1e5, 1e20, beside(2 ** 127, -1)];
  return Float32Array.from([...positive, ...random, ...large].flatMap((x) => [x, -x]));
})();
const WIDTH = 4;
const whole = numbers.subarray(0, numbers.length - (numbers.length % WIDTH));
const rounded = (values: Float32Array) => fromHalves(asHalves(values));

/** Equal as numbers: of zeros the sign is nobody's business. */
function expectSame(actual: Float32Array, expected: Float32Array, of: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  const at = actual.findIndex((value, i) => value !== expected[i] && !(Number.isNaN(value) && Number.isNaN(expected[i])));
  if (at >= 0) expect.fail(`${of[at]} became ${actual[at]}, not ${expected[at]}`);
}

describe('on the host', () => {
  it('a half is the nearest, of two the even one', () => {
    for (const bits of HALVES.slice(0, -1)) {
      const [low, high] = [fromHalf(bits), fromHalf(bits + 1)];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const found = [low, beside(middle, -1), middle, beside(middle, 1)].map(nearestHalf);
      if (found.join() !== [bits, bits, even, bits + 1].join()) expect.fail(`at ${low}: ${found}`);
      expect(nearestHalf(-middle)).toBe(even | 0x8000);
    }
  });

  it('what is too large is the largest, and what is no number none', () => {
    expect([65_519, 1e30, -1e30].map((x) => fromHalf(nearestHalf(x)))).toEqual([LARGEST_HALF, LARGEST_HALF, -LARGEST_HALF]);
    for (const x of [Number.NaN, Number.POSITIVE_INFINITY, -(2 ** 127)]) expect(fromHalf(nearestHalf(x))).toBeNaN();
  });
});

onEachBackend(
  (kernels) => {
    const column = (k: Kernels, values: Float32Array) => k.upload(values, [values.length, 1]);
    const one = (k: Kernels) => k.upload(Float32Array.of(1), [1, 1]);
    const identity = (k: Kernels) =>
      k.upload(
        Float32Array.from({ length: WIDTH ** 2 }, (_, i) => Number(i % (WIDTH + 1) === 0)),
        [WIDTH, WIDTH],
      );
    const computed = async (work: (k: Kernels) => Tensor) => {
      const k = kernels();
      const tensor = k.scope(() => work(k));
      const data = await k.download(tensor);
      k.dispose(tensor);
      return data;
    };

    it('rounds both operands of a product', async () => {
      expectSame(await computed((k) => k.matmul(column(k, numbers), one(k))), rounded(numbers), numbers);
      const turned = await computed((k) => k.matmul(one(k), k.upload(numbers, [1, numbers.length])));
      expectSame(turned, rounded(numbers), numbers);
    });

    it('computes in the other precision, too, on the same device', async () => {
      const k = kernels();
      const whole = await k.withPrecision('f32');
      expect([k.precision, whole.precision]).toEqual(['f16', 'f32']);
      const third = Float32Array.of(1 / 3);
      const product = async (of: Kernels) => {
        const tensor = of.scope(() => of.matmul(column(of, third), one(of)));
        const data = await of.download(tensor);
        of.dispose(tensor);
        return data;
      };
      expect([await product(whole), await product(k)]).toEqual([third, rounded(third)]);
      expect(await k.withPrecision('f32')).toBe(whole);
      expect(await k.withPrecision('f16')).toBe(k);
    });

    it('rounds four at a time', async () => {
      expectSame(await computed((k) => k.matmul(k.upload(whole, [whole.length / WIDTH, WIDTH]), identity(k))), rounded(whole), whole);
    });

    it('lets no NaN become a number', async () => {
      const none = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 127, 1);
      expectSame(await computed((k) => k.matmul(column(k, none), one(k))), rounded(none), none);
    });

    it('stores what only products read as they take it', async () => {
      const k = kernels();
      const shape = [whole.length / WIDTH, WIDTH];
      const turn = identity(k);
      const programs = k.programs({
        double: {
          inputs: { x: { shape, dtype: 'float32' } },
          body: (operations, { x }) => ({ results: { y: operations.matmul(operations.add(x!, x!), turn) } }),
        },
      });
      const { results } = await programs.run('double', { x: whole });
      const doubled = whole.map((x) => 2 * x);
      expectSame(results.y as Float32Array, rounded(doubled), doubled);
      expect(programs.workspace.needed).toBeLessThan(7 * whole.length); // two thirds of it in float32
      programs.dispose();
      k.dispose(turn);
    });

    it('multiplies variables that are operands, and leaves others as they are', async () => {
      const k = kernels();
      const [a, b] = [randomNumbers(32, 1), randomNumbers(24, 2)];
      const variables = k.variables([
        { shape: [4, 8], isOperand: true },
        { shape: [8, 3], isOperand: true },
        { shape: [8, 3], isOperand: false },
      ]);
      variables.write(Float32Array.from([...a, ...b, ...b]));
      const [left, right, whole] = variables.tensors as [Tensor, Tensor, Tensor];
      const product = k.matmul(left, right);
      const expected = rounded(a);
      const sums = Array.from({ length: 12 }, (_, i) => {
        let sum = 0;
        for (let l = 0; l < 8; l++) sum += expected[8 * Math.floor(i / 3) + l]! * rounded(b)[3 * l + (i % 3)]!;
        return sum;
      });
      for (const [i, value] of (await k.download(product)).entries()) expect(Math.abs(value - sums[i]!)).toBeLessThan(1e-6);
      expect(await k.download(whole)).toEqual(b);
      k.dispose(product);
      variables.dispose();
    });
  },
  { precision: 'f16', reference: true },
);
