import { onEachBackend, randomTokens } from '@starling/kernels/testing';
import { expect, it } from 'vitest';
import { presetOf } from './presets.ts';
import { SoloTrainer } from './solo.ts';

const shape = { vocabulary: 16, width: 16, layers: 2, heads: 2, keyValueHeads: 1, hidden: 24, context: 8 };
const optimizer = { ...presetOf('nano').optimizer, peakLearningRate: 2e-2, minimumLearningRate: 2e-2, warmupSteps: 1 };

/** Each token is followed by its successor: learnable to the end. */
function successors(seed: number) {
  const starts = randomTokens(4, seed, shape.vocabulary);
  const tokens = Int32Array.from({ length: 4 * shape.context }, (_, i) => (starts[Math.floor(i / 8)]! + (i % 8)) % shape.vocabulary);
  return { tokens, targets: tokens.map((token) => (token + 1) % shape.vocabulary) };
}

onEachBackend((kernels) => {
  it('learns a rule from its examples, and holds no more tensors for it', async () => {
    const trainer = new SoloTrainer(kernels(), { shape, sequences: 4, seed: 1, optimizer });
    const first = await trainer.step([successors(1), successors(2)]);
    expect(first).toBeCloseTo(Math.log(shape.vocabulary), 1);
    const { tensors } = kernels().memory();
    for (let step = 2; step <= 30; step++) await trainer.step([successors(step), successors(100 + step)]);
    expect(await trainer.evaluate([successors(999)])).toBeLessThan(0.3);
    expect(kernels().memory().tensors).toBe(tensors);
    trainer.dispose();
  });
});
