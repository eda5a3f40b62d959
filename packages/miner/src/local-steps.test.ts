import { applyAdamW, cutStages, initialParameters, innerNumbersOf, layoutOf, normOf, optimizerNumbers, presetOf } from '@starling/model';
import { expect, it } from 'vitest';
import { LocalSteps } from './local-steps.ts';

const { shape, optimizer } = presetOf('nano');
const [spec] = cutStages(shape, 6);
const layout = layoutOf(shape, spec!);
const start = initialParameters(shape, spec!, 1);
const gradient = (seed: number) => Float32Array.from({ length: layout.size }, (_, i) => Math.sin(seed + i));
const numbers = innerNumbersOf(optimizer, 1, 2);

it('a local step is AdamW’s, and the change is how far two of them led', () => {
  const local = new LocalSteps(layout, start, numbers);
  const vectors = { parameters: start.slice(), firstMoment: new Float32Array(layout.size), secondMoment: new Float32Array(layout.size) };
  for (const step of [1, 2]) {
    local.step(gradient(step), 64);
    const alike = optimizerNumbers(optimizer, step, normOf(gradient(step), 64), 64);
    applyAdamW(vectors, gradient(step), { ...alike, learningRate: numbers.learningRate }, layout);
  }
  expect(local.parameters).toEqual(vectors.parameters);
  expect(local.takeChange()).toEqual(start.map((value, i) => value - vectors.parameters[i]!));
  expect(local.takeChange().every((value) => value === 0)).toBe(true);
});

it('goes on from the merge with its own moments', () => {
  const [kept, fresh] = [new LocalSteps(layout, start, numbers), new LocalSteps(layout, start, numbers)];
  kept.step(gradient(1), 64);
  kept.restart(start, numbers);
  expect(kept.parameters).toEqual(start);
  for (const local of [kept, fresh]) local.step(gradient(2), 64);
  expect(kept.parameters).not.toEqual(fresh.parameters);
});
