/** What neighbours send is something that every device computes alike. */
import { LARGEST_CROSSING, type ModelShape, SMALLEST_CROSSING } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { crossingOf } from './crossing.ts';

const WIDTH = 32;
const of = (...numbers: number[]) => Float32Array.from({ length: WIDTH }, (_, i) => numbers[i] ?? 0);

describe.each(['f32', 'f16', 'int8', 'int4'] as const)('as %s', (boundary) => {
  const crossing = crossingOf({ boundary, sequences: 1, model: { context: 1, width: WIDTH } as ModelShape });
  const most = LARGEST_CROSSING[boundary];

  it('magnitudes end at the largest that crosses, and do not jump there', () => {
    for (const x of [most * 0.999, most * 1.01, 1e6, 1e30]) {
      const read = crossing.unpack(crossing.pack(of(x, -x)));
      expect(read[0]! / most).toBeCloseTo(1, 2);
      expect(read[1]! / most).toBeCloseTo(-1, 2);
      expect(Math.max(...read.map(Math.abs))).toBeLessThanOrEqual(crossing.most);
    }
    expect(crossing.most).toBeLessThan(most * 1.01);
    const usual = of(1, -0.5, 0.25);
    expect(crossing.pack(usual)).toEqual(crossing.pack(usual.slice()));
    expect(crossing.unpack(crossing.pack(usual))[0]).toBeCloseTo(1, 2);
  });

  it('what is no number is not made one', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 3e38]) {
      const packed = crossing.pack(of(1, bad));
      if (boundary === 'f32') expect(crossing.unpack(packed)[1]).toBe(Math.fround(bad));
      else expect(() => crossing.unpack(packed)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
    }
  });

  it('what devices may or may not round to 0 is computed on as 0, and is still said', () => {
    const tiny = of(2 ** -33, -(2 ** -40), 2 ** -140);
    const packed = crossing.pack(tiny);
    expect(crossing.input(packed).every((value) => value === 0)).toBe(true);
    if (boundary === 'f32') expect(crossing.unpack(packed)).toEqual(tiny);
    const smallest = of(2 * SMALLEST_CROSSING);
    if (boundary !== 'f16') expect(crossing.input(crossing.pack(smallest))[0]).toBeGreaterThan(SMALLEST_CROSSING);
    const usual = crossing.pack(of(1, -0.5));
    expect(crossing.input(usual)).toEqual(crossing.unpack(usual));
  });
});
