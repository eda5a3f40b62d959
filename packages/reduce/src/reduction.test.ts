import { normOf, sumGradients } from '@starling/model';
import { describe, expect, it } from 'vitest';
import { LARGEST, type Vector } from './codec.ts';
import { CODECS } from './codecs.ts';
import { drawOf, gradientLike } from './for-tests.ts';
import { allKindsOfNumbers, GOLDEN_REDUCTION, goldenReduction } from './golden.ts';
import { clipScales, inspectShard, reduceShard } from './reduction.ts';

const { f32, int8 } = CODECS;
const bits = (vector: Float32Array) => new Uint32Array(vector.buffer, vector.byteOffset, vector.length);
const parts = (vectors: Vector[], scales: number[]) => vectors.map((vector, i) => ({ bytes: f32.encode(vector), scale: scales[i]! }));

describe('a reduction', () => {
  it('of ten million numbers has the bits it always had', async () => {
    expect(await goldenReduction()).toBe(GOLDEN_REDUCTION);
  });

  it('is Σ scale · x, number by number, in the order given, in doubles, rounded once', () => {
    const scales = [1, 2 ** -20, 1 / 3, 0.1];
    for (let seed = 0; seed < 20; seed++) {
      const vectors = scales.map((_, i) => allKindsOfNumbers(drawOf(100 * seed + i), 50_000).map((x) => x / 2));
      const reduced = reduceShard({ codec: f32, merged: f32 }, 50_000, parts(vectors, scales));
      const expected = Float32Array.from({ length: 50_000 }, (_, i) =>
        Math.fround(vectors.reduce((sum, vector, j) => sum + scales[j]! * vector[i]!, 0)),
      );
      expect(Buffer.compare(Buffer.from(reduced), Buffer.from(expected.buffer))).toBe(0);
    }
  });

  it('without clipping is the sum that the server makes today, to the bit', () => {
    const vectors = [1, 2, 3, 4, 5].map((seed) => gradientLike(drawOf(seed), 10_000));
    const reduced = f32.decode(reduceShard({ codec: f32, merged: f32 }, 10_000, parts(vectors, [1, 1, 1, 1, 1])), 10_000);
    expect(bits(reduced)).toEqual(bits(sumGradients(vectors)));
  });

  it('of the largest that an upload may hold does not overflow, in any format', () => {
    for (const members of [1, 2, 3, 50]) {
      for (const codec of Object.values(CODECS)) {
        const bytes = codec.encode(new Float32Array(64).fill((LARGEST / members) * (1 - 2 ** -7)));
        expect(inspectShard(codec, bytes, 64, members)).toBeGreaterThan(0);
        const contributions = Array.from({ length: members }, () => ({ bytes, scale: 1 }));
        for (const merged of [f32, CODECS.bf16]) expect(() => reduceShard({ codec, merged }, 64, contributions)).not.toThrow();
      }
    }
  });
});

describe('an upload', () => {
  it('that is sound gives Σx²', () => {
    const vector = gradientLike(drawOf(1), 1000);
    expect(Math.sqrt(inspectShard(f32, f32.encode(vector), 1000, 5))).toBe(normOf(vector, 1));
  });

  it('that might make the sum overflow is refused', () => {
    const bytes = int8.encode(Float32Array.of(1, LARGEST / 4));
    expect(inspectShard(int8, bytes, 2, 3)).toBeGreaterThan(0);
    expect(() => inspectShard(int8, bytes, 2, 5)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
  });
});

describe('clipping', () => {
  it('brings norms down to the lower median, and leaves the others alone', () => {
    expect(clipScales([1, 2, 8], 1)).toEqual([1, 1, 2 / 8]);
    expect(clipScales([4, 1], 1)).toEqual([1 / 4, 1]);
    expect(clipScales([4, 1, 2, 1000], 1)).toEqual([2 / 4, 1, 1, 2 / 1000]);
    expect(clipScales([1, 2, 8], 3)).toEqual([1, 1, 6 / 8]);
    expect(clipScales([7], 1)).toEqual([1]);
  });

  it('does not count zeros, and can be switched off', () => {
    expect(clipScales([0, 0, 0, 5, 10], 1)).toEqual([1, 1, 1, 1, 0.5]);
    expect(clipScales([0, 0], 1)).toEqual([1, 1]);
    expect(clipScales([1, 1e30], null)).toEqual([1, 1]);
  });
});
