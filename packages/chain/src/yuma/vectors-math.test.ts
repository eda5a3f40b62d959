/** Known values of subtensor's own tests of its arithmetic: pallets/subtensor/src/tests/math/*.rs, named at each. */
import { describe, expect, it } from 'vitest';
import { averageRow } from './bonds.ts';
import { div, type Fixed, mul, normalise, ONE, sum, toU16 } from './fixed.ts';
import { fromNumber } from './for-tests.ts';
import { exp, expBits, sigmoid } from './liquid-alpha.ts';
import { consensusOf, weightedMedian } from './median.ts';
import { type SparseMatrix, sparseRow } from './sparse.ts';
import { activityCutoff, permits } from './stake.ts';
import { interpolate, isMaxLimited, upscaleToU16 } from './weights.ts';

/** As the tests there write them: single precision, then I32F32. */
const fixed = (x: number): Fixed => fromNumber(Math.fround(x));
const fixedAll = (...values: number[]) => values.map(fixed);
/** `rows` rows of a list. */
const matrix = (values: readonly number[], rows: number): SparseMatrix => {
  const columns = values.length / rows;
  return Array.from({ length: rows }, (_, i) => sparseRow(values.slice(i * columns, (i + 1) * columns).map(fixed)));
};

describe('vec_u16_max_upscale_to_u16 (fixed_conversions.rs)', () => {
  it.each([
    [[], []],
    [[0], [0]],
    [
      [0, 0],
      [0, 0],
    ],
    [[1], [65_535]],
    [
      [0, 1],
      [0, 65_535],
    ],
    [[65_534], [65_535]],
    [[65_535], [65_535]],
    [
      [65_535, 65_535],
      [65_535, 65_535],
    ],
    [
      [0, 1, 65_534],
      [0, 1, 65_535],
    ],
    [
      [0, 1, 2, 3, 4, 65_533, 65_535],
      [0, 1, 2, 3, 4, 65_533, 65_535],
    ],
    // Of test_vec_max_upscale_to_u16, those that are whole.
    [[16_384], [65_535]],
    [[32_768], [65_535]],
    [[32_769], [65_535]],
    [
      [0, 1, 2, 32_768],
      [0, 2, 4, 65_535],
    ],
    [
      [0, 1, 2, 32_768, 32_769],
      [0, 2, 4, 65_533, 65_535],
    ],
  ])('%j → %j', (weights, expected) => {
    expect(upscaleToU16(weights)).toEqual(expected);
  });
});

describe('check_vec_max_limited (vector_ops.rs)', () => {
  const max = 65_535;
  it.each([
    [[], 0, true],
    [[], max, true],
    [[max], max, true],
    [[max], max - 1, false],
    [[max], 0, false],
    [[0], max, true],
    [[0, max], max, true],
    [[0, max, max], 32_767, false],
    [[0, max, max], 32_768, true],
    [[0, max, max, max], 21_844, false],
    [[0, max, max, max], 21_845, true],
  ])('%j under %d: %s', (weights, limit, expected) => {
    expect(isMaxLimited(weights, limit)).toBe(expected);
  });
});

describe('weighted_median (weighted_median.rs)', () => {
  it.each([
    [[], [], 0],
    [[0.49, 0.51], [0.5, 1], 1],
    [[0.51, 0.49], [0.5, 1], 0.5],
    [[0.49, 0, 0.51], [0.5, 0.7, 1], 1],
    [[0.49, 0.01, 0.5], [0.5, 0.7, 1], 0.7],
    [[0.49, 0.51, 0], [0.5, 0.7, 1], 0.7],
    [[0, 0.49, 0.51], [0.5, 0.7, 1], 1],
    [[0, 0.49, 0, 0.51], [0.5, 0.5, 1, 1], 1],
    [[0, 0.49, 0, 0.51, 0], [0.5, 0.5, 1, 1, 0.5], 1],
    [[0.2, 0.2, 0.2, 0.2, 0.2], [0.8, 0.2, 1, 0.6, 0.4], 0.6],
    [[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], [0.8, 0.8, 0.2, 0.2, 1, 1, 0.6, 0.6, 0.4, 0.4], 0.6],
  ])('stake %j, scores %j: %d', (stake, score, expected) => {
    const shares = fixedAll(...stake);
    expect(weightedMedian(shares, fixedAll(...score), ONE - fixed(0.51), sum(shares))).toBe(fixed(expected));
  });

  const of = [0, 0.1, 0, 0, 0.2, 0.4, 0, 0.3, 0.1, 0, 0.4, 0.5];
  const lastWithout = [0, 0.1, 0, 0, 0.2, 0.4, 0, 0.3, 0.1, 0, 0, 0.5];
  it.each([
    [[0, 0.75, 0.25, 0], of, 0.24, [0, 0.3, 0.4]],
    [[0, 0.75, 0.25, 0], of, 0.26, [0, 0.2, 0.4]],
    [[0, 0.75, 0.25, 0], of, 0.76, [0, 0.2, 0.1]],
    [[0, 0.3, 0.2, 0.5], lastWithout, 0.51, [0, 0, 0.4]],
  ])('stake %j, weights %j, κ %d: %j', (stake, weights, kappa, expected) => {
    expect(consensusOf(fixedAll(...stake), matrix(weights, 4), 3, fixed(kappa))).toEqual(fixedAll(...expected));
  });

  it('is 0 everywhere without stake', () => {
    expect(consensusOf([0, 0], matrix([0, 0, 0, 0], 2), 2, fixed(0.5))).toEqual([0, 0]);
  });
});

