import { NO_NUMBER } from '../halves.ts';
import { LARGEST_HALF } from '../kernels.ts';
import { type Module, v128 } from './assembler.ts';

const SIGN = 0x8000_0000 | 0;

/**
 * The nearest half of four numbers, as `asHalves` has it. Of float32's 24 bits 11 are left by Veltkamp's splitting, without a doubt about ties, since
 * that is of products with 2^13 + 1 (Dekker, Numerische Mathematik 18, 1971); under 2^-14 float32's own rounding beside 3/4 cuts at multiples of 2^-24.
 */
export function defineHalf(module: Module) {
  return module.define(null, ['v128'], 'v128', (body, x) => {
    const bounded = body.local('v128', v128.max(v128.min(x, v128.const(LARGEST_HALF)), v128.const(-LARGEST_HALF)));
    const spread = body.local('v128', v128.mul(bounded.value, v128.const(2 ** 13 + 1)));
    const large = v128.sub(spread.value, v128.sub(spread.value, bounded.value));
    const small = v128.sub(v128.add(bounded.value, v128.const(0.75)), v128.const(0.75));
    const rounded = v128.select(large, small, v128.greaterOrEqual(v128.magnitude(bounded.value), v128.const(2 ** -14)));
    const signed = v128.or(rounded, v128.and(x, v128.constInt(SIGN)));
    // All bits set are a NaN; of NaN itself `min` and `max` leave one.
    return v128.or(signed, v128.greaterOrEqual(v128.magnitude(x), v128.const(NO_NUMBER)));
  });
}
