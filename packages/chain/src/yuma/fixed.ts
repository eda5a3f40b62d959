/**
 * The numbers of Yuma Consensus. subtensor computes in I32F32: signed, 32 bits before and 32 after the point. Here one is
 * a double that holds the same bits as an integer, a count of 2^-32, so that results are equal to the last bit and
 * 65,536 weights are still done in milliseconds. A double holds such integers exactly below 2^53, that is values below
 * 2^21; an epoch's are shares and sums of shares, far below.
 *
 * Rounding is that of encointer/substrate-fixed, src/arith.rs: products round down, quotients towards zero.
 */

/** A value of I32F32, in units of 2^-32. An integer. */
export type Fixed = number;

export const ONE: Fixed = 2 ** 32;
export const U16_MAX = 65_535;

const HALF_WORD = 2 ** 16;
/** Factors up to 4.0: their halves' products stay below 2^53. */
const MUL_LIMIT = 2 ** 34;
/** Factors up to 1024.0: the products of both's halves, and so their own, stay below 2^53. */
const QUARTERS_LIMIT = 2 ** 42;
/** Operands of a quotient below 32.0: shifted by 16 bits they stay below 2^53. */
const DIV_LIMIT = 2 ** 37;
/** A divisor below 8192.0, and so what remains of a division by it, does so shifted by 8. */
const DIVISOR_LIMIT = 2 ** 45;

/** a·b, rounded down. */
export function mul(a: Fixed, b: Fixed): Fixed {
  if (a > MUL_LIMIT || b > MUL_LIMIT || a < -MUL_LIMIT || b < -MUL_LIMIT) return mulLarge(a, b);
  const high = Math.floor(a / HALF_WORD);
  const low = a - high * HALF_WORD;
  return Math.floor((high * b + Math.floor((low * b) / HALF_WORD)) / HALF_WORD);
}

function mulLarge(a: Fixed, b: Fixed): Fixed {
  if (Math.max(Math.abs(a), Math.abs(b)) > QUARTERS_LIMIT) return Number((BigInt(a) * BigInt(b)) >> 32n);
  const [aHigh, bHigh] = [Math.floor(a / HALF_WORD), Math.floor(b / HALF_WORD)];
  const [aLow, bLow] = [a - aHigh * HALF_WORD, b - bHigh * HALF_WORD];
  return aHigh * bHigh + Math.floor((aHigh * bLow + aLow * bHigh + Math.floor((aLow * bLow) / HALF_WORD)) / HALF_WORD);
}

/**
 * a/b, rounded towards zero; 0 when b is 0 (`safe_div`). Only the ratio matters: two plain integers give their quotient
 * as `Fixed` just as well.
 */
export function div(a: number, b: number): Fixed {
  if (b === 0) return 0;
  if (!(a >= 0 && a < DIV_LIMIT && b > 0 && b < DIVISOR_LIMIT)) return Number((BigInt(a) << 32n) / BigInt(b));
  const shifted = a * HALF_WORD;
  const high = Math.floor(shifted / b);
  const rest = shifted - high * b;
  if (b < DIV_LIMIT) return high * HALF_WORD + Math.floor((rest * HALF_WORD) / b);
  const middle = Math.floor((rest * 256) / b);
  return high * HALF_WORD + middle * 256 + Math.floor(((rest * 256 - middle * b) * 256) / b);
}

/** ⌊x·65535⌋, the form in which shares in [0, 1] are stored (`fixed_proportion_to_u16`). */
export function toU16(x: Fixed): number {
  return Math.min(U16_MAX, Math.max(0, Math.floor((x * U16_MAX) / ONE)));
}

export function sum(values: ArrayLike<Fixed>): Fixed {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

/** Shares of the sum; a copy when that is 0. Only ratios matter, so plain integers will do, too. */
export function normalise(values: readonly number[]): Fixed[] {
  const total = sum(values);
  return total === 0 ? [...values] : values.map((value) => div(value, total));
}
