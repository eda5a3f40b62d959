import { describe, expect, it } from 'vitest';
import type { Definition } from '../kernels.ts';
import { flatOf, placeholder, plan, type Traced, trace } from './plan.ts';
import type { Storage } from './value.ts';

const anglesOf = ({ context, headWidth }: { context: number; headWidth: number }) => placeholder([context, headWidth]);

/** Two layers of products and norms, back and forth. */
const definition: Definition = {
  inputs: { x: { shape: [32, 16], dtype: 'float32' }, dy: { shape: [32, 16], dtype: 'float32' } },
  body(operations, { x, dy }) {
    const [weight, gain] = [placeholder([16, 16]), placeholder([16])];
    const first = operations.rmsNorm(x!, gain);
    const hidden = operations.matmul(first.y, weight);
    const second = operations.rmsNorm(hidden, gain);
    operations.matmul(second.y, weight); // nobody needs it
    const back = operations.rmsNormBackward(hidden, gain, second.inverse, dy!);
    const dhidden = operations.matmul(back.dx, weight, false, true, dy!);
    return { results: { dhidden }, kept: [back.dgain, operations.matmul(first.y, back.dx, true, false)] };
  },
};

/** Every storage that some step touches while another holds it in the same buffer. */
function clashes({ inputs, results, steps }: Traced, slotOf: ReadonlyMap<Storage, number>): number {
  const lives = new Map<Storage, [from: number, to: number]>();
  const touch = (storage: Storage, at: number) => {
    if (storage.place.kind === 'temporary') lives.set(storage, [lives.get(storage)?.[0] ?? at, at]);
  };
  for (const { storage } of Object.values(inputs)) touch(storage, -1);
  for (const [at, { shader }] of steps.entries()) for (const { value } of shader.bindings) touch(value.storage, at);
  for (const { storage } of Object.values(results)) touch(storage, steps.length);
  const all = [...lives];
  return all.flatMap(([storage, [from, to]], i) =>
    all.slice(i + 1).filter(([other, [start, end]]) => slotOf.get(storage) === slotOf.get(other) && from <= end && start <= to),
  ).length;
}

describe('a plan', () => {
  it('leaves out what nobody needs', () => {
    const { steps } = trace(definition, anglesOf, null);
    expect(steps.filter(({ step }) => step.label.startsWith('matmul'))).toHaveLength(3);
  });

  it('gives no buffer to two values at a time, and buffers of the size that is needed', () => {
    const traced = trace(definition, anglesOf, null);
    const { slots, slotOf, peak } = plan([traced]);
    expect(clashes(traced, slotOf)).toBe(0);
    for (const [storage, slot] of slotOf) expect(slots[slot]).toBeGreaterThanOrEqual(storage.bytes);
    expect(slots.reduce((a, b) => a + b)).toBeLessThan(1.5 * peak);
    expect([...slotOf.keys()].reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(slots.reduce((a, b) => a + b));
  });

  it('shares buffers between programs', () => {
    const [one, two] = [trace(definition, anglesOf, null), trace(definition, anglesOf, null)];
    expect(plan([one, two]).slots).toEqual(plan([one]).slots);
  });

  it('lets lie as halves what only products read, and nothing else', () => {
    const { inputs, results, kept, steps } = trace(definition, anglesOf, 'packed');
    const halves = new Set(steps.flatMap(({ shader }) => shader.bindings).map(({ value }) => value.storage));
    for (const storage of halves) if (storage.halves === null) halves.delete(storage);
    // Both norms' outputs, of which nobody needs the second, and the gradient of the second's input, of 32 × 16.
    expect([...halves].map(({ bytes }) => bytes)).toEqual([1024, 1024, 1024]);
    for (const { storage } of [...Object.values(inputs), ...Object.values(results), ...kept]) expect(storage.halves).toBeNull();
    expect(plan([trace(definition, anglesOf, 'f16')]).peak).toBeLessThan(plan([trace(definition, anglesOf, null)]).peak);
  });

  it('cuts a flat vector where the largest buffer ends, and aligns its parts', () => {
    const { chunks, places, bytes } = flatOf([40, 400, 240, 4], 700);
    expect(places).toEqual([
      { chunk: 0, offset: 0, bytes: 40 },
      { chunk: 1, offset: 0, bytes: 400 },
      { chunk: 2, offset: 0, bytes: 240 },
      { chunk: 2, offset: 256, bytes: 4 },
    ]);
    expect([chunks, bytes]).toEqual([[256, 512, 512], 1280]);
  });
});
