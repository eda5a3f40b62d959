/**
 * The price of a registration: it falls by half in a half-life, a little every block, and rises with every registration
 * (pallets/subtensor, subnets/registration.rs and utils/fixed_point: unsigned numbers with 32 bits after the point).
 */
import type { DevConfig } from './config.ts';

type BurnRules = Pick<DevConfig['burn'], 'min' | 'max'>;

const ONE = 1n << 32n;
const HALF = 1n << 31n;

const multiply = (value: bigint, factor: bigint) => (value * factor) >> 32n;

function power(base: bigint, exponent: number): bigint {
  let result = ONE;
  let factor = base;
  for (let rest = exponent; rest > 0; rest >>= 1) {
    if (rest & 1) result = multiply(result, factor);
    factor = multiply(factor, factor);
  }
  return result;
}

/** The largest factor, in units of 2^-32, of which `halfLife` in a row do not leave more than half. */
export function decayFactor(halfLife: number): bigint {
  if (halfLife === 0) return ONE;
  let low = 0n;
  let high = ONE;
  while (low + 1n < high) {
    const middle = low + ((high - low) >> 1n);
    if (power(middle, halfLife) > HALF) high = middle;
    else low = middle;
  }
  return low;
}

const within = (price: bigint, { min, max }: BurnRules) => (price < min ? min : price > max ? max : price);

/** The price a block later. `factor`: see `decayFactor`. */
export const decayed = (price: bigint, factor: bigint, rules: BurnRules): bigint => within(multiply(price, factor), rules);

/** The price after a registration: U64F64, cut to whole rao. */
export function raised(price: bigint, increase: number, rules: BurnRules): bigint {
  return within((price * BigInt(Math.max(1, increase) * 2 ** 64)) >> 64n, rules);
}
