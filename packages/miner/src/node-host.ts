/** Builds a miner for Node, in whatever hosts it: a worker thread or a process of its own. */
import { DeviceKey } from '@starling/chain/device';
import { createKernels } from '@starling/kernels';
import { dawnGpu, nodeWasmPath } from '@starling/kernels/node';
import { SwarmError } from '@starling/protocol';
import { Miner, type MinerPorts } from './miner.ts';
import type { NodeMinerOptions } from './node.ts';
import { tampered } from './tampered.ts';

/** Sessions end with the host, unless something else remembers them. */
function inMemory(): MinerPorts['storage'] {
  const sessions = new Map<string, string>();
  return { get: async (key) => sessions.get(key) ?? null, set: async (key, value) => void sessions.set(key, value) };
}

/** Without `storage`, its session and its device key end with the host. What outlasts the host has no key, which would not. */
export function nodeMiner({ tampering, ...options }: NodeMinerOptions, storage?: MinerPorts['storage']): Miner {
  return new Miner(options, {
    createKernels: async (wanted) => {
      if (wanted === 'wasm') return createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
      const gpu = await dawnGpu();
      if (!gpu) throw new SwarmError('WEBGPU_UNAVAILABLE', 'Dawn found no Vulkan driver.');
      return createKernels({ backend: 'webgpu', gpu });
    },
    ...(tampering && { stage: (held, run) => tampered(held, run, tampering) }),
    storage: storage ?? inMemory(),
    device: async () => (storage ? null : (await DeviceKey.generate()).signer),
  });
}
