/**
 * Our kernels against tfjs's, in one run on one machine: a product of matrices, each part of a training step, and the whole step (forward,
 * backward, update) of the same model by our programs, by tfjs operations behind the same interface, by plain tfjs autodiff, and by jax-js.
 * On wasm, and on WebGPU through Dawn where it finds an adapter.
 */
import { execFile } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createKernels, type Kernels, type Precision } from '@starling/kernels';
import { dawnGpu, fileTuningStore, nodeWasmPath } from '@starling/kernels/node';
import { tf } from '@starling/kernels/reference';
import { cutStages, presetOf, SoloTrainer, Stage, splitMix32 } from '@starling/model';
import { JaxGpt, useJaxDevice } from './jax-gpt.ts';
import { PlainGpt } from './plain-gpt.ts';
import { environment, type Report, type Row } from './report.ts';

const SEED = 7;
/** Of each contestant: until so many ms are over, but at least one step after the one that compiles. */
const MEASURED_MS = 4_000;
const SIZE = 512;
/** Parts of a step that are shown, the longest first. */
const PARTS = 12;
const TUNING_MS = 60_000;
/** On one batch, so many steps of jax-js must bring its loss down before its speed counts. */
const TRAINING_STEPS = 5;
/** Nats between its first loss and that of a model which knows nothing yet. */
const FIRST_LOSS_TOLERANCE = 0.3;

type Operations = 'own' | 'tfjs';
type Backend = 'wasm' | 'webgpu';

export interface KernelsOptions {
  presets: readonly string[];
  backends: readonly Backend[];
  /** Measure the ways to compute first, also on a software adapter; what was found is kept. */
  tune: boolean;
  /** `f16`: ours are measured with it, too. */
  precision: Precision;
}

/** Ms of one call, after one that compiles. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  await work();
  const started = performance.now();
  let done = 0;
  while (done === 0 || performance.now() - started < MEASURED_MS) {
    await work();
    done += 1;
  }
  return (performance.now() - started) / done;
}

/** Compute dispatches that one call makes: 0 on the CPU. */
async function dispatches(work: () => Promise<unknown>): Promise<number> {
  const pass = (globalThis as { GPUComputePassEncoder?: { prototype: GPUComputePassEncoder } }).GPUComputePassEncoder?.prototype;
  if (!pass) return 0;
  const { dispatchWorkgroups } = pass;
  let count = 0;
  pass.dispatchWorkgroups = function (this: GPUComputePassEncoder, ...sizes: [number, number?, number?]) {
    count += 1;
    return dispatchWorkgroups.apply(this, sizes);
  };
  try {
    await work();
    return count;
  } finally {
    pass.dispatchWorkgroups = dispatchWorkgroups;
  }
}

async function open(backend: Backend, operations: Operations, tune: boolean, precision: Precision = 'f32'): Promise<Kernels | null> {
  if (backend === 'wasm') return createKernels({ backend, operations, precision, wasmPaths: nodeWasmPath() });
  const gpu = await dawnGpu();
  const store = fileTuningStore(join(homedir(), '.cache', 'starling', 'tuning.json'));
  return (
    gpu && createKernels({ backend, operations, precision, gpu, ...(tune && { tuning: { store, budgetMs: TUNING_MS, software: true } }) })
  );
}

async function matmul(kernels: Kernels): Promise<number> {
  const next = splitMix32(SEED);
  const a = kernels.upload(
    Float32Array.from({ length: SIZE * SIZE }, () => next() / 2 ** 32 - 0.5),
    [SIZE, SIZE],
  );
  const ms = await timed(async () => {
    const product = kernels.matmul(a, a);
    await kernels.download(product);
    kernels.dispose(product);
  });
  kernels.dispose(a);
  return (2 * SIZE ** 3) / (ms * 1e6);
}

interface Speed {
  tokensPerSecond: number;
  dispatches: number;
}

interface Measured extends Speed {
  /** Held on the device after a step: with tfjs, also what it keeps to use again. */
  bytes: number;
}

const held = (): number => {
  const { numBytes, numBytesInGPUAllocated = 0 } = tf.memory() as { numBytes: number; numBytesInGPUAllocated?: number };
  return Math.max(numBytes, numBytesInGPUAllocated);
};

function tokensOf(preset: string): { tokens: Int32Array<ArrayBuffer>; targets: Int32Array<ArrayBuffer> } {
  const { shape, sequences } = presetOf(preset);
  const next = splitMix32(SEED);
  const some = () => Int32Array.from({ length: sequences * shape.context }, () => next() % shape.vocabulary);
  return { tokens: some(), targets: some() };
}

