/**
 * What every encoding, and every way to wait less, costs in loss: one model, one text, one budget of tokens, and one row for each variant.
 * It takes hours. With `json`, every variant is written there when it ends, and those found there already are not run again.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { crossingOf } from '@starling/codecs';
import { createKernels, type Kernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import { DILOCO, type Preset, presetOf, SoloTrainer, SPARSE_LOCO, type TokenBatch } from '@starling/model';
import { type Corpus, loadCorpus, Sampler } from '@starling/server/corpus';
import { environment, type Report, type Row } from './report.ts';
import { PLAIN, type SwarmVariant, shapeOf, VirtualSwarm } from './virtual-swarm.ts';

const STAGES = 4;
const REPLICAS = 2;
/** Sequences of an iteration, over all replicas: nanoGPT's budget on a CPU is 2,000 iterations of 12 × 64 tokens. */
const SEQUENCES = 12;
/** nanoGPT's README (github.com/karpathy/nanoGPT, "I only have a macbook"): validation loss of a model of this size, at this budget. */
const PUBLISHED = 1.88;
const SEED = 1;
/** A line is printed every so many iterations, with the loss on some of the held-out text. */
const PRINT_EVERY = 100;
const PRINT_BATCHES = 8;

export const VARIANTS: Readonly<Record<string, SwarmVariant>> = {
  f32: PLAIN,
  f16: { ...PLAIN, boundary: 'f16' },
  int8: { ...PLAIN, boundary: 'int8' },
  int4: { ...PLAIN, boundary: 'int4' },
  'gradient-int8': { ...PLAIN, gradient: 'int8', merged: 'bf16' },
  'gradient-topk2bit': { ...PLAIN, gradient: 'topk2bit', merged: 'bf16' },
  'subspace-32': { ...PLAIN, squeeze: { kind: 'subspace', rank: 32 } },
  'subspace-32+int8': { ...PLAIN, boundary: 'int8', squeeze: { kind: 'subspace', rank: 32 } },
  'subspace-16+int8': { ...PLAIN, boundary: 'int8', squeeze: { kind: 'subspace', rank: 16 } },
  'subspace-8+int4': { ...PLAIN, boundary: 'int4', squeeze: { kind: 'subspace', rank: 8 } },
  'bottleneck-32': { ...PLAIN, squeeze: { kind: 'bottleneck', rank: 32 } },
  'bottleneck-32+int8': { ...PLAIN, boundary: 'int8', squeeze: { kind: 'bottleneck', rank: 32 } },
  overlap: { ...PLAIN, overlap: true },
  'diloco-8': { ...PLAIN, innerSteps: 8, outer: DILOCO },
  'sparse-8': { ...PLAIN, innerSteps: 8, outer: SPARSE_LOCO, gradient: 'topk2bit', merged: 'bf16' },
  'sparse-32': { ...PLAIN, innerSteps: 32, outer: SPARSE_LOCO, gradient: 'topk2bit', merged: 'bf16' },
  'int8-sparse-8': { ...PLAIN, boundary: 'int8', innerSteps: 8, outer: SPARSE_LOCO, gradient: 'topk2bit', merged: 'bf16' },
};
const SOLO = 'one-process';

export interface ConvergenceOptions {
  /** Text to learn from: a path. */
  corpus: string;
  iterations: number;
  /** Names of variants; null: all. */
  only: readonly string[] | null;
  json: string | null;
}

/** What is kept of a variant. */
interface Outcome {
  variant: string;
  iterations: number;
  /** Mean loss in nats per token over all of the held-out text, at the end. */
  validation: number;
  /** The same, over a part of it, every `PRINT_EVERY` iterations. */
  curve: number[];
  /** Bytes of a token at one boundary, both ways. */
  boundaryBytes: number;
  /** Bytes of merges, of all miners of all stages, for a token. */
  mergeBytes: number;
  cpuSeconds: number;
}

interface Trainer {
  step(microbatches: readonly TokenBatch[]): Promise<number>;
  evaluate(microbatches: readonly TokenBatch[]): Promise<number>;
  dispose(): void;
}

export async function convergence({ corpus: path, iterations, only, json }: ConvergenceOptions): Promise<Report> {
  const names = [SOLO, ...Object.keys(VARIANTS)];
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown) throw new Error(`There is no variant "${unknown}"; choose of ${names.join(', ')}.`);
  const corpus = await loadCorpus(path);
  const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
  const outcomes: Outcome[] = json && existsSync(json) ? JSON.parse(readFileSync(json, 'utf8')).outcomes : [];
  const report = () => reportOf(outcomes.toSorted((a, b) => names.indexOf(a.variant) - names.indexOf(b.variant)));
  for (const name of only ?? names) {
    if (outcomes.some((known) => known.variant === name && known.iterations === iterations)) continue;
    outcomes.push(await train(kernels, corpus, name, iterations));
    if (json) writeFileSync(json, `${JSON.stringify({ ...report(), outcomes }, null, 2)}\n`);
  }
  kernels.close();
  return report();
}

