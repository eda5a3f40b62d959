/**
 * Rounding to the nearest half (IEEE-754 binary16) by bits, ties to even, gradual below 2^-14, in multiples of 2^-24: WGSL's own conversions may
 * round either way, and drivers fold one and its inverse away. Magnitudes above `LARGEST_HALF` become that; what is no number, or nearly none (from
 * 2^127 on), NaN. The sign of zero is kept.
 */
import { LARGEST_HALF } from '../kernels.ts';
import type { Element, Scope } from './shader.ts';
import type { HalfFormat } from './value.ts';

type Code = (x: string) => string;

/** As an integer, larger than the bits of any number that can be said: 2^127, as in quantise.ts. */
export const LIMIT_BITS = 0x7f00_0000;

const bitsOf = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0]!;
const nameOf = (element: Element) => element.replaceAll(/\W/g, '');
const unsigned = (element: Element) => element.replace('f32', 'u32');

/** Magnitudes `[…]` of integers, and of halves under 2^-14 in multiples of 2^-24: adding 1/2 makes float32's own rounding cut there. */
const sizes = (element: Element, largest: number) => {
  const u = unsigned(element);
  return `let given = bitcast<${u}>(x) & ${u}(0x7fffffffu);
    let size = min(given, ${u}(${bitsOf(largest)}u));
    let small = bitcast<${u}>(bitcast<${element}>(size) + 0.5) - ${u}(0x3f000000u);
    let isSmall = size < ${u}(0x38800000u);
    let isNone = given >= ${u}(${LIMIT_BITS}u);`;
};

/** The nearest half, as float32. */
export function nearestHalf(scope: Scope, element: Element): Code {
  const [name, u] = [`nearest_${nameOf(element)}`, unsigned(element)];
  const shift = element === 'f32' ? '13u' : `${u}(13u)`;
  scope.declare(`
    fn ${name}(x : ${element}) -> ${element} {
      ${sizes(element, LARGEST_HALF)}
      let large = (size + 0xfffu + ((size >> ${shift}) & ${u}(1u))) & ${u}(0xffffe000u);
      let rounded = select(large, bitcast<${u}>(${element}(small) * 0x1p-24), isSmall);
      return bitcast<${element}>(select(rounded, ${u}(0x7fc00000u), isNone) | (bitcast<${u}>(x) & ${u}(0x80000000u)));
    }`);
  return (x) => `${name}(${x})`;
}

/** The bits of the nearest half; magnitudes above `largest`, a half itself, become that. */
export function halfBits(scope: Scope, element: Element, largest: number = LARGEST_HALF): Code {
  const [name, u] = [`half_${nameOf(element)}_${largest}`, unsigned(element)];
  const shift = (by: number) => (element === 'f32' ? `${by}u` : `${u}(${by}u)`);
  scope.declare(`
    fn ${name}(x : ${element}) -> ${u} {
      ${sizes(element, largest)}
      let large = (size - 0x38000000u + 0xfffu + ((size >> ${shift(13)}) & ${u}(1u))) >> ${shift(13)};
      let rounded = select(large, small, isSmall);
      return select(rounded, ${u}(0x7e00u), isNone) | ((bitcast<${u}>(x) >> ${shift(16)}) & ${u}(0x8000u));
    }`);
  return (x) => `${name}(${x})`;
}

/** Four numbers as the format has them. */
export function packHalves(scope: Scope, format: HalfFormat): Code {
  const bits = halfBits(scope, 'vec4<f32>');
  scope.declare(`
    fn words(x : vec4<f32>) -> vec2<u32> {
      let halves = ${bits('x')};
      return halves.xz | (halves.yw << vec2<u32>(16u));
    }`);
  return format === 'packed' ? (x) => `words(${x})` : (x) => `bitcast<vec4<f16>>(words(${x}))`;
}

export function unpackHalves(scope: Scope, format: HalfFormat): Code {
  if (format === 'f16') return (x) => `vec4<f32>(${x})`;
  scope.declare(`
    fn numbers(x : vec2<u32>) -> vec4<f32> {
      return vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y));
    }`);
  return (x) => `numbers(${x})`;
}
