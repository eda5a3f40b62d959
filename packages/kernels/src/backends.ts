/** The backends of tfjs. */
import { codeMissing, loaded, SwarmError } from '@starling/protocol';
import * as tf from '@tensorflow/tfjs-core';
import type { KernelOptions } from './create.ts';
import type { Kernels, Precision } from './kernels.ts';
import { TfjsKernels } from './tfjs.ts';
import { Heap } from './wasm/heap.ts';
import { startWithThreads } from './wasm/threads.ts';
import { WasmKernels } from './wasm-kernels.ts';

const NEVER = new Promise<never>(() => {});

async function use(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new SwarmError('BACKEND_FAILED', `The ${name} backend of tfjs did not start.`);
  await tf.ready();
}

export async function createCpu(precision: Precision): Promise<Kernels> {
  await loaded(() => import('@tensorflow/tfjs-backend-cpu'));
  await use('cpu');
  return new TfjsKernels('cpu', 'CPU (JavaScript)', precision, NEVER, () => {});
}

/** tfjs fetches its program itself, and says no more than that it did not start. Throws `CODE_MISSING` where there is none, else `error`. */
async function whyNot(error: unknown, wasmPaths: KernelOptions['wasmPaths']): Promise<never> {
  if (typeof wasmPaths === 'object') {
    // The one it took last: with threads it is tried before.
    const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
    const response = await loaded(() => fetch(wasmPaths[`tfjs-backend-wasm${simd ? '-simd' : ''}.wasm`]!));
    if (!response.ok) throw codeMissing(error);
  }
  throw error;
}

/** It is started once, and stays. Its threads. */
let startedWasm: Promise<number> | null = null;

export async function createWasm({ wasmPaths, operations = 'own', precision = 'f32', threads = 1 }: KernelOptions): Promise<Kernels> {
  const wasm = await loaded(() => import('@tensorflow/tfjs-backend-wasm'));
  // tfjs is not asked whether it is started: it would start it then, on its own terms.
  if (startedWasm === null) {
    if (wasmPaths) wasm.setWasmPaths(wasmPaths);
    startedWasm = startWithThreads(wasm, threads, () => use('wasm')).catch((error) => whyNot(error, wasmPaths));
    startedWasm.catch(() => {
      startedWasm = null;
    });
  }
  const count = await startedWasm;
  await use('wasm');
  const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
  const features = [simd && 'SIMD', count > 1 && `${count} threads`].filter(Boolean);
  const adapter = `CPU (${['WebAssembly', ...features].join(', ')})`;
  const heap = simd && operations === 'own' ? Heap.find() : null;
  return heap ? new WasmKernels(heap, adapter, precision, NEVER, () => {}) : new TfjsKernels('wasm', adapter, precision, NEVER, () => {});
}

/** On a device of ours instead of the one tfjs would ask for, so that its loss is noticed. */
export async function createTfjsWebGpu(
  device: GPUDevice,
  info: GPUAdapterInfo,
  name: string,
  precision: Precision,
  lost: Promise<SwarmError>,
  closing: () => void,
): Promise<Kernels> {
  const { WebGPUBackend } = await loaded(() => import('@tensorflow/tfjs-backend-webgpu'));
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
  const backend = new WebGPUBackend(device, info);
  tf.registerBackend('webgpu', () => backend, 3);
  await use('webgpu');
  return new TfjsKernels('webgpu', name, precision, lost, () => {
    closing();
    tf.removeBackend('webgpu');
    device.destroy();
  });
}
