/**
 * The same reductions of the same numbers, as one hash: equal in two engines only if every bit is. Run it in a page and in
 * Node and compare with `GOLDEN_REDUCTION`.
 */
import { bytesOf, sha256, toHex } from '@starling/protocol';
import { type CodecName, LARGEST, type Vector } from './codec.ts';
import { CODECS } from './codecs.ts';
import { Draw } from './draw.ts';
import { reduceShard } from './reduction.ts';

/** Long enough for sixteen blocks of any codec, short enough that a page's memory does not notice. */
const SHARD = 65_536;
/** The second factor makes subnormals of small numbers; the third is no binary fraction. */
const SCALES = [1, 2 ** -20, 1 / 3];
const FORMATS: [CodecName, 'f32' | 'bf16'][] = [
  ['f32', 'f32'],
  ['f32', 'bf16'],
  ['int8', 'f32'],
  ['topk2bit', 'bf16'],
];

/** Of `goldenReduction()` with its default. */
export const GOLDEN_REDUCTION = '8fc7d3506e166cff9115e6527069b6e75c8e346165ad85c192b26f4b08a75b19';

/**
 * Numbers of every kind: of each eight, five of any sign, exponent and fraction, one subnormal, one ±0, one of the largest that
 * three contributors may send. `[length]`.
 */
export function allKindsOfNumbers(draw: Draw, length: number): Vector {
  const bits = new Uint32Array(length);
  const vector = new Float32Array(bits.buffer);
  for (let i = 0; i < length; i++) {
    const word = draw.word();
    const kind = draw.word() >>> 29;
    if (kind === 0) bits[i] = word & 0x807fffff;
    else if (kind === 1) bits[i] = word & 0x80000000;
    else if (kind === 2) vector[i] = ((word & 1 ? 1 : -1) * LARGEST) / 3;
    // Exponents 0 … 251: under 2^125.
    else bits[i] = (word & 0x807fffff) | (((word >>> 8) % 252) << 23);
  }
  return vector;
}

/** SHA-256 over reductions of at least `numbers` random numbers in every format. */
export async function goldenReduction(numbers = 10_000_000): Promise<string> {
  const draw = new Draw('9e3779b97f4a7c15f39cc0605cedc834');
  let digest = new Uint8Array(32);
  for (let done = 0; done < numbers; done += SCALES.length * SHARD) {
    const vectors = SCALES.map(() => allKindsOfNumbers(draw, SHARD));
    for (const [name, merged] of FORMATS) {
      const codec = CODECS[name];
      const contributions = vectors.map((vector, i) => ({ bytes: codec.encode(vector), scale: SCALES[i]! }));
      const reduced = reduceShard({ codec, merged: CODECS[merged] }, SHARD, contributions);
      const joined = new Uint8Array(digest.length + reduced.length);
      joined.set(digest);
      joined.set(bytesOf(reduced), digest.length);
      digest = await sha256(joined);
    }
  }
  return toHex(digest);
}
