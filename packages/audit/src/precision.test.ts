/** Honest miners of a run in f16 pass, whatever they and the validator compute with and whatever their neighbours send; lies do not. */
import type { Vector } from '@starling/codecs';
import { dawnGpu } from '@starling/kernels/node';
import { presetOf } from '@starling/model';
import { BOUNDARIES } from '@starling/protocol';
import { afterAll, expect, it } from 'vitest';
import type { AuditedRun } from './evidence.ts';
import { RUN } from './for-tests.ts';
import { judge } from './judge.ts';
import { limitsFor } from './limits.ts';
import { ReplayThread } from './node.ts';
import type { Replayed } from './replay.ts';
import { THRESHOLDS } from './thresholds.ts';
import { evidenceOf, Rehearsal, ruledText } from './zoo/index.ts';

const { shape, optimizer } = presetOf('pico');
const validator = new ReplayThread('wasm');
const tfjs = new ReplayThread('wasm-tfjs');
const miners = (await dawnGpu()) ? [tfjs, new ReplayThread('cpu'), new ReplayThread('webgpu')] : [tfjs, new ReplayThread('cpu')];
afterAll(() => Promise.all([validator, ...miners].map((thread) => thread.close())));

/** Of the second step, by stage. */
async function worksOf(run: AuditedRun) {
  const text = (cursor: number) => ruledText(shape.context, cursor);
  const rehearsal = new Rehearsal({ run, seed: 3, optimizer, microbatchesPerStep: 2, text }, (of, work) => validator.replay(of, work));
  await rehearsal.step();
  return rehearsal.step();
}

const scale = (x: Vector, by: number) => x.map((value) => by * value);
const LIES: Record<string, (sent: Replayed) => unknown> = {
  'a gradient that is off by a fiftieth': (sent) => Object.assign(sent, { gradient: scale(sent.gradient!, 1.02) }),
  'a loss that is off by a thousandth': ({ outcomes }) => outcomes.map((one) => Object.assign(one, { lossSum: one.lossSum! * 1.001 })),
  'outputs that are off by a twentieth': ({ outcomes }) =>
    outcomes.map((one) => Object.assign(one, { output: scale(one.output as Vector, 1.05) })),
};

it.each(BOUNDARIES)('with boundary %s', { timeout: 240_000 }, async (boundary) => {
  const run = { ...RUN, sequences: 1, boundary, precision: 'f16' } as const;
  const limits = limitsFor(THRESHOLDS, run);
  for (const work of await worksOf(run)) {
    for (const miner of miners) {
      const done = await miner.replay(run, work);
      const { outcome, finding, unverified } = await validator.audit(run, await evidenceOf(work, done), limits);
      expect({ outcome, unverified }, `${miner.backend}: ${finding}`).toEqual({ outcome: 'passed' });
      for (const [name, lie] of Object.entries(LIES)) {
        const sent = structuredClone(done);
        if (name.startsWith('a loss') && !sent.outcomes.every(({ lossSum }) => lossSum !== null)) continue;
        if (name.startsWith('outputs') && !sent.outcomes.every(({ output }) => output instanceof Float32Array)) continue;
        lie(sent);
        const verdict = await validator.audit(run, await evidenceOf(work, sent), limits);
        expect(verdict.outcome, `${miner.backend}, ${name}: ${verdict.finding}`).toBe('failed');
      }
    }
  }
});

it('blames nobody for inputs so small that few halves are left for them', { timeout: 240_000 }, async () => {
  const run = { ...RUN, sequences: 1, precision: 'f16' } as const;
  const limits = limitsFor(THRESHOLDS, run);
  const [, middle] = await worksOf(run);
  const small = (x: Vector) => scale(x, 1e-8 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length));
  const work = { ...middle!, leases: middle!.leases.map((lease) => ({ ...lease, input: small(lease.input as Vector) })) };
  const evidence = await evidenceOf(work, await tfjs.replay(run, work));
  expect(judge(run, evidence, await validator.replay(run, work), limits).outcome, 'its length alone would condemn it').toBe('failed');
  const verdict = await validator.audit(run, evidence, limits);
  expect(verdict.outcome, verdict.finding).toBe('passed');
  expect(verdict.unverified).toBeDefined();
});
