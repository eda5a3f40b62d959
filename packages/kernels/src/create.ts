/** Starts a backend. Backends are loaded on demand, so that a page fetches only the one it uses. */
import { SwarmError } from '@starling/protocol';
import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from './kernels.ts';
import { TfjsKernels } from './tfjs.ts';
import { Heap } from './wasm/heap.ts';
import { WasmKernels } from './wasm-kernels.ts';

export interface KernelOptions {
  backend: 'webgpu' | 'wasm' | 'cpu';
  /** Programs of our own (the default; there are none for cpu), or tfjs operations, which are the reference on every backend. */
  operations?: 'own' | 'tfjs';
  /** Instead of `navigator.gpu`: Dawn in Node. */
  gpu?: GPU;
  /** Where the three .wasm files are: a folder's address, or each file's by name. */
  wasmPaths?: string | Record<string, string>;
}

const NEVER = new Promise<never>(() => {});

/** Throws `WEBGPU_UNAVAILABLE` when there is no adapter, `BACKEND_FAILED` when the backend does not start. */
export async function createKernels(options: KernelOptions): Promise<Kernels> {
  const { operations = 'own' } = options;
  try {
    if (options.backend === 'webgpu') return await createWebGpu(options.gpu ?? globalThis.navigator?.gpu, operations);
    if (options.backend === 'wasm') return await createWasm(options.wasmPaths, operations);
    await import('@tensorflow/tfjs-backend-cpu');
    await use('cpu');
    return new TfjsKernels('cpu', 'CPU (JavaScript)', NEVER, () => {});
  } catch (error) {
    throw SwarmError.from(error, 'BACKEND_FAILED');
  }
}

async function use(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new SwarmError('BACKEND_FAILED', `The ${name} backend of tfjs did not start.`);
  await tf.ready();
}

async function createWasm(paths: KernelOptions['wasmPaths'], operations: 'own' | 'tfjs'): Promise<Kernels> {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (paths && tf.findBackend('wasm') === null) wasm.setWasmPaths(paths);
  await use('wasm');
  const [simd, threads] = await Promise.all([
    tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'),
    tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  ]);
  const features = [simd && 'SIMD', threads && 'threads'].filter(Boolean).join(', ');
  const adapter = `CPU (WebAssembly${features ? `, ${features}` : ''})`;
  const heap = simd && operations === 'own' ? Heap.find() : null;
  return heap ? new WasmKernels(heap, adapter, NEVER, () => {}) : new TfjsKernels('wasm', adapter, NEVER, () => {});
}

/** Limits worth raising to what the adapter has: the defaults bind 128 MiB and eight buffers. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
] as const satisfies (keyof GPUSupportedLimits)[];

async function createWebGpu(gpu: GPU | undefined, operations: 'own' | 'tfjs'): Promise<Kernels> {
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    const why = gpu ? 'The browser has WebGPU but offers no graphics adapter.' : 'This browser has no WebGPU.';
    throw new SwarmError('WEBGPU_UNAVAILABLE', why);
  }
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name] as number]));
  const device = await adapter.requestDevice({ label: 'starling', requiredLimits });
  const { lost, closing } = watch(device);
  const [{ WebGPUBackend }, { WebGpuKernels }] = await Promise.all([import('@tensorflow/tfjs-backend-webgpu'), import('./webgpu.ts')]);
  // Our device instead of the one tfjs would ask for, so that its loss is noticed.
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
  const backend = new WebGPUBackend(device, adapter.info);
  tf.registerBackend('webgpu', () => backend, 3);
  await use('webgpu');
  const close = () => {
    closing();
    tf.removeBackend('webgpu');
    device.destroy();
  };
  const name = describe(adapter.info);
  return operations === 'tfjs' ? new TfjsKernels('webgpu', name, lost, close) : new WebGpuKernels(backend, name, lost, close);
}

/** Attached before the device's first use, so that nothing is missed. `closing` says that its end is our own doing. */
function watch(device: GPUDevice): { lost: Promise<SwarmError>; closing: () => void } {
  let closed = false;
  const lost = new Promise<SwarmError>((resolve) => {
    void device.lost.then(({ reason, message }) => {
      if (!closed) resolve(new SwarmError('DEVICE_LOST', `The GPU device was lost (${reason}${message ? `: ${message}` : ''}).`));
    });
    device.addEventListener('uncapturederror', (event) => {
      // A validation or memory error leaves wrong numbers behind: the device cannot be trusted any more.
      resolve(new SwarmError('DEVICE_LOST', `The GPU reported an error: ${(event as GPUUncapturedErrorEvent).error.message}`));
    });
  });
  return {
    lost,
    closing: () => {
      closed = true;
    },
  };
}

function describe({ vendor, architecture, device, description }: GPUAdapterInfo): string {
  return description || [vendor, architecture, device].filter(Boolean).join(' ') || 'unnamed GPU';
}
