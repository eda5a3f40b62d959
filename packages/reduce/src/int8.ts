/**
 * One signed byte a number, with one float32 scale for every 256 of them: scale = max|block| / 127, code = round(x / scale).
 *
 * |x − x̂| ≤ max|block| · (1 + 2⁻²⁰) / 254 + 2⁻¹⁴²; the second term is for blocks so small that the scale is subnormal.
 * All scales come first, then all codes: 4·⌈n/256⌉ + n bytes, 1.016 a number.
 */
import { defineCodec, malformed } from './codec.ts';

const BLOCK = 256;
const TOP = 127;

const blocksOf = (length: number) => Math.ceil(length / BLOCK);

export const int8 = defineCodec({
  name: 'int8',
  block: BLOCK,
  size: (length) => 4 * blocksOf(length) + length,
  write(vector, bytes) {
    const scales = new Float32Array(bytes.buffer, 0, blocksOf(vector.length));
    const codes = new Int8Array(bytes.buffer, scales.byteLength);
    for (let block = 0; block < scales.length; block++) {
      const start = block * BLOCK;
      const end = Math.min(start + BLOCK, vector.length);
      let largest = 0;
      for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(vector[i]!));
      scales[block] = largest / TOP;
      const scale = scales[block]!;
      if (scale === 0) continue;
      // A subnormal scale may have been rounded down so far that the largest does not fit.
      for (let i = start; i < end; i++) codes[i] = Math.max(-TOP, Math.min(TOP, Math.round(vector[i]! / scale)));
    }
  },
  read(bytes, vector) {
    const scales = new Float32Array(bytes.buffer, 0, blocksOf(vector.length));
    const codes = new Int8Array(bytes.buffer, scales.byteLength);
    for (let i = 0; i < vector.length; i++) {
      if (codes[i]! < -TOP) throw malformed('holds the code −128');
      vector[i] = codes[i]! * scales[Math.floor(i / BLOCK)]!;
    }
    // A scale of NaN or infinity shows in the numbers, since 0 · ∞ is NaN.
    if (scales.some((scale) => scale < 0)) throw malformed('has a negative scale');
  },
});
