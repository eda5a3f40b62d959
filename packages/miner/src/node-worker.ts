import { parentPort, workerData } from 'node:worker_threads';
import { createKernels } from '@starling/kernels';
import { dawnGpu, nodeWasmPath } from '@starling/kernels/node';
import { SwarmError } from '@starling/protocol';
import { Miner } from './miner.ts';
import type { NodeMinerMessage, NodeMinerOptions } from './node.ts';

const { url, name, backend } = workerData as NodeMinerOptions;
const post = (message: NodeMinerMessage) => parentPort!.postMessage(message);
const sessions = new Map<string, string>();

const miner = new Miner(
  { url, name, backend },
  {
    createKernels: async (wanted) => {
      if (wanted === 'wasm') return createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
      const gpu = await dawnGpu();
      if (!gpu) throw new SwarmError('WEBGPU_UNAVAILABLE', 'Dawn found no Vulkan driver.');
      return createKernels({ backend: 'webgpu', gpu });
    },
    storage: {
      get: async (key) => sessions.get(key) ?? null,
      set: async (key, value) => void sessions.set(key, value),
    },
  },
);
miner.onState((state) => post({ type: 'state', state }));
parentPort!.once('message', async () => {
  await miner.stop('The operator stopped it.');
  post({ type: 'stopped' });
});
await miner.start().catch(() => {}); // the state says why
