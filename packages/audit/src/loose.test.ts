/** Honest miners on GPUs that nobody has measured are within the limits: even the least exact one that WGSL allows is. */
import { createKernels } from '@starling/kernels';
import { cutStages, presetOf } from '@starling/model';
import { BOUNDARIES } from '@starling/protocol';
import { afterAll, expect, it } from 'vitest';
import type { AuditedRun } from './evidence.ts';
import { compareAll } from './judge.ts';
import { limitsFor } from './limits.ts';
import { LOOSENESSES, loosen } from './loose.ts';
import { ReplayThread } from './node.ts';
import { Replayer } from './replay.ts';
import { THRESHOLDS } from './thresholds.ts';
import { evidenceOf, Rehearsal, ruledText } from './zoo/index.ts';

const exact = new ReplayThread('wasm');
afterAll(() => exact.close());

const { shape, optimizer } = presetOf('pico');
const textOf = (length: number) => (cursor: number) => ruledText(length, cursor);
/** To this root mean square. */
const scaled = (x: Float32Array, size: number) => {
  const now = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
  return x.map((value) => (value / now) * size);
};

/** The farthest of its limit, of all comparisons of some steps. */
async function farthest(
  loose: Awaited<ReturnType<typeof createKernels>>,
  preset: string,
  written: Pick<AuditedRun, 'boundary' | 'precision'>,
  steps: number,
) {
  const { shape, optimizer } = presetOf(preset);
  const run: AuditedRun = { model: shape, stages: cutStages(shape, 3), sequences: 1, ...written, gradient: 'f32' };
  const text = (cursor: number) => ruledText(shape.context, cursor);
  const rehearsal = new Rehearsal({ run, seed: 5, optimizer, microbatchesPerStep: 4, text }, (of, work) => exact.replay(of, work));
  const replayer = new Replayer(loose, run);
  const limits = limitsFor(THRESHOLDS, run);
  const shares: number[] = [];
  for (let step = 0; step < steps; step++) {
    for (const work of await rehearsal.step()) {
      const evidence = await evidenceOf(work, await replayer.replay(work));
      for (const { quantity, distance } of compareAll(run, evidence, await exact.replay(run, work))) {
        const { relativeL2, cosineDistance } = limits[quantity];
        shares.push(distance.relativeL2 / relativeL2, distance.cosineDistance / (cosineDistance || Number.MIN_VALUE));
      }
    }
  }
  replayer.dispose();
  return { most: Math.max(...shares), mean: shares.reduce((sum, share) => sum + share, 0) / shares.length };
}

it.each(LOOSENESSES)('whose functions are off by all that is allowed: %s', async (looseness) => {
  const kernels = await createKernels({ backend: 'cpu' });
  const before = await farthest(kernels, 'pico', { boundary: 'f32' }, 1);
  const tighten = loosen(looseness);
  const after = await farthest(kernels, 'pico', { boundary: 'f32' }, 1);
  expect(after.mean, 'it gives other numbers than the backend that it is made from').not.toBe(before.mean);
  const kinds = [...BOUNDARIES.map((boundary) => ({ boundary })), { boundary: 'f32', precision: 'f16' } as const];
  for (const written of kinds) {
    const { most } = await farthest(kernels, 'pico', written, 4);
    expect(most, JSON.stringify(written)).toBeLessThan(1);
  }
  tighten();
});

it('whatever sizes its neighbours’ tensors are scaled to', async () => {
  const run: AuditedRun = { model: shape, stages: cutStages(shape, 3), sequences: 1, boundary: 'f32', gradient: 'f32' };
  const rehearsal = new Rehearsal({ run, seed: 5, optimizer, microbatchesPerStep: 2, text: textOf(shape.context) }, (of, work) =>
    exact.replay(of, work),
  );
  await rehearsal.step();
  const [, middle] = await rehearsal.step();
  const kernels = await createKernels({ backend: 'cpu' });
  const tighten = loosen('either');
  const replayer = new Replayer(kernels, run);
  for (const part of ['input', 'upstream'] as const) {
    for (let power = -44; power <= 5; power += 3.5) {
      const leases = middle!.leases.map((lease) => ({ ...lease, [part]: lease[part] && scaled(lease[part] as Float32Array, 10 ** power) }));
      const work = { ...middle!, leases };
      const evidence = await evidenceOf(work, await replayer.replay(work));
      const verdict = await exact.audit(run, evidence, limitsFor(THRESHOLDS, run));
      expect(verdict, `${part} of 1e${power}: ${verdict.finding}`).toMatchObject({ outcome: 'passed' });
      expect(verdict, `${part} of 1e${power}: ${verdict.finding}`).not.toHaveProperty('unverified');
    }
  }
  replayer.dispose();
  tighten();
});
