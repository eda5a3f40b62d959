/**
 * Rows `[n,w]` written small on the device, so that only that is read back: the formats of packages/codecs (quantise.ts), word by word.
 * What cannot be said (NaN, infinity, too large) becomes a scale, or a number, that is NaN.
 */
import type { PackedFormat } from '../kernels.ts';
import type { Shader } from './shader.ts';

/** Whose bits, as an integer, are larger than those of any number that can be said: 2^127, as in quantise.ts. */
const LIMIT_BITS = 0x7f00_0000;
const NAN_BITS = 0x7fc0_0000;
/** Numbers of one scale in int4. */
const GROUP = 32;
const LARGEST_CODE = { int8: 127, int4: 7 } as const;

/** Numbers a row must be a multiple of, so that it is whole words. */
export const PACKABLE: Readonly<Record<PackedFormat, number>> = { f16: 2, int8: 4, int4: 64 };

/** Scales `[n · groups]` as bits: |x| as an integer is ordered as the number is, and NaN comes last. */
export function scaleShader(rows: number, width: number, format: 'int8' | 'int4'): Shader {
  const size = format === 'int4' ? GROUP : width;
  return {
    name: 'scales of rows',
    constants: { SIZE: size, LIMIT: LIMIT_BITS, NAN: NAN_BITS, LARGEST: LARGEST_CODE[format] },
    inputs: { X: 1 },
    outputShape: [(rows * width) / size],
    outputComponents: 1,
    invocations: (rows * width) / size,
    code: `
      var most = 0;
      for (var i = index * SIZE; i < (index + 1) * SIZE; i++) { most = max(most, bitcast<i32>(X[i]) & 0x7fffffff); }
      if (most >= LIMIT) { result[index] = NAN; return; }
      result[index] = bitcast<i32>(bitcast<f32>(most) / f32(LARGEST));`,
  };
}

/** `[n · (w/4 + 1)]` words: the scale, then four codes in each. */
export function int8Shader(rows: number, width: number): Shader {
  const words = width / 4 + 1;
  return {
    name: 'rows as int8',
    constants: { WIDTH: width, WORDS: words },
    inputs: { X: 1, Scale: 1 },
    outputShape: [rows * words],
    outputComponents: 1,
    invocations: rows * words,
    code: `
      let row = index / WORDS;
      let word = index % WORDS;
      if (word == 0) { result[index] = Scale[row]; return; }
      let scale = bitcast<f32>(Scale[row]);
      var packed = 0;
      if (scale > 0.0) {
        let first = row * WIDTH + (word - 1) * 4;
        for (var k = 0; k < 4; k++) {
          let code = clamp(i32(floor(X[first + k] / scale + 0.5)), -127, 127);
          packed |= (code & 255) << u32(8 * k);
        }
      }
      result[index] = packed;`,
  };
}

/** `[n · (w/64 + w/8)]` words: two scales in each, as bfloat16, then eight codes in each. */
export function int4Shader(rows: number, width: number): Shader {
  const scales = width / (2 * GROUP);
  const words = scales + width / 8;
  return {
    name: 'rows as int4',
    constants: { WIDTH: width, WORDS: words, SCALES: scales, GROUP },
    inputs: { X: 1, Scale: 1 },
    outputShape: [rows * words],
    outputComponents: 1,
    invocations: rows * words,
    code: `
      let row = index / WORDS;
      let word = index % WORDS;
      let groups = row * 2 * SCALES;
      if (word < SCALES) {
        let low = (bitcast<u32>(Scale[groups + 2 * word]) + 0x8000u) >> 16u;
        let high = (bitcast<u32>(Scale[groups + 2 * word + 1]) + 0x8000u) >> 16u;
        result[index] = bitcast<i32>(low | (high << 16u));
        return;
      }
      let column = (word - SCALES) * 8;
      let bits = (bitcast<u32>(Scale[groups + column / GROUP]) + 0x8000u) & 0xffff0000u;
      let scale = bitcast<f32>(bits);
      var packed = 0;
      if (scale > 0.0) {
        for (var k = 0; k < 8; k++) {
          let code = clamp(i32(floor(X[row * WIDTH + column + k] / scale + 0.5)), -7, 7);
          packed |= (code & 15) << u32(4 * k);
        }
      }
      result[index] = packed;`,
  };
}

/** `[n · w/2]` words of two halves, rounded to nearest even by their bits: WGSL's own packing may round either way. */
export function f16Shader(rows: number, width: number): Shader {
  return {
    name: 'rows as f16',
    constants: {},
    inputs: { X: 1 },
    outputShape: [(rows * width) / 2],
    outputComponents: 1,
    invocations: (rows * width) / 2,
    code: `
      var packed = 0u;
      for (var k = 0u; k < 2u; k++) {
        let x = X[2 * index + i32(k)];
        let size = bitcast<u32>(x) & 0x7fffffffu;
        var half = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
        // Under 2^-14 halves are multiples of 2^-24: adding 1/2 makes float32's own rounding cut there.
        if (size < 0x38800000u) { half = bitcast<u32>(abs(x) + 0.5) - 0x3f000000u; }
        // From 65,520 on they would be infinite.
        if (size >= 0x477ff000u) { half = 0x7e00u; }
        packed |= (half | ((bitcast<u32>(x) >> 16u) & 0x8000u)) << (16u * k);
      }
      result[index] = bitcast<i32>(packed);`,
  };
}
