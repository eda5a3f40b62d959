/** Of whatever may cross a boundary, every device makes numbers that may cross the next: no neighbour makes anybody's results useless. */
import { createKernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import { randomNumbers, randomTokens } from '@starling/kernels/testing';
import { LARGEST_CROSSING, SMALLEST_CROSSING } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { initialParameters } from './initial.ts';
import { presetOf } from './presets.ts';
import { Stage } from './stage.ts';

const MOST = LARGEST_CROSSING.f32;
/** Root mean squares that norms divide by, from next to nothing to the largest. */
const SCALES = [0, SMALLEST_CROSSING, 1e-6, 1e-3, 1, MOST];
/** What the server takes for no loss any more, in nats a token. */
const MOST_LOSS = 1_000;

// Overflow is of float32, whatever computes it: two that are quick to start are enough.
describe.each([
  ['cpu', 'pico'],
  ['wasm', 'nano'],
] as const)('on %s, %s', (backend, preset) => {
  // All layers in one stage, and parameters also five times as large as they begin: more than any run here has.
  it.each(['a middle stage', 'the last one'])('at %s', { timeout: 120_000 }, async (place) => {
    const isLast = place !== 'a middle stage';
    const { shape } = presetOf(preset);
    const kernels = await createKernels({ backend, wasmPaths: nodeWasmPath() });
    const spec = { index: 1, firstLayer: 0, layers: shape.layers, isFirst: false, isLast };
    const size = shape.context * shape.width;
    const randoms = randomNumbers(size, 7);
    const targets = randomTokens(shape.context, 8, shape.vocabulary);
    const patterns: Record<string, (i: number) => number> = {
      random: (i) => randoms[i]!,
      same: () => 1,
      spike: (i) => (i % shape.width === 3 ? 1 : 0),
    };
    const stage = new Stage(kernels, shape, spec, { sequences: 1 });
    // Sums over whole steps and their squares are in double precision; those of a shard in float32 are far below its 3e38.
    const isBounded = (numbers: Float32Array) => numbers.every((x) => Math.abs(x) < 1e30);
    for (const times of [1, 5]) {
      stage.load(initialParameters(shape, spec, 1).map((x) => times * x));
      for (const scale of SCALES)
        for (const [name, pattern] of Object.entries(patterns)) {
          const what = `${name} × ${scale}, parameters × ${times}`;
          const input = Float32Array.from({ length: size }, (_, i) => scale * pattern(i));
          const upstream = isLast ? targets : Float32Array.from({ length: size }, (_, i) => MOST * Math.sign(pattern(i) || 1));
          const { inputGradient, lossSum, gradient } = await stage.backward(input, upstream);
          stage.accumulate(gradient);
          expect([inputGradient!, await stage.takeGradient()].every(isBounded), what).toBe(true);
          if (isLast) expect(lossSum! / shape.context, what).toBeLessThan(MOST_LOSS / 4);
          else expect(isBounded(await stage.forward(input)), what).toBe(true);
        }
    }
    stage.dispose();
    kernels.close();
  });
});