/** Integers below 2^32, the same in every run (Numerical Recipes' generator). */
let state = 1;
const next = () => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state;
};

it('e^x in doubles has the bits of the same series in integers', () => {
  const edges = [0, 1, ONE - 1, ONE, ONE + 1, 8 * ONE - 1, 8 * ONE, 8 * ONE + 1, 20 * ONE, 30 * ONE];
  const random = Array.from({ length: 20_000 }, () => Math.floor((next() / 2 ** 32) * 9 * ONE));
  for (const x of [...edges, ...random].flatMap((size) => [size, -size])) expect(exp(x), `${x}`).toBe(Number(expBits(BigInt(x))));
});

it('large products are exact', () => {
  const factor = () => Math.floor((next() / 2 ** 31 - 1) * 2 ** (33 + ((next() >>> 16) % 12)));
  for (let i = 0; i < 20_000; i++) {
    const [a, b] = [factor(), factor()];
    const exact = (BigInt(a) * BigInt(b)) >> 32n;
    if (exact < 2n ** 53n && exact > -(2n ** 53n)) expect(mul(a, b), `${a} · ${b}`).toBe(Number(exact));
  }
});

describe('exp_safe and sigmoid_safe (vector_ops.rs)', () => {
  // 1 / (1 + exp(−ρ (x − κ))) of I32F32, κ 0.5, equal to the bit.
  const consensus = (rho: number, x: Fixed) => sigmoid(mul(rho * ONE, x - ONE / 2));
  it.each([
    [0, 0.0000003057],
    [0.4, 0.0474258729],
    [0.5, 0.5],
    [0.6, 0.952574127],
    [1, 0.9999996943],
  ])('ρ 30: %d → %d', (x, expected) => {
    expect(consensus(30, fromNumber(x))).toBe(fromNumber(expected));
  });

  it.each([
    [0, 0.0000000019],
    [0.1, 0.0000001125],
    [0.2, 0.0000061442],
    [0.3, 0.0003353502],
    [0.4, 0.017986214],
    [0.5, 0.5],
    [0.6, 0.9820138067],
    [0.7, 0.9996646498],
    [0.8, 0.9999938558],
    [0.9, 0.9999998875],
    [1, 0.9999999981],
  ])('ρ 40: %d → %d', (x, expected) => {
    expect(consensus(40, fixed(x))).toBe(fromNumber(expected));
  });

  it('takes what is beyond ±20 for ±20', () => {
    for (const sign of [1n, -1n]) {
      expect(expBits(sign * (21n << 32n))).toBe(expBits(sign * (20n << 32n)));
      expect(expBits((sign * 2n) ** 62n)).toBe(expBits(20n << 32n));
    }
  });
});

