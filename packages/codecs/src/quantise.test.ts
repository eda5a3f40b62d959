import { randomNumbers } from '@starling/kernels/testing';
import { fromHalf, toHalf } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { QUANTISERS, type Quantiser, type Vector } from './quantise.ts';

const { f32, f16, int8, int4 } = QUANTISERS;
const WIDTHS = [1, 2, 31, 32, 33, 64, 100];
/** Rows of magnitudes from subnormal to 10^`top`, zeros among them. */
const rowsOf = (width: number, top: number): Vector =>
  randomNumbers(50 * width, width).map((x, i) => (i % 11 === 0 ? 0 : x * 10 ** (top - (Math.floor(i / width) % 45))));

/** Every error against the bound that `bound` gives for a number and its group. */
function expectWithin(
  quantiser: Quantiser,
  top: number,
  group: (width: number) => number,
  bound: (x: number, largest: number) => number,
): void {
  for (const width of WIDTHS) {
    const rows = rowsOf(width, top);
    const result = quantiser.decode(quantiser.encode(rows, width), width);
    const size = group(width);
    for (let row = 0; row < rows.length; row += width) {
      for (let start = row; start < row + width; start += size) {
        const numbers = rows.subarray(start, Math.min(start + size, row + width));
        const largest = numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        numbers.forEach((x, i) => {
          if (!(Math.abs(result[start + i]! - x) <= bound(x, largest))) expect.fail(`${x} became ${result[start + i]}, width ${width}`);
        });
      }
    }
  }
}

describe('errors are as stated', () => {
  it('f32: none', () =>
    expectWithin(
      f32,
      38,
      (width) => width,
      () => 0,
    ));
  it('f16: 2^-11 of the number, 2^-25 where it is subnormal', () =>
    expectWithin(
      f16,
      4,
      (width) => width,
      (x) => Math.max(2 ** -11 * Math.abs(x), 2 ** -25),
    ));
  it.each([f16, int8, int4])('$name: and below its limit all of it can be written and read', ({ limit, encode, decode }) => {
    const below = Math.fround(limit * (1 - 2 ** -24));
    expect(below).toBeLessThan(limit);
    expect(decode(encode(Float32Array.of(below, -below), 2), 2).every(Number.isFinite)).toBe(true);
    expect(() => encode(Float32Array.of(0, -limit), 2)).toThrow('cannot cross a boundary');
  });
  it('int8: of a row', () =>
    expectWithin(
      int8,
      38,
      (width) => width,
      (_, largest) => (largest * (1 + 2 ** -20)) / 254 + 2 ** -142,
    ));
  it('int4: of a group of 32', () =>
    expectWithin(
      int4,
      38,
      () => 32,
      (_, largest) => (largest * (1 + 2 ** -7)) / 14 + 2 ** -130,
    ));
});

describe('halves', () => {
  it('come back from all their bits', () => {
    for (let half = 0; half < 0x10000; half++) {
      const value = fromHalf(half);
      if (Number.isFinite(value) && toHalf(value) !== half) expect.fail(`${half.toString(16)} is ${value}, and back ${toHalf(value)}`);
    }
  });

  it('round to nearest, ties to even, in every gap', () => {
    for (let half = 0; half < 0x7bff; half++) {
      const low = fromHalf(half);
      const high = fromHalf(half + 1);
      const middle = (low + high) / 2;
      const even = half % 2 === 0 ? half : half + 1;
      const below = Math.fround(middle - (high - low) / 64);
      if (toHalf(middle) !== even || toHalf(below) !== half || toHalf(-middle) !== (even | 0x8000)) expect.fail(`at ${low}`);
    }
  });
});

describe.each(Object.values(QUANTISERS))('$name', (quantiser) => {
  it('writes every row by itself, of the size it says', () => {
    for (const width of WIDTHS) {
      const rows = rowsOf(width, 3);
      const bytes = quantiser.encode(rows, width);
      const size = quantiser.rowBytes(width);
      expect(bytes.length).toBe(50 * size);
      expect(bytes.slice(7 * size, 8 * size)).toEqual(quantiser.encode(rows.slice(7 * width, 8 * width), width));
    }
  });

  it('reads from anywhere in memory', () => {
    const bytes = quantiser.encode(rowsOf(33, 3), 33);
    const moved = new Uint8Array(bytes.length + 1).subarray(1);
    moved.set(bytes);
    expect(quantiser.decode(moved, 33)).toEqual(quantiser.decode(bytes, 33));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('refuses %d, and what is no row', (bad) => {
    expect(() => quantiser.encode(Float32Array.of(1, bad), 2)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
    expect(() => quantiser.encode(new Float32Array(3), 2)).toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
    expect(() => quantiser.decode(new Uint8Array(quantiser.rowBytes(8) + 1), 8)).toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
  });

  it('refuses bytes that hold NaN or infinity', () => {
    expect(() => quantiser.decode(new Uint8Array(quantiser.rowBytes(8)).fill(0xff), 8)).toThrow(
      expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }),
    );
  });
});

it('f16 refuses what would become infinity, and nothing smaller', () => {
  expect(f16.decode(f16.encode(Float32Array.of(65_519), 1), 1)[0]).toBe(65_504);
  expect(() => f16.encode(Float32Array.of(65_520), 1)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
});