async function ours(kernels: Kernels, preset: string, operations: Operations): Promise<Measured> {
  const { shape, sequences, optimizer } = presetOf(preset);
  const batch = tokensOf(preset);
  const solo = new SoloTrainer(kernels, { shape, sequences, seed: SEED, optimizer });
  const step = () => solo.step([batch]);
  const ms = await timed(step);
  const bytes = kernels.backend === 'webgpu' && operations === 'own' ? kernels.memory().bytes : held();
  const measured = { tokensPerSecond: (1e3 * batch.tokens.length) / ms, dispatches: await dispatches(step), bytes };
  solo.dispose();
  return measured;
}

async function plain(preset: string): Promise<Measured> {
  const { shape, sequences, optimizer } = presetOf(preset);
  const { tokens, targets } = tokensOf(preset);
  const gpt = new PlainGpt(shape, sequences, optimizer.peakLearningRate);
  const step = () => gpt.step(tokens, targets);
  const ms = await timed(step);
  const measured = { tokensPerSecond: (1e3 * tokens.length) / ms, dispatches: await dispatches(step), bytes: held() };
  gpt.dispose();
  return measured;
}

/** Throws why, in words, unless the loss of this batch begins where a model that knows nothing has it, and falls. */
async function checkTraining(step: () => Promise<number>, vocabulary: number): Promise<void> {
  const losses: number[] = [];
  while (losses.length <= TRAINING_STEPS) losses.push(await step());
  const [first, last, expected] = [losses[0]!, losses.at(-1)!, Math.log(vocabulary)];
  if (!(Math.abs(first - expected) < FIRST_LOSS_TOLERANCE)) {
    throw new Error(`its first loss is ${first.toFixed(2)} instead of ${expected.toFixed(2)}`);
  }
  if (!(last < first)) throw new Error(`its loss goes from ${first.toFixed(2)} to ${last.toFixed(2)} in ${TRAINING_STEPS} steps`);
}

/** Or why it has no speed, in words: it may find no device, ask for what the adapter has not, lose it, or compute something else there. */
async function jax(backend: Backend, preset: string): Promise<Speed | string> {
  const { shape, sequences, optimizer } = presetOf(preset);
  const { tokens, targets } = tokensOf(preset);
  try {
    if (!(await useJaxDevice(backend))) return 'it finds no device';
    const gpt = new JaxGpt(shape, sequences, optimizer.peakLearningRate, SEED);
    const step = () => gpt.step(tokens, targets);
    await checkTraining(step, shape.vocabulary);
    const ms = await timed(step);
    const speed = { tokensPerSecond: (1e3 * tokens.length) / ms, dispatches: await dispatches(step) };
    gpt.dispose();
    return speed;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The parts of one backward of the whole model, alone, and their share of the speed of the large product. */
async function parts(kernels: Kernels, preset: string, peak: number): Promise<Row[]> {
  const { shape, sequences } = presetOf(preset);
  const stage = new Stage(kernels, shape, cutStages(shape, 1)[0]!, { sequences });
  await stage.profile('backward'); // compiles
  const times = (await stage.profile('backward')) ?? [];
  stage.dispose();
  return times
    .sort((a, b) => b.ms - a.ms)
    .slice(0, PARTS)
    .flatMap(({ label, count, ms, flops }): Row[] => {
      const metric = `${preset}: ${count} × ${label}`;
      if (flops === 0) return [{ metric, value: ms, unit: 'ms' }];
      const speed = (flops * count) / (ms * 1e6);
      return [
        { metric, value: ms, unit: 'ms' },
        { metric: `${metric}, speed`, value: speed, unit: 'GFLOP/s', against: 'the large product', ratio: speed / peak },
      ];
    });
}

/** JavaScript of one backward of the whole model, measured in a process of its own, in which nothing else is computed. */
async function encoding(preset: string): Promise<Row[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'encoding.ts'), preset]);
  return [{ metric: `${preset}: JavaScript of a backward until it is submitted`, value: Number(stdout), unit: 'ms' }];
}

