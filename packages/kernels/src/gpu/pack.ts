/**
 * Rows `[n,w]` written small on the device, so that only that is read back: the formats of packages/codecs (quantise.ts), word by word.
 * What is larger than `LARGEST_CROSSING` is said as that; what is no number (or nearly none: from 2^127 on) becomes a scale, or a number, that is NaN.
 */
import { LARGEST_CROSSING } from '@starling/protocol';
import type { PackedFormat } from '../kernels.ts';
import { halfBits, LIMIT_BITS } from './half.ts';
import { perInvocation, type Scope, type Step } from './shader.ts';
import { temporary, type Value } from './value.ts';

const NAN_BITS = 0x7fc0_0000;
/** Numbers of one scale in int4. */
const GROUP = 32;
const LARGEST_CODE = { int8: 127, int4: 7 } as const;

/** Numbers a row must be a multiple of, so that it is whole words. */
export const PACKABLE: Readonly<Record<PackedFormat, number>> = { f16: 2, int8: 4, int4: 64 };

/** The words `[…]`, int32, and the steps that make them. */
export function packSteps(x: Value, format: PackedFormat): { words: Value; steps: Step[] } {
  if (format === 'f16') {
    const words = temporary([x.size / 2], 'int32');
    const build = () =>
      perInvocation(words.size, (scope) =>
        f16(scope.read(x, 'f32'), scope.write(words, 'i32'), halfBits(scope, 'f32', LARGEST_CROSSING.f16)),
      );
    return { words, steps: [{ label: `as f16 ${x.size}`, variants: [{ name: 'own', kind: 'own', build }] }] };
  }
  const [rows, width] = x.shape as [number, number];
  const size = format === 'int4' ? GROUP : width;
  const scales = temporary([x.size / size], 'int32');
  const words = temporary([rows * (format === 'int8' ? width / 4 + 1 : width / (2 * GROUP) + width / 8)], 'int32');
  const codes = format === 'int8' ? int8(width) : int4(width);
  return {
    words,
    steps: [
      step(`scales ${x.size}/${size}`, scales, x, null, (input, _, result) => scale(size, format, input, result)),
      step(`as ${format} ${rows}×${width}`, words, x, scales, codes),
    ],
  };
}

type Code = (x: string, scales: string, result: string) => string;

function step(label: string, to: Value, x: Value, scales: Value | null, code: Code): Step {
  const write = (scope: Scope) => code(scope.read(x, 'f32'), scales ? scope.read(scales, 'i32') : '', scope.write(to, 'i32'));
  return { label, variants: [{ name: 'own', kind: 'own', build: () => perInvocation(to.size, write) }] };
}

/** Scales `[n · groups]` as bits: |x| as an integer is ordered as the number is, and NaN comes last. */
const scale = (size: number, format: 'int8' | 'int4', x: string, result: string) => `
  var most = 0;
  for (var i = index * ${size}; i < (index + 1) * ${size}; i++) { most = max(most, bitcast<i32>(${x}[i]) & 0x7fffffff); }
  if (most >= ${LIMIT_BITS}) { ${result}[index] = ${NAN_BITS}; return; }
  ${result}[index] = bitcast<i32>(min(bitcast<f32>(most), ${LARGEST_CROSSING[format]}.0) / ${LARGEST_CODE[format]}.0);`;

/** `[n · (w/4 + 1)]` words: the scale, then four codes in each. */
const int8 =
  (width: number): Code =>
  (x, scales, result) =>
    `
    let row = index / ${width / 4 + 1};
    let word = index % ${width / 4 + 1};
    if (word == 0) { ${result}[index] = ${scales}[row]; return; }
    let scale = bitcast<f32>(${scales}[row]);
    var packed = 0;
    if (scale > 0.0) {
      let first = row * ${width} + (word - 1) * 4;
      for (var k = 0; k < 4; k++) {
        let code = i32(clamp(floor(${x}[first + k] / scale + 0.5), -127.0, 127.0));
        packed |= (code & 255) << u32(8 * k);
      }
    }
    ${result}[index] = packed;`;

/** `[n · (w/64 + w/8)]` words: two scales in each, as bfloat16, then eight codes in each. */
const int4 = (width: number): Code => {
  const scales = width / (2 * GROUP);
  const words = scales + width / 8;
  return (x, told, result) => `
    let row = index / ${words};
    let word = index % ${words};
    let groups = row * ${2 * scales};
    if (word < ${scales}) {
      let low = (bitcast<u32>(${told}[groups + 2 * word]) + 0x8000u) >> 16u;
      let high = (bitcast<u32>(${told}[groups + 2 * word + 1]) + 0x8000u) >> 16u;
      ${result}[index] = bitcast<i32>(low | (high << 16u));
      return;
    }
    let column = (word - ${scales}) * 8;
    let bits = (bitcast<u32>(${told}[groups + column / ${GROUP}]) + 0x8000u) & 0xffff0000u;
    let scale = bitcast<f32>(bits);
    var packed = 0;
    if (scale > 0.0) {
      for (var k = 0; k < 8; k++) {
        let code = i32(clamp(floor(${x}[row * ${width} + column + k] / scale + 0.5), -7.0, 7.0));
        packed |= (code & 15) << u32(4 * k);
      }
    }
    ${result}[index] = packed;`;
};

/** `[n · w/2]` words of two halves. */
const f16 = (x: string, result: string, bits: (x: string) => string) =>
  `${result}[index] = bitcast<i32>(${bits(`${x}[2 * index]`)} | (${bits(`${x}[2 * index + 1]`)} << 16u));`;
