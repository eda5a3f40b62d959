import { parentPort, workerData } from 'node:worker_threads';
import { createKernels, type Kernels } from '@starling/kernels';
import { dawnGpu, nodeWasmPath } from '@starling/kernels/node';
import { SwarmError } from '@starling/protocol';
import { audit } from './audit.ts';
import type { AuditedRun } from './evidence.ts';
import type { ReplayAnswer, ReplayBackend, ReplayRequest } from './node.ts';
import { Replayer } from './replay.ts';
import { kernelOutputs } from './single-kernels.ts';

async function kernelsOf(name: ReplayBackend): Promise<Kernels> {
  const [backend, tfjs] = name.split('-') as ['wasm' | 'cpu' | 'webgpu', 'tfjs'?];
  const operations = tfjs ?? 'own';
  if (backend !== 'webgpu') return createKernels({ backend, operations, wasmPaths: nodeWasmPath() });
  const gpu = await dawnGpu();
  if (!gpu) throw new SwarmError('WEBGPU_UNAVAILABLE', 'Dawn found no Vulkan driver.');
  return createKernels({ backend, operations, gpu });
}

const kernels = kernelsOf((workerData as { backend: ReplayBackend }).backend);
kernels.catch(() => {}); // every request says why
/** Of the run that was audited last. */
let last: { key: string; replayer: Replayer } | null = null;

async function replayerOf(run: AuditedRun): Promise<Replayer> {
  const key = JSON.stringify([run.model, run.stages, run.sequences, run.boundary, run.precision]);
  if (last?.key === key) return last.replayer;
  const replayer = new Replayer(await kernels, run);
  last?.replayer.dispose();
  last = { key, replayer };
  return replayer;
}

async function answer(request: ReplayRequest): Promise<ReplayAnswer> {
  const { id } = request;
  try {
    if (request.type === 'adapter') return { id, adapter: (await kernels).adapter };
    if (request.type === 'kernels')
      return { id, outputs: await kernelOutputs(await kernels, request.shape, request.sequences, request.seed) };
    const { run } = request;
    const replayer = await replayerOf(run);
    if (request.type === 'replay') return { id, replayed: await replayer.replay(request.work) };
    return { id, verdict: await audit(replayer, run, request.evidence, request.limits) };
  } catch (error) {
    return { id, error: SwarmError.from(error, 'BACKEND_FAILED').toWire() };
  }
}

let queue: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: ReplayRequest) => {
  queue = queue.then(async () => parentPort!.postMessage(await answer(request)));
});
