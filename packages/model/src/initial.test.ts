import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { initialParameters } from './initial.ts';
import { layoutOf } from './layout.ts';
import { cutStages, presetOf } from './presets.ts';

const { shape } = presetOf('nano');
const [whole] = cutStages(shape, 1);
const sha256 = (data: Float32Array<ArrayBuffer>) => createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex');

const statistics = (values: Float32Array) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance) };
};

describe('initial parameters', () => {
  // Every engine must get these bits: the browser's miners are given the orchestrator's, and a run is repeated from its seed.
  it.each([
    ['nano', 1, 'cf09af9ae6c5a6376d4cbf0de1b1a85d73092ab534c4b045040c706f8add1f1e'],
    ['nano', 2, '65a93316a977d4e0fea6ffc7c6f338a077ce45b333b2f580dbd5f143d0cca9d0'],
    ['shakespeare', 1, 'ad9c40d1845d84fa8cffefb9d1e0fd0b94c4eba6ef70fe66c34c61fd8a5be6a2'],
  ])('of %s from seed %i have the bits they always had', (preset, seed, hash) => {
    const { shape: model } = presetOf(preset);
    expect(sha256(initialParameters(model, cutStages(model, 1)[0]!, seed))).toBe(hash);
  });

  it('have mean 0 and deviation 0.02, or that over √(2·layers) where they write to the residual stream; gains are 1', () => {
    const parameters = initialParameters(shape, whole!, 3);
    for (const { name, offset, size, shape: dimensions } of layoutOf(shape, whole!).entries) {
      const values = parameters.subarray(offset, offset + size);
      if (dimensions.length === 1) {
        expect(values.every((value) => value === 1)).toBe(true);
        continue;
      }
      const expected = /attention\.output|feedForward\.down/.test(name) ? 0.02 / Math.sqrt(2 * shape.layers) : 0.02;
      const { mean, deviation } = statistics(values);
      // Five standard errors of n draws: mean σ/√n, deviation σ/√(2n).
      expect(Math.abs(mean), name).toBeLessThan((5 * expected) / Math.sqrt(size));
      expect(Math.abs(deviation - expected), name).toBeLessThan((5 * expected) / Math.sqrt(2 * size));
    }
  });

  it('differ from parameter to parameter and from seed to seed', () => {
    const rows = [1, 2].flatMap((seed) => {
      const parameters = initialParameters(shape, whole!, seed);
      return layoutOf(shape, whole!)
        .entries.filter(({ shape: dimensions }) => dimensions.length > 1)
        .map(({ offset }) => parameters.slice(offset, offset + 8).join());
    });
    expect(new Set(rows).size).toBe(rows.length);
  });
});
