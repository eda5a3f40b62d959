/**
 * Liquid alpha: how fast a validator's bond on a neuron follows its weight. Bonds are bought quickly on weights above
 * consensus and sold quickly when a weight falls below the bond (`alpha_sigmoid`, epoch/run_epoch.rs).
 */
import { div, type Fixed, mul, ONE, U16_MAX } from './fixed.ts';
import type { SparseRow } from './sparse.ts';
import type { LiquidAlpha } from './types.ts';

/** Halves of a word, as in `fixed.ts`. */
const HALF_WORD = 2 ** 16;
const ONE_BITS = 1n << 32n;
const EXP_LIMIT = 20n << 32n;
/** e, cut to 23 bits after the point, is what the library gives for exp(1). */
const E_BITS = 22_802_600n << 9n;
/** The library sums so many terms of the series, whatever they still add. */
const TERMS = 32;
/** The largest term is 8^8/8! = 416.1. */
const EXACT_LIMIT = 8 * ONE;

/**
 * e^x in units of 2^-32, x being one such number, taken into ±20: encointer/substrate-fixed, src/transcendental.rs `exp`.
 */
export function expBits(x: bigint): bigint {
  const limited = x < -EXP_LIMIT ? -EXP_LIMIT : x > EXP_LIMIT ? EXP_LIMIT : x;
  if (limited === 0n) return ONE_BITS;
  if (limited === ONE_BITS) return E_BITS;
  const operand = limited < 0n ? -limited : limited;
  let term = operand;
  let result = operand + ONE_BITS;
  for (let i = 2n; i < BigInt(TERMS) && term > 0n; i++) {
    term = ((term * operand) >> 32n) / i;
    result += term;
  }
  return limited < 0n ? (ONE_BITS << 32n) / result : result;
}

/** By which a term is multiplied, with the operand, for the next one. */
const FACTORS = Array.from({ length: TERMS }, (_, i) => 1 / (ONE * i));
/** A term is below 2^41, and three roundings leave it less than 2^-10 from what it is: its whole part is right where it is farther than this from a whole number. */
const UNSURE = 2 ** -9;

/** The same in doubles, which hold all of its terms exactly up to ±8: many times faster, and a full subnet takes 65,536 of them. */
export function exp(x: Fixed): Fixed {
  const operand = Math.abs(x);
  if (operand > EXACT_LIMIT || x === 0 || x === ONE) return Number(expBits(BigInt(x)));
  let term = operand;
  let result = operand + ONE;
  for (let i = 2; i < TERMS && term > 0; i++) {
    const next = term * operand * FACTORS[i]!;
    const whole = Math.floor(next);
    const part = next - whole;
    term = part > UNSURE && part < 1 - UNSURE ? whole : exactly(term, operand, i);
    result += term;
  }
  return x < 0 ? div(ONE, result) : result;
}

/** ⌊⌊term·operand / 2^32⌋ / i⌋, as `mul` does for large factors. */
function exactly(term: number, operand: number, i: number): number {
  const [high, termHigh] = [Math.floor(operand / HALF_WORD), Math.floor(term / HALF_WORD)];
  const [low, termLow] = [operand - high * HALF_WORD, term - termHigh * HALF_WORD];
  const middle = termHigh * low + termLow * high + Math.floor((termLow * low) / HALF_WORD);
  return Math.floor((termHigh * high + Math.floor(middle / HALF_WORD)) / i);
}

/** 1 / (1 + e^−x) */
export const sigmoid = (x: Fixed): Fixed => div(ONE, ONE + exp(-x));

const clamp = (value: Fixed, low: Fixed, high: Fixed): Fixed => Math.max(Math.min(value, high), low);

/** α of (weight, bond, consensus) for these settings. */
export function liquidAlpha({ low: lowShare, high: highShare, steepness }: LiquidAlpha) {
  const low = div(lowShare, U16_MAX);
  const high = div(highShare, U16_MAX);
  // The sign is the chain's: it divides by −100, and rounding then is towards zero, of products downwards.
  const slope = Math.trunc((steepness * ONE) / -100);
  return (weight: Fixed, bond: Fixed, consensus: Fixed): Fixed => {
    const difference = clamp(weight >= bond ? weight - consensus : bond - weight, 0, ONE);
    const share = sigmoid(-mul(slope, difference - ONE / 2));
    return clamp(low + mul(share, high - low), low, high);
  };
}

/**
 * The row over all columns, those of `dense`, as liquid alpha reads it: in one pass by ascending uid, so that of weights set in another
 * order those behind a larger uid count as 0. subtensor does so, and α depends on it. Returns `dense`.
 */
export function readAscending({ uids, values }: SparseRow, dense: Float64Array): Float64Array {
  dense.fill(0);
  let next = 0;
  for (let uid = 0; uid < dense.length; uid++) {
    while (next < uids.length && uids[next]! < uid) next += 1;
    if (next < uids.length && uids[next] === uid) dense[uid] = values[next]!;
  }
  return dense;
}
