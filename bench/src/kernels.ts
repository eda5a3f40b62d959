/**
 * Our kernels against tfjs's, in one run on one machine: a product of matrices, and a whole training step (forward, backward, update) of
 * the same model by our programs, by tfjs operations behind the same interface, and by plain tfjs autodiff. On wasm, and on WebGPU
 * through Dawn where it finds an adapter.
 */
import { createKernels, type Kernels } from '@starling/kernels';
import { dawnGpu, nodeWasmPath } from '@starling/kernels/node';
import { tf } from '@starling/kernels/reference';
import { presetOf, SoloTrainer, splitMix32 } from '@starling/model';
import { PlainGpt } from './plain-gpt.ts';
import { environment, type Report, type Row } from './report.ts';

const SEED = 7;
/** Steps of each contestant: until so many ms are over, but at least so many. */
const MEASURED_MS = 6_000;
const LEAST = 2;
const SIZE = 512;

type Operations = 'own' | 'tfjs';
type Backend = 'wasm' | 'webgpu';

/** Ms of one call, after one that compiles. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  await work();
  const started = performance.now();
  let done = 0;
  while (done < LEAST || performance.now() - started < MEASURED_MS) {
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

async function open(backend: Backend, operations: Operations): Promise<Kernels | null> {
  if (backend === 'wasm') return createKernels({ backend, operations, wasmPaths: nodeWasmPath() });
  const gpu = await dawnGpu();
  return gpu && createKernels({ backend, operations, gpu });
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

interface Measured {
  tokensPerSecond: number;
  dispatches: number;
  /** Held on the device after a step. */
  bytes: number;
}

function tokensOf(preset: string): { tokens: Int32Array; targets: Int32Array } {
  const { shape, sequences } = presetOf(preset);
  const next = splitMix32(SEED);
  const some = () => Int32Array.from({ length: sequences * shape.context }, () => next() % shape.vocabulary);
  return { tokens: some(), targets: some() };
}

async function ours(kernels: Kernels, preset: string): Promise<Measured> {
  const { shape, sequences, optimizer } = presetOf(preset);
  const batch = tokensOf(preset);
  const solo = new SoloTrainer(kernels, { shape, sequences, seed: SEED, optimizer });
  const step = () => solo.step([batch]);
  const ms = await timed(step);
  const measured = { tokensPerSecond: (1e3 * batch.tokens.length) / ms, dispatches: await dispatches(step), bytes: kernels.memory().bytes };
  solo.dispose();
  return measured;
}

async function plain(preset: string): Promise<Measured> {
  const { shape, sequences, optimizer } = presetOf(preset);
  const { tokens, targets } = tokensOf(preset);
  const before = tf.memory().numBytes;
  const gpt = new PlainGpt(shape, sequences, optimizer.peakLearningRate);
  const step = () => gpt.step(tokens, targets);
  const ms = await timed(step);
  const measured = {
    tokensPerSecond: (1e3 * tokens.length) / ms,
    dispatches: await dispatches(step),
    bytes: tf.memory().numBytes - before,
  };
  gpt.dispose();
  return measured;
}

async function backendRows(backend: Backend, presets: readonly string[]): Promise<Row[]> {
  const rows: Row[] = [];
  const results = new Map<string, Measured>();
  const products = new Map<Operations, number>();
  for (const operations of ['tfjs', 'own'] as const) {
    const kernels = await open(backend, operations);
    if (!kernels) return [];
    if (operations === 'tfjs') rows.push({ metric: `${backend}: ${kernels.adapter}`, value: 1, unit: '' });
    products.set(operations, await matmul(kernels));
    for (const preset of presets) {
      if (operations === 'tfjs') results.set(`plain ${preset}`, await plain(preset));
      results.set(`${operations} ${preset}`, await ours(kernels, preset));
    }
    kernels.close();
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
      rows.push({
        metric: `${backend}, ${preset}: ${words}`,
        value: tokensPerSecond,
        unit: 'tokens/s',
        against: 'plain',
        ratio: tokensPerSecond / base.tokensPerSecond,
      });
      if (count > 0)
        rows.push({
          metric: `${backend}, ${preset}: ${words}, dispatches of a step`,
          value: count,
          unit: '',
          against: 'plain',
          ratio: count / base.dispatches,
        });
      rows.push({ metric: `${backend}, ${preset}: ${words}, held on the device`, value: bytes / 2 ** 20, unit: 'MiB' });
    }
  }
  return rows;
}

/** `only`: presets, separated by commas. */
export async function kernels(only = 'nano,shakespeare'): Promise<Report> {
  const presets = only.split(',');
  const rows = [...(await backendRows('wasm', presets)), ...(await backendRows('webgpu', presets))];
  return { name: 'kernels', environment: environment(), rows };
}