async function train(kernels: Kernels, corpus: Corpus, name: string, iterations: number): Promise<Outcome> {
  const { microbatchesPerStep: _, ...preset } = presetOf('shakespeare');
  const variant = VARIANTS[name];
  const replicas = variant ? REPLICAS : 1;
  const sequences = SEQUENCES / replicas;
  const cut: Preset = { ...preset, sequences, microbatchesPerStep: replicas };
  const swarm = variant ? new VirtualSwarm(kernels, { preset: cut, stages: STAGES, replicas, seed: SEED, variant }) : null;
  const { shape, optimizer } = preset;
  const trainer: Trainer = swarm ?? new SoloTrainer(kernels, { shape, sequences, seed: SEED, optimizer });
  const sampler = new Sampler(corpus, { sequences, context: shape.context, seed: SEED });
  const held = heldOut(corpus, sequences, shape.context);
  const sample = held.filter((_, i) => i % Math.ceil(held.length / (PRINT_BATCHES * replicas)) === 0);
  const curve: number[] = [];
  const started = process.cpuUsage();
  let recent = 0;
  for (let iteration = 0; iteration < iterations; iteration++) {
    recent += await trainer.step(Array.from({ length: replicas }, (_, i) => sampler.train(iteration * replicas + i)));
    if ((iteration + 1) % PRINT_EVERY !== 0) continue;
    curve.push(await trainer.evaluate(sample));
    console.log(`${name}, ${iteration + 1}: training ${(recent / PRINT_EVERY).toFixed(4)}, validation about ${curve.at(-1)!.toFixed(4)}`);
    recent = 0;
  }
  const validation = await trainer.evaluate(held);
  trainer.dispose();
  const { user, system } = process.cpuUsage(started);
  const model = variant && shapeOf(shape, variant, SEED);
  const tokenBytes = model ? crossingOf({ boundary: variant.boundary, sequences, model }).tokenBytes : 0;
  const mergeBytes = swarm ? swarm.traffic.merge / swarm.traffic.tokens : 0;
  // The tokens, a byte each, travel with a subspace.
  const boundaryBytes = 2 * tokenBytes + Number(model?.squeeze?.kind === 'subspace');
  return { variant: name, iterations, validation, curve, boundaryBytes, mergeBytes, cpuSeconds: (user + system) / 1e6 };
}

/** All of the held-out text, as far as it fills microbatches. */
function heldOut({ heldOut: bytes }: Corpus, sequences: number, context: number): TokenBatch[] {
  const size = sequences * context;
  return Array.from({ length: Math.floor((bytes.length - 1) / size) }, (_, i) => ({
    tokens: Int32Array.from(bytes.subarray(i * size, (i + 1) * size)),
    targets: Int32Array.from(bytes.subarray(i * size + 1, (i + 1) * size + 1)),
  }));
}

function reportOf(outcomes: readonly Outcome[]): Report {
  const { width } = presetOf('shakespeare').shape;
  const plain = outcomes.find(({ variant }) => variant === 'f32');
  const rows = outcomes.flatMap(({ variant, validation, boundaryBytes, mergeBytes, cpuSeconds }): Row[] => {
    const against = variant === SOLO || !plain ? { against: 'nanoGPT', base: PUBLISHED } : { against: 'f32', base: plain.validation };
    const loss = { metric: `${variant}: validation loss`, value: validation, unit: 'nats', against: against.against };
    const rows: Row[] = [{ ...loss, ratio: validation / against.base }];
    if (variant !== SOLO) {
      const full = { against: 'f32', ratio: (8 * width) / boundaryBytes };
      rows.push({ metric: `${variant}: a boundary, both ways`, value: boundaryBytes, unit: 'bytes/token', ...full });
      rows.push({ metric: `${variant}: against bf16`, value: (4 * width) / boundaryBytes, unit: '× fewer bytes' });
      rows.push({ metric: `${variant}: merges`, value: mergeBytes, unit: 'bytes/token' });
    }
    return [...rows, { metric: `${variant}: processor time`, value: cpuSeconds, unit: 's' }];
  });
  const swarm = `${STAGES} stages × ${REPLICAS}`;
  return { name: 'convergence', environment: { ...environment(), preset: 'shakespeare', swarm, backend: 'wasm' }, rows };
}