describe('is_topk_nonzero (vector_ops.rs test_math_is_topk, where nobody has nothing)', () => {
  const pick = (values: number[], k: number) => permits(fixedAll(...values), k, null).flatMap((yes, i) => (yes ? [i] : []));
  it.each([
    [[], 5, []],
    [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0, []],
    [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5, [5, 6, 7, 8, 9]],
    [[10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 5, [0, 1, 2, 3, 4]],
    [[0.9, 0.01, 0.8, 0.1, 0.7, 0.2, 0.6, 0.3, 0.5, 0.4], 5, [0, 2, 4, 6, 8]],
    [[1, 1, 2, 3, 4, 5, 5, 5, 5, 6], 5, [5, 6, 7, 8, 9]],
    [[0, 1, 0], 100, [1]],
    [[7, 7, 7], 2, [1, 2]],
  ])('%j, %d: %j', (values, k, expected) => {
    expect(pick(values, k)).toEqual(expected);
  });
});

describe('mat_ema_alpha_sparse (ema_interpolate.rs)', () => {
  const one = (fresh: number[], old: number[], alpha: number[]) => {
    const { values } = averageRow(sparseRow(fixedAll(...fresh)), fixedAll(...old), (uid) => fixed(alpha[uid]!));
    return values.map((value) => value / ONE);
  };
  it.each([
    [[1], [2], [0.5], [1]],
    [
      [0.1, 0.2],
      [0.5, 0.6],
      [0.9, 0.8],
      [0.14, 0.28],
    ],
    [
      [0.3, 0.4],
      [0.7, 0.8],
      [0.5, 0.7],
      [0.5, 0.52],
    ],
    [
      [1, 2, 3],
      [0.1, 0.2, 3],
      [0.1, 0.1, 0.1],
      [0.19, 0.38, 1],
    ],
    [
      [0.1, 0.2, 3],
      [0.001, 0.002, 0.003],
      [0.1, 0.1, 0.1],
      [0.0109, 0.0218, 0.3027],
    ],
    // Only where there is something new: the old 1 is gone.
    [[0, 0, 2], [1, 0, 0], [0.1, 0.1, 0.1], [0.2]],
  ])('new %j, old %j, α %j: %j', (fresh, old, alpha, expected) => {
    const result = one(fresh, old, alpha);
    expect(result).toHaveLength(expected.length);
    result.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 6);
    });
  });
});

describe('interpolate_sparse (ema_interpolate.rs)', () => {
  const from = matrix([1, 0, 100, 1_000, 10_000, 100_000], 3);
  const to = matrix([10, 100, 1_000, 10_000, 100_000, 0], 3);
  it('is either matrix at 0 and 1, and near 0.9 of the way at 0.9', () => {
    expect(interpolate(from, to, 0, 2)).toBe(from);
    expect(interpolate(from, to, ONE, 2)).toBe(to);
    const between = interpolate(from, to, fixed(0.9), 2).flatMap(({ values }) => values.map((value) => value / ONE));
    // That test allows 0.0001 of its f32 ratio; 0.9 in f32 alone is off by 2.4e-8, and here by a factor of 1e5.
    [9.1, 90, 910, 9_100, 91_000, 10_000].forEach((target, i) => {
      expect(Math.abs(between[i]! - target) / target).toBeLessThan(1e-6);
    });
  });

  it('takes 0 to the ratio itself', () => {
    const zeros = matrix([0, 0, 0, 0], 2);
    const ones = matrix([1, 1, 1, 1], 2);
    for (const ratio of [0.000000001, 0.5, 0.9999998808]) {
      const values = interpolate(zeros, ones, fromNumber(ratio), 2).flatMap((row) => row.values);
      expect(values).toEqual(new Array(4).fill(fromNumber(ratio)));
    }
  });
});

describe('test_math_normalize, test_math_u64_normalization, test_math_vecdiv', () => {
  it('divides by the sum', () => {
    const shares = normalise(fixedAll(1, 10, 30));
    [0.0243902437, 0.243902439, 0.7317073171].forEach((target, i) => {
      expect(shares[i]! / ONE).toBeCloseTo(target, 9);
    });
  });

  it('gives 0 for x / 0', () => {
    expect(div(ONE, 0)).toBe(0);
    expect(div(fixed(1), fixed(3))).toBe(1_431_655_765);
    expect(div(fixed(10), fixed(2))).toBe(fixed(5));
  });

  it('stores shares cut to u16', () => {
    expect([0, 0.5, 1].map((x) => toU16(fixed(x)))).toEqual([0, 32_767, 65_535]);
    expect(toU16(fixed(65_535))).toBe(65_535);
  });
});

it('activity cutoff: thousandths of a tempo (migrate_dynamic_tempo, cutoff 5000 at tempo 360)', () => {
  expect(activityCutoff(13_889, 360)).toBe(5_000);
  expect(activityCutoff(1, 1)).toBe(1);
});
