/** Honest miners of a run in f16 are within its limits, whatever they and the validator compute with, and a gradient that is off by a fiftieth is not. */
import { dawnGpu } from '@starling/kernels/node';
import { presetOf } from '@starling/model';
import { BOUNDARIES } from '@starling/protocol';
import { afterAll, expect, it } from 'vitest';
import { RUN } from './for-tests.ts';
import { judge } from './judge.ts';
import { limitsFor } from './limits.ts';
import { ReplayThread } from './node.ts';
import { THRESHOLDS } from './thresholds.ts';
import { evidenceOf, Rehearsal, ruledText } from './zoo/index.ts';

const { shape, optimizer } = presetOf('pico');
const validator = new ReplayThread('wasm');
const miners = (await dawnGpu()) ? [new ReplayThread('cpu'), new ReplayThread('webgpu')] : [new ReplayThread('cpu')];
afterAll(() => Promise.all([validator, ...miners].map((thread) => thread.close())));

it.each(BOUNDARIES)('with boundary %s', { timeout: 240_000 }, async (boundary) => {
  const run = { ...RUN, sequences: 1, boundary, precision: 'f16' } as const;
  const text = (cursor: number) => ruledText(shape.context, cursor);
  const rehearsal = new Rehearsal({ run, seed: 3, optimizer, microbatchesPerStep: 2, text }, (of, work) => validator.replay(of, work));
  await rehearsal.step();
  const limits = limitsFor(THRESHOLDS, run);
  for (const work of await rehearsal.step()) {
    const replayed = await validator.replay(run, work);
    for (const miner of miners) {
      const done = await miner.replay(run, work);
      const { outcome, finding } = judge(run, await evidenceOf(work, done), replayed, limits);
      expect(outcome, `${miner.backend}: ${finding}`).toBe('passed');
      const larger = { ...done, gradient: done.gradient!.map((slope) => 1.02 * slope) };
      expect(judge(run, await evidenceOf(work, larger), replayed, limits).outcome).toBe('failed');
    }
  }
});
