import { describe, expect, it } from 'vitest';
import { type Bytes, type GradientCodec, LARGEST, type Vector } from './codec.ts';
import { CODECS } from './codecs.ts';
import { drawOf, gradientLike, normOf } from './for-tests.ts';
import { allKindsOfNumbers } from './golden.ts';

const { f32, bf16, int8, topk2bit } = CODECS;
const all = Object.values(CODECS);
const LENGTHS = [1, 2, 3, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 4160, 10_000];
const roundTrip = (codec: GradientCodec, vector: Vector) => codec.decode(codec.encode(vector), vector.length);
/** Everything a test of bounds should meet: gradients, and bits of all kinds up to the largest allowed. */
const vectors = (seed: number, length: number): Vector[] => [
  gradientLike(drawOf(seed), length),
  allKindsOfNumbers(drawOf(seed), length),
  gradientLike(drawOf(seed), length, 1e-41),
  new Float32Array(length),
  new Float32Array(length).fill(-LARGEST),
  new Float32Array(length).fill(2 ** -149),
];

describe.each(all)('$name', (codec) => {
  it('says beforehand how many bytes it makes, and reads them from anywhere in memory', () => {
    for (const length of LENGTHS) {
      for (const vector of vectors(length, length)) {
        const bytes = codec.encode(vector);
        expect(bytes.length).toBe(codec.size(length));
        const moved = new Uint8Array(bytes.length + 3).subarray(3);
        moved.set(bytes);
        expect(codec.decode(moved, length)).toEqual(codec.decode(bytes, length));
      }
    }
  });

  it('makes the same bytes of the same numbers, also of a part of a larger vector', () => {
    const whole = gradientLike(drawOf(1), 3 * 4096);
    expect(codec.encode(whole.subarray(4096, 8192))).toEqual(codec.encode(whole.slice(4096, 8192)));
  });

  it('encodes what it decoded once more without loss', () => {
    if (codec.name === 'topk2bit') return; // chosen again, the levels are other means
    for (const vector of vectors(2, 1000)) {
      const once = roundTrip(codec, vector);
      expect(roundTrip(codec, once)).toEqual(once);
    }
  });

  it('keeps blocks apart: parts cut between blocks give what the whole gives', () => {
    const { block } = codec;
    const whole = gradientLike(drawOf(3), 3 * block + 1);
    const parts = [0, 1, 2, 3].map((i) => roundTrip(codec, whole.slice(i * block, (i + 1) * block)));
    expect(Float32Array.from(parts.flatMap((part) => [...part]))).toEqual(roundTrip(codec, whole));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 127 * 1.5])('does not encode %d', (bad) => {
    const vector = gradientLike(drawOf(4), 300);
    vector[299] = bad;
    expect(() => codec.encode(vector)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
  });

  it('refuses bytes that are too many or too few', () => {
    const bytes = codec.encode(gradientLike(drawOf(5), 5000));
    expect(() => codec.decode(new Uint8Array([...bytes, 0]), 5000)).toThrow(expect.objectContaining({ code: 'BLOB_TOO_LARGE' }));
    expect(() => codec.decode(bytes.slice(1), 5000)).toThrow(expect.objectContaining({ code: 'SHARD_MALFORMED' }));
    expect(() => codec.decode(new Uint8Array(), 5000)).toThrow(expect.objectContaining({ code: 'SHARD_MALFORMED' }));
  });

  it('gives finite numbers or a coded error, whatever the bytes', () => {
    const draw = drawOf(6);
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      const bytes = codec.encode(gradientLike(draw, 4200));
      for (let flips = 0; flips < 8; flips++) bytes[draw.below(bytes.length)] = draw.below(256);
      try {
        expect(codec.decode(bytes, 4200).every(Number.isFinite)).toBe(true);
      } catch (error) {
        expect(['SHARD_MALFORMED', 'TENSOR_NOT_FINITE']).toContain((error as { code: string }).code);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0);
  });
});

describe('f32', () => {
  it('keeps every bit, the sign of zero included', () => {
    const vector = allKindsOfNumbers(drawOf(7), 10_000);
    vector[0] = -0;
    expect(new Uint32Array(roundTrip(f32, vector).buffer)).toEqual(new Uint32Array(vector.buffer));
  });
});

describe('bf16', () => {
  it('errs by 2^-8 of a number at most, and by 2^-134 where it is subnormal', () => {
    for (const vector of vectors(8, 100_000)) {
      const result = roundTrip(bf16, vector);
      vector.forEach((x, i) => {
        if (Math.abs(result[i]! - x) > Math.max(2 ** -8 * Math.abs(x), 2 ** -134)) expect.fail(`${x} became ${result[i]}`);
      });
    }
  });

  it('rounds ties to even', () => {
    expect(roundTrip(bf16, Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8))).toEqual(Float32Array.of(1, 1 + 2 ** -6, -1));
  });
});

