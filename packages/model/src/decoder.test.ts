/** The decoder against `Stage` on tfjs' cpu backend, which is the reference for training. */
import { createKernels } from '@starling/kernels';
import { randomNumbers, randomTokens } from '@starling/kernels/testing';
import type { ModelShape } from '@starling/protocol';
import { expect, test } from 'vitest';
import { Decoder } from './decoder.ts';
import { layoutOf } from './layout.ts';
import { cutStages } from './presets.ts';
import { sample } from './sampling.ts';
import { Stage } from './stage.ts';

const SHAPES: ModelShape[] = [
  { vocabulary: 16, width: 16, layers: 3, heads: 4, keyValueHeads: 4, hidden: 24, context: 8 },
  { vocabulary: 11, width: 12, layers: 2, heads: 6, keyValueHeads: 2, hidden: 7, context: 5 },
];
/** float32 there, doubles here. */
const TOLERANCE = 2e-5;

function lossOf(decoder: Decoder, tokens: Int32Array, targets: Int32Array): number {
  let sum = 0;
  tokens.forEach((token, i) => {
    const logits = decoder.next(token);
    const largest = Math.max(...logits);
    const total = logits.reduce((all, logit) => all + Math.exp(logit - largest), 0);
    sum += largest + Math.log(total) - logits[targets[i]!]!;
  });
  return sum;
}

test.each(SHAPES)('token by token it gives what a stage gives for the whole sequence: %o', async (shape) => {
  const kernels = await createKernels({ backend: 'cpu' });
  const [whole] = cutStages(shape, 1);
  const parameters = randomNumbers(layoutOf(shape, whole!).size, 17, 0.4);
  const stage = new Stage(kernels, shape, whole!, { sequences: 1 });
  stage.load(parameters);
  const decoder = new Decoder({ shape, parameters });
  const tokens = randomTokens(shape.context, 3, shape.vocabulary);
  for (const seed of [4, 5, 6]) {
    const targets = randomTokens(shape.context, seed, shape.vocabulary);
    decoder.reset();
    const expected = await stage.loss(tokens, targets);
    expect(Math.abs(lossOf(decoder, tokens, targets) - expected)).toBeLessThan(TOLERANCE * expected);
  }
  kernels.close();
});

test('when the context is full, the newer half is read again as if nothing had been before', () => {
  const shape = SHAPES[0]!;
  const parameters = randomNumbers(layoutOf(shape, cutStages(shape, 1)[0]!).size, 17, 0.4);
  const [long, fresh] = [new Decoder({ shape, parameters }), new Decoder({ shape, parameters })];
  const tokens = randomTokens(9, 3, shape.vocabulary);
  const all = [...tokens].map((token) => long.next(token)).at(-1);
  expect([...tokens.slice(4)].map((token) => fresh.next(token)).at(-1)).toEqual(all);
});

test('parameters of another model are refused', () => {
  expect(() => new Decoder({ shape: SHAPES[0]!, parameters: new Float32Array(3) })).toThrow(
    expect.objectContaining({ code: 'TENSOR_SHAPE' }),
  );
});

test('sampling: the likeliest, only the nucleus, and every token in proportion', () => {
  const logits = [Math.log(0.5), Math.log(0.3), Math.log(0.2)];
  expect(sample(logits, { temperature: 0, topP: 1 }, () => 0.99)).toBe(0);
  const draws = (topP: number, temperature = 1) =>
    [0.05, 0.45, 0.55, 0.75, 0.85, 0.999].map((at) => sample(logits, { temperature, topP }, () => at));
  expect(draws(1)).toEqual([0, 0, 1, 1, 2, 2]);
  expect(draws(0.79)).toEqual([0, 0, 0, 1, 1, 1]);
  expect(draws(0.1)).toEqual([0, 0, 0, 0, 0, 0]);
  // Weights 0.25, 0.09 and 0.04 of 0.38.
  expect(draws(1, 0.5)).toEqual([0, 0, 0, 1, 1, 2]);
});