function jaxRows(contest: string, jaxJs: Speed | string, plain: Speed, own: Speed): Row[] {
  const metric = `${contest}: jax-js`;
  if (typeof jaxJs === 'string') return [{ metric: `${metric} does not train: ${jaxJs}`, value: 0, unit: 'tokens/s' }];
  const { tokensPerSecond: value, dispatches: count } = jaxJs;
  const rows: Row[] = [{ metric, value, unit: 'tokens/s', against: 'plain', ratio: value / plain.tokensPerSecond }];
  if (count > 0) {
    rows.push({ metric: `${metric}, dispatches of a step`, value: count, unit: '', against: 'plain', ratio: count / plain.dispatches });
  }
  const ratio = own.tokensPerSecond / value;
  return [...rows, { metric: `${contest}: ours`, value: own.tokensPerSecond, unit: 'tokens/s', against: 'jax-js', ratio }];
}

/** Ours with operands of products in halves, against ours in float32. */
async function halfRows(backend: Backend, { presets, tune }: KernelsOptions, own: (preset: string) => Measured): Promise<Row[]> {
  const kernels = await open(backend, 'own', tune, 'f16');
  if (!kernels) return [];
  const rows: Row[] = [];
  for (const preset of presets) {
    const { tokensPerSecond, bytes } = await ours(kernels, preset, 'own');
    const base = own(preset);
    const metric = `${backend}, ${preset}: ours in f16`;
    const against = 'ours';
    rows.push(
      { metric, value: tokensPerSecond, unit: 'tokens/s', against, ratio: tokensPerSecond / base.tokensPerSecond },
      { metric: `${metric}, held on the device`, value: bytes / 2 ** 20, unit: 'MiB', against, ratio: bytes / base.bytes },
    );
  }
  kernels.close();
  return rows;
}

async function backendRows(backend: Backend, options: KernelsOptions): Promise<Row[]> {
  const { presets, tune, precision } = options;
  const rows: Row[] = [];
  const results = new Map<string, Measured>();
  const byJax = new Map<string, Speed | string>();
  const products = new Map<Operations, number>();
  const details: Row[] = [];
  for (const operations of ['tfjs', 'own'] as const) {
    const kernels = await open(backend, operations, tune);
    if (!kernels) return [];
    if (operations === 'tfjs') rows.push({ metric: `${backend}: ${kernels.adapter}`, value: 1, unit: '' });
    products.set(operations, await matmul(kernels));
    for (const preset of presets) {
      if (operations === 'tfjs') results.set(`plain ${preset}`, await plain(preset));
      results.set(`${operations} ${preset}`, await ours(kernels, preset, operations));
      if (operations === 'own' && backend === 'webgpu') details.push(...(await parts(kernels, preset, products.get('own')!)));
    }
    kernels.close();
  }
  if (precision === 'f16') details.unshift(...(await halfRows(backend, options, (preset) => results.get(`own ${preset}`)!)));
  for (const preset of presets) {
    byJax.set(preset, await jax(backend, preset));
    if (backend === 'webgpu') details.push(...(await encoding(preset)));
  }
  const [own, tfjs] = [products.get('own')!, products.get('tfjs')!];
  rows.push(
    { metric: `${backend}, product of ${SIZE} × ${SIZE}: tfjs`, value: tfjs, unit: 'GFLOP/s' },
    { metric: `${backend}, product of ${SIZE} × ${SIZE}: ours`, value: own, unit: 'GFLOP/s', against: 'tfjs', ratio: own / tfjs },
  );
  for (const preset of presets) {
    const base = results.get(`plain ${preset}`)!;
    for (const [name, words] of [
      ['plain', 'plain tfjs autodiff'],
      ['tfjs', 'our stage on tfjs operations'],
      ['own', 'ours'],
    ] as const) {
      const { tokensPerSecond, dispatches: count, bytes } = results.get(`${name} ${preset}`)!;
      const compared = (value: number, of: number) => (name === 'plain' ? {} : { against: 'plain', ratio: value / of });
      const metric = `${backend}, ${preset}: ${words}`;
      rows.push({ metric, value: tokensPerSecond, unit: 'tokens/s', ...compared(tokensPerSecond, base.tokensPerSecond) });
      if (count > 0) rows.push({ metric: `${metric}, dispatches of a step`, value: count, unit: '', ...compared(count, base.dispatches) });
      rows.push({ metric: `${metric}, held on the device`, value: bytes / 2 ** 20, unit: 'MiB', ...compared(bytes, base.bytes) });
    }
    rows.push(...jaxRows(`${backend}, ${preset}`, byJax.get(preset)!, base, results.get(`own ${preset}`)!));
  }
  return [...rows, ...details];
}

export async function kernels(options: KernelsOptions): Promise<Report> {
  const rows: Row[] = [];
  for (const backend of options.backends) rows.push(...(await backendRows(backend, options)));
  return { name: 'kernels', environment: environment(), rows };
}
