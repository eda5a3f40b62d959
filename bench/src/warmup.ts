/**
 * Whether where a run of `nano` ends depends on its first steps: by peak rate and steps of warm-up, a run whole, and three in which the first
 * steps left out a third of their microbatches, as they do where a miner leaves or is banned.
 */
import { createKernels, type Kernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import { cutStages, presetOf, SoloTrainer } from '@starling/model';
import { type Corpus, loadCorpus, Sampler } from '@starling/server/corpus';
import { environment, type Report, type Row } from './report.ts';

const PRESET = 'nano';
const STAGES = 3;
const SEED = 1;
const SEQUENCES = 3;
const MICROBATCHES = 6;
/** Steps that leave something out. */
const FIRST = 4;
/** A step's loss is held against the mean of so many before it. */
const WINDOW = 8;
const EARLY = 30;
/** The preset's is among them. */
const SCHEDULES: readonly { peak: number; warmup: number }[] = [
  { peak: 4e-3, warmup: 10 },
  { peak: 2e-3, warmup: 10 },
  { peak: 4e-3, warmup: 40 },
  { peak: 4e-3, warmup: 100 },
  { peak: 2e-3, warmup: 60 },
];

interface Ended {
  /** Nats per token on held-out text, after `EARLY` steps and at the end. */
  early: number;
  validation: number;
  /** The most by which one step's loss was above the mean of those before it, nats. */
  astray: number;
}

export async function warmup(steps: number): Promise<Report> {
  const corpus = await loadCorpus();
  const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
  const rows: Row[] = [];
  for (const { peak, warmup } of SCHEDULES) {
    const runs: Ended[] = [];
    for (const third of [null, 0, 1, 2]) runs.push(await train(kernels, corpus, { peak, warmup, steps, third }));
    const name = `peak ${peak}, ${warmup} steps of warm-up`;
    const most = (of: (run: Ended) => number) => Math.max(...runs.map(of));
    rows.push(
      ...runs.map(
        ({ validation: value }, i): Row => ({ metric: `${name}: ${i === 0 ? 'whole' : `without third ${i}`}`, value, unit: 'nats' }),
      ),
      { metric: `${name}: most a step went astray`, value: most(({ astray }) => astray), unit: 'nats' },
      { metric: `${name}: worst after ${EARLY} steps`, value: most(({ early }) => early), unit: 'nats' },
    );
  }
  kernels.close();
  return { name: 'warmup', environment: { ...environment(), preset: PRESET, steps, corpus: corpus.name, backend: 'wasm' }, rows };
}

/** `third`: of the microbatches of the first steps, which is left out; null: none. */
async function train(
  kernels: Kernels,
  corpus: Corpus,
  { peak, warmup, steps, third }: { peak: number; warmup: number; steps: number; third: number | null },
): Promise<Ended> {
  const { shape, optimizer: preset } = presetOf(PRESET);
  const optimizer = { ...preset, peakLearningRate: peak, minimumLearningRate: peak / 10, warmupSteps: warmup };
  const trainer = new SoloTrainer(kernels, { shape, sequences: SEQUENCES, seed: SEED, optimizer, clipGroups: cutStages(shape, STAGES) });
  const sampler = new Sampler(corpus, { sequences: SEQUENCES, context: shape.context, seed: SEED });
  const heldOut = Array.from({ length: sampler.validationMicrobatches }, (_, i) => sampler.validation(i));
  const losses: number[] = [];
  let astray = 0;
  let early = Number.NaN;
  for (let step = 0; step < steps; step++) {
    const batch = Array.from({ length: MICROBATCHES }, (_, i) => sampler.train(step * MICROBATCHES + i));
    const loss = await trainer.step(step < FIRST ? batch.filter((_, i) => Math.floor((3 * i) / MICROBATCHES) !== third) : batch);
    const before = losses.slice(-WINDOW);
    if (before.length === WINDOW) astray = Math.max(astray, loss - before.reduce((sum, one) => sum + one) / WINDOW);
    losses.push(loss);
    if (step + 1 === EARLY) early = await trainer.evaluate(heldOut);
  }
  const validation = await trainer.evaluate(heldOut);
  trainer.dispose();
  return { early, validation, astray };
}
