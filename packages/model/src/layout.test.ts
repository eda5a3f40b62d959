import { describe, expect, it } from 'vitest';
import { initialParameters } from './initial.ts';
import { layoutOf } from './layout.ts';
import { cutStages, presetOf } from './presets.ts';

const { shape } = presetOf('nano');
const counts = Array.from({ length: shape.layers }, (_, i) => i + 1);

describe('a cut', () => {
  it.each(counts)('in %i covers every layer once, in order and as evenly as it goes', (count) => {
    const stages = cutStages(shape, count);
    expect(stages.flatMap(({ firstLayer, layers }) => Array.from({ length: layers }, (_, i) => firstLayer + i))).toEqual(
      Array.from({ length: shape.layers }, (_, i) => i),
    );
    const sizes = stages.map(({ layers }) => layers);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    expect(stages.map(({ index, isFirst, isLast }) => [index, isFirst, isLast])).toEqual(
      sizes.map((_, i) => [i, i === 0, i === count - 1]),
    );
  });

  it.each(counts)('in %i has the layout and the initial parameters of the uncut model, piece by piece', (count) => {
    const [whole] = cutStages(shape, 1);
    const uncut = layoutOf(shape, whole!);
    let start = 0;
    const pieces = cutStages(shape, count).map((stage) => {
      const layout = layoutOf(shape, stage);
      const entries = layout.entries.map((entry) => ({ ...entry, offset: entry.offset + start }));
      start += layout.size;
      return { entries, parameters: initialParameters(shape, stage, 7) };
    });
    expect(pieces.flatMap(({ entries }) => entries)).toEqual(uncut.entries);
    expect(start).toBe(uncut.size);
    expect(Buffer.concat(pieces.map(({ parameters }) => new Uint8Array(parameters.buffer)))).toEqual(
      Buffer.from(initialParameters(shape, whole!, 7).buffer),
    );
  });

  it.each([0, -1, 1.5, Number.NaN, shape.layers + 1])('in %d is refused', (count) => {
    expect(() => cutStages(shape, count)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});

describe('a layout', () => {
  it('leaves no gap and no overlap, and decays matrices alone', () => {
    const { entries, size } = layoutOf(shape, cutStages(shape, 1)[0]!);
    let end = 0;
    for (const { offset, size: length, shape: dimensions, decay } of entries) {
      expect(offset).toBe(end);
      expect(length).toBe(dimensions.reduce((n, dimension) => n * dimension, 1));
      expect(decay).toBe(dimensions.length === 2);
      end += length;
    }
    expect(end).toBe(size);
  });

  it('has as many parameters as the formula says', () => {
    const { vocabulary, width, layers, heads, keyValueHeads, hidden } = shape;
    const attention = 2 * width * width + 2 * width * ((width / heads) * keyValueHeads);
    const perLayer = attention + 3 * width * hidden + 2 * width;
    expect(layoutOf(shape, cutStages(shape, 1)[0]!).size).toBe(2 * vocabulary * width + layers * perLayer + width);
  });
});

describe('a preset', () => {
  it('is refused by name, with the names there are', () => {
    expect(() => presetOf('giant')).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(/giant.*nano or shakespeare/) }),
    );
  });
});
