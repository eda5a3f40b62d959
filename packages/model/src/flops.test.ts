import { expect, it } from 'vitest';
import { flopsOf } from './flops.ts';
import { cutStages, presetOf } from './presets.ts';

const { shape } = presetOf('nano');
const stages = cutStages(shape, 3);

it('counts two operations for every matrix parameter and token, beside attention', () => {
  // Width 64, keys and values of 32, hidden as the preset says; 64 tokens.
  const matrices = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * shape.hidden;
  const { layers } = stages[0]!;
  expect(flopsOf(shape, stages[0]!, 1, 'forward')).toBe(2 * 64 * layers * (matrices + 2 * 64 * 64));
});

it('charges the head to the last stage, as much for an evaluation as for a forward, and three times as much for a backward', () => {
  const [first, last] = [stages[0]!, stages[2]!];
  expect(flopsOf(shape, last, 1, 'evaluate') - flopsOf(shape, first, 1, 'evaluate')).toBe(2 * 64 * 64 * shape.vocabulary);
  expect(flopsOf(shape, first, 4, 'backward')).toBe(3 * flopsOf(shape, first, 4, 'forward'));
});