describe('int8', () => {
  it('errs by max|block| · (1 + 2^-20) / 254 + 2^-142 at most', () => {
    for (const vector of vectors(9, 100_000)) {
      const result = roundTrip(int8, vector);
      for (let start = 0; start < vector.length; start += int8.block) {
        const block = vector.subarray(start, start + int8.block);
        const bound = (block.reduce((most, x) => Math.max(most, Math.abs(x)), 0) * (1 + 2 ** -20)) / 254 + 2 ** -142;
        block.forEach((x, i) => {
          if (Math.abs(result[start + i]! - x) > bound) expect.fail(`${x} became ${result[start + i]}, bound ${bound}`);
        });
      }
    }
  });

  it('takes 1.016 bytes a number', () => {
    expect(int8.size(256 * 100) / (256 * 100)).toBe(1 + 4 / 256);
  });

  it('refuses what it never writes: the code −128, a negative scale, one that is no number', () => {
    const bytes = int8.encode(Float32Array.of(1, -1));
    const changed = (change: (bytes: Bytes) => void) => () => {
      const copy = bytes.slice();
      change(copy);
      return int8.decode(copy, 2);
    };
    const scale = (value: number) => changed((copy) => new DataView(copy.buffer).setFloat32(0, value, true));
    expect(changed((copy) => copy.fill(128, 5))).toThrow(expect.objectContaining({ code: 'SHARD_MALFORMED' }));
    expect(scale(-1)).toThrow(expect.objectContaining({ code: 'SHARD_MALFORMED' }));
    expect(scale(Number.NaN)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
    expect(scale(3e38)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
  });
});

describe('topk2bit', () => {
  it('makes 128 bytes of 4,096 numbers: 128 times less than float32', () => {
    expect(topk2bit.size(4096)).toBe(128);
    expect(f32.size(40_960) / topk2bit.size(40_960)).toBe(128);
  });

  it('keeps the places of the 64 largest of a chunk, the first among equals', () => {
    const vector = gradientLike(drawOf(10), 4096, 1e-3);
    const places = Array.from({ length: 64 }, (_, i) => 4095 - 64 * i);
    places.forEach((place, i) => {
      vector[place] = i % 2 === 0 ? 5 + i / 64 : -5 - i / 64;
    });
    const result = roundTrip(topk2bit, vector);
    expect([...result].flatMap((x, i) => (x === 0 ? [] : [i]))).toEqual(places.toSorted((a, b) => a - b));
    for (const place of places) expect(Math.sign(result[place]!)).toBe(Math.sign(vector[place]!));
    expect(roundTrip(topk2bit, new Float32Array(4096).fill(2)).lastIndexOf(2)).toBe(63);
  });

  it('gives two values exactly where there are no more', () => {
    const vector = new Float32Array(4096);
    for (let i = 0; i < 64; i++) vector[i * 50] = i % 2 === 0 ? 3 : -3;
    expect(roundTrip(topk2bit, vector)).toEqual(vector);
  });

  it('loses no more than was there, and what it says is the best that its codes could say', () => {
    for (const length of LENGTHS) {
      for (const vector of vectors(length, length)) {
        const result = roundTrip(topk2bit, vector);
        const lost = normOf(vector.map((x, i) => x - result[i]!));
        expect(lost).toBeLessThanOrEqual(normOf(vector) * (1 + 1e-6));
        // ‖x − x̂‖² = ‖x‖² − ‖x̂‖²: levels are means.
        const expected = Math.sqrt(Math.max(0, normOf(vector) ** 2 - normOf(result) ** 2));
        if (normOf(vector) > 1e-30) expect(Math.abs(lost - expected)).toBeLessThanOrEqual(1e-3 * normOf(vector));
      }
    }
  });

  it('refuses indices that do not rise, that lie outside, and spare bits', () => {
    const change = (length: number, at: number, value: number) => () => {
      const bytes = topk2bit.encode(gradientLike(drawOf(11), length));
      bytes[at] = value;
      return topk2bit.decode(bytes, length);
    };
    const malformed = expect.objectContaining({ code: 'SHARD_MALFORMED' });
    expect(change(4096, 16, 255)).toThrow(malformed); // the first index, low bits, above the second
    expect(change(10, 16, 10)).toThrow(malformed);
    expect(change(10, 17, 16)).toThrow(malformed); // spare bits after one index
    expect(change(10, 18, 4)).toThrow(malformed); // spare bits after one code
  });
});
