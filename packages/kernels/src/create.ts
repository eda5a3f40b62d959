/** Starts a backend. Backends are loaded on demand, so that a page fetches only the one it uses. */
import { loaded, SwarmError } from '@starling/protocol';
import type { TuningOptions } from './gpu/tuner.ts';
import type { Kernels, Precision } from './kernels.ts';

export interface KernelOptions {
  backend: 'webgpu' | 'wasm' | 'cpu';
  /** Programs of our own (the default; there are none for cpu), or tfjs operations, which are the reference on every backend. */
  operations?: 'own' | 'tfjs';
  /** Default: `f32`. */
  precision?: Precision;
  /** Instead of `navigator.gpu`: Dawn in Node. */
  gpu?: GPU;
  /** Where the three .wasm files are: a folder's address, or each file's by name. */
  wasmPaths?: string | Record<string, string>;
  /** What wasm computes with where the page is cross-origin isolated, 8 at most; elsewhere, and by default, one. Whoever starts it first says. */
  threads?: number;
  /** Measure the ways to compute on WebGPU, and keep what was found; default: take what suits the kind of adapter. */
  tuning?: TuningOptions;
}

/** Throws `WEBGPU_UNAVAILABLE` when there is no adapter, `CODE_MISSING` when it cannot be loaded, `BACKEND_FAILED` when it does not start. */
export async function createKernels(options: KernelOptions): Promise<Kernels> {
  const { backend, precision = 'f32' } = options;
  try {
    if (backend === 'webgpu') return await createWebGpu(options);
    const { createCpu, createWasm } = await loaded(() => import('./backends.ts'));
    return backend === 'wasm' ? await createWasm(options) : await createCpu(precision);
  } catch (error) {
    throw SwarmError.from(error, 'BACKEND_FAILED');
  }
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

/** Used where they are there. */
const FEATURES = ['subgroups', 'shader-f16'] as const satisfies GPUFeatureName[];

async function createWebGpu(options: KernelOptions): Promise<Kernels> {
  const { gpu = globalThis.navigator?.gpu as GPU | undefined, operations = 'own', precision = 'f32', tuning = null } = options;
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    const why = gpu ? 'The browser has WebGPU but offers no graphics adapter.' : 'This browser has no WebGPU.';
    throw new SwarmError('WEBGPU_UNAVAILABLE', why);
  }
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name] as number]));
  const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({ label: 'starling', requiredLimits, requiredFeatures });
  const { lost, closing } = watch(device);
  const name = describe(adapter.info);
  if (operations === 'tfjs') {
    const { createTfjsWebGpu } = await loaded(() => import('./backends.ts'));
    return createTfjsWebGpu(device, adapter.info, name, precision, lost, closing);
  }
  const { createWebGpuKernels } = await loaded(() => import('./gpu/kernels.ts'));
  const release = () => {
    closing();
    device.destroy();
  };
  return createWebGpuKernels(device, { adapter: name, isSoftware: isSoftware(adapter.info), lost, tuning, precision, release });
}

/** Attached before the device's first use, so that nothing is missed. `closing` says that its end is our own doing. */
function watch(device: GPUDevice): { lost: Promise<SwarmError>; closing: () => void } {
  let closed = false;
  const lost = new Promise<SwarmError>((resolve) => {
    void device.lost.then(({ reason, message }) => {
      if (!closed) resolve(new SwarmError('DEVICE_LOST', `The GPU device was lost (${reason}${message ? `: ${message}` : ''}).`));
    });
    device.addEventListener('uncapturederror', (event) => {
      if (closed) return;
      const { error } = event as GPUUncapturedErrorEvent;
      if (error instanceof GPUOutOfMemoryError) resolve(new SwarmError('MEMORY_SHORT', `The GPU has not enough memory: ${error.message}`));
      // What was not valid leaves wrong numbers behind: the device cannot be trusted any more.
      else resolve(new SwarmError('DEVICE_LOST', `The GPU reported an error: ${error.message}`));
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

/** Drivers that compute on the processor, by the names they give themselves. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;

const isSoftware = ({ vendor, architecture, device, description, ...info }: GPUAdapterInfo) =>
  info.isFallbackAdapter || SOFTWARE.test([vendor, architecture, device, description].join(' '));
