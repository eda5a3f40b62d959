/** IEEE-754 half precision by its bits: Float16Array is not in every browser that has WebGPU. */

const wide = new Float32Array(1);
const bits = new Uint32Array(wide.buffer);
/** Numbers from here on round to infinity. */
export const HALF_LIMIT = 65_520;

/** The bits of the half nearest to `x`, ties to even. `x` is a float32, |x| < `HALF_LIMIT`. */
export function toHalf(x: number): number {
  wide[0] = x;
  const sign = (bits[0]! >>> 16) & 0x8000;
  const size = bits[0]! & 0x7fffffff;
  // Under 2⁻¹⁴ halves are multiples of 2⁻²⁴: adding 1/2 makes float32's own rounding cut there.
  if (size < 0x38800000) {
    wide[0] = Math.abs(x) + 0.5;
    return sign | (bits[0]! - 0x3f000000);
  }
  return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
}

/** The number with these 16 bits, NaN and infinity included. */
export function fromHalf(half: number): number {
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  bits[0] = ((exponent + 112) << 23) | (fraction << 13);
  return sign * wide[0]!;
}
