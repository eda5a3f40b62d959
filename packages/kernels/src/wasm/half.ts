import { NO_NUMBER } from '../halves.ts';
import { LARGEST_HALF } from '../kernels.ts';
import { type Body, type Module, type V128, v128 } from './assembler.ts';

const SIGN = 0x8000_0000 | 0;

/**
 * The nearest half of four numbers, as `asHalves` has it. Of float32's 24 bits Veltkamp's splitting leaves the 11 nearest (Dekker, Numerische
 * Mathematik 18, 1971; that of ties it takes the even one is seen in halves.test.ts); under 2^-14 float32's own rounding beside 3/4 cuts at multiples
 * of 2^-24.
 */
export function halfOf(body: Body, x: V128): V128 {
  const given = body.local('v128', x);
  const bounded = body.local('v128', v128.max(v128.min(given.value, v128.const(LARGEST_HALF)), v128.const(-LARGEST_HALF)));
  const spread = body.local('v128', v128.mul(bounded.value, v128.const(2 ** 13 + 1)));
  const large = v128.sub(spread.value, v128.sub(spread.value, bounded.value));
  const small = v128.sub(v128.add(bounded.value, v128.const(0.75)), v128.const(0.75));
  const rounded = v128.select(large, small, v128.greaterOrEqual(v128.magnitude(bounded.value), v128.const(2 ** -14)));
  const signed = v128.or(rounded, v128.and(given.value, v128.constInt(SIGN)));
  // All bits set are a NaN; of NaN itself `min` and `max` leave one.
  return v128.or(signed, v128.greaterOrEqual(v128.magnitude(given.value), v128.const(NO_NUMBER)));
}

export const defineHalf = (module: Module) => module.define(null, ['v128'], 'v128', halfOf);
