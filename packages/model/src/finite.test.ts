/** Of whatever may cross a boundary, every device makes numbers that may cross the next: no neighbour makes anybody's results useless. */
import { onEachBackend, randomNumbers, randomTokens } from '@starling/kernels/testing';
import { LARGEST_CROSSING, SMALLEST_CROSSING } from '@starling/protocol';
import { expect, it } from 'vitest';
import { initialParameters } from './initial.ts';
import { presetOf } from './presets.ts';
import { Stage } from './stage.ts';

const MOST = LARGEST_CROSSING.f32;
/** Root mean squares that norms divide by, from next to nothing to the largest. */
const SCALES = [0, SMALLEST_CROSSING, 1e-6, 1e-3, 1, MOST];
/** What the server takes for no loss any more, in nats a token. */
const MOST_LOSS = 1_000;

onEachBackend((kernels, backend) => {
  // All layers in one stage, and matrices five times as large as they begin: more than any run here has.
  it.each([1, 5])('with parameters %d times as large as they begin', { timeout: 120_000 }, async (times) => {
    const { shape } = presetOf(backend === 'cpu' ? 'pico' : 'nano');
    const size = shape.context * shape.width;
    const patterns: Record<string, (i: number) => number> = {
      random: (i) => randoms[i]!,
      same: () => 1,
      spike: (i) => (i % shape.width === 3 ? 1 : 0),
    };
    const randoms = randomNumbers(size, 7);
    const targets = randomTokens(shape.context, 8, shape.vocabulary);
    for (const isLast of [false, true]) {
      const spec = { index: 1, firstLayer: 0, layers: shape.layers, isFirst: false, isLast };
      const stage = new Stage(kernels(), shape, spec, { sequences: 1 });
      stage.load(initialParameters(shape, spec, 1).map((x) => times * x));
      for (const scale of SCALES)
        for (const [name, pattern] of Object.entries(patterns)) {
          const what = `${name} × ${scale}, last: ${isLast}`;
          const input = Float32Array.from({ length: size }, (_, i) => scale * pattern(i));
          const upstream = isLast ? targets : Float32Array.from({ length: size }, (_, i) => MOST * Math.sign(pattern(i) || 1));
          const { inputGradient, lossSum, gradient } = await stage.backward(input, upstream);
          stage.accumulate(gradient);
          // Sums over whole steps and their squares are in double precision; that of a shard is in float32.
          for (const numbers of [inputGradient!, await stage.takeGradient()])
            expect(numbers.every((x) => Math.abs(x) < 1e30), what).toBe(true); // biome-ignore format: one line
          if (isLast) expect(lossSum! / shape.context, what).toBeLessThan(MOST_LOSS / 4);
          else expect((await stage.forward(input)).every((x) => Math.abs(x) < 1e30), what).toBe(true); // biome-ignore format: one line
        }
      stage.dispose();
    }
  });
});
