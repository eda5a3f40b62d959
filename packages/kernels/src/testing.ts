/** For tests only: the same tests on every backend there is, and how numbers are compared. */
import type { Backend } from '@starling/protocol';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { createKernels } from './create.ts';
import type { Kernels, Precision } from './kernels.ts';
import { dawnGpu, nodeWasmPath } from './node.ts';

const gpu = await dawnGpu();
const hasHalves = (await gpu?.requestAdapter())?.features.has('shader-f16') ?? false;

interface EachBackend {
  /** On tfjs operations, too, where there are others. */
  reference?: boolean;
  /** With `f16`, on webgpu also as if the adapter had no such type. */
  precision?: Precision;
}

/** Runs `tests` on cpu, wasm and webgpu; webgpu is skipped, and says so, where Node finds no adapter. */
export function onEachBackend(
  tests: (kernels: () => Kernels, backend: Backend) => void,
  { reference = false, precision = 'f32' }: EachBackend = {},
): void {
  const variants = [
    { name: 'cpu', backend: 'cpu' },
    { name: 'wasm', backend: 'wasm' },
    { name: 'webgpu', backend: 'webgpu' },
    ...(precision === 'f16' && gpu && hasHalves
      ? [{ name: 'webgpu without shader-f16', backend: 'webgpu', gpu: withoutHalves(gpu) } as const]
      : []),
    ...(reference
      ? (['webgpu', 'wasm'] as const).map((backend) => ({ name: `${backend} on tfjs operations`, backend, operations: 'tfjs' }) as const)
      : []),
  ] as const;
  for (const variant of variants) {
    const { name, backend } = variant;
    if (backend === 'webgpu' && !gpu) {
      describe.skip(`${name} (no adapter: set LD_LIBRARY_PATH and VK_ICD_FILENAMES to a Vulkan driver)`, () => tests(unavailable, backend));
      continue;
    }
    describe(name, () => {
      let kernels: Kernels;
      beforeAll(async () => {
        kernels = await createKernels({ gpu: gpu ?? undefined, ...variant, precision, wasmPaths: nodeWasmPath() });
        void kernels.lost.then((error) => {
          throw error;
        });
      });
      afterAll(() => kernels.close());
      tests(() => kernels, backend);
    });
  }
}

/** The same adapter, without `shader-f16`. */
export function withoutHalves(gpu: GPU): GPU {
  return {
    requestAdapter: async (options?: GPURequestAdapterOptions) => {
      const adapter = await gpu.requestAdapter(options);
      return adapter && new Proxy(adapter, { get: hidden });
    },
  } as GPU;
}

function hidden(adapter: GPUAdapter, name: keyof GPUAdapter) {
  if (name === 'features') return new Set([...adapter.features].filter((feature) => feature !== 'shader-f16'));
  const found = adapter[name];
  return typeof found === 'function' ? found.bind(adapter) : found;
}

function unavailable(): Kernels {
  throw new Error('No WebGPU adapter.');
}

/** Uniform numbers in [−scale, scale), the same for the same seed (a linear congruential generator, Numerical Recipes). */
export function randomNumbers(size: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  let state = seed >>> 0;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * (state / 2 ** 31 - 1);
  });
}

/** Whole numbers in [0, below). */
export function randomTokens(size: number, seed: number, below: number): Int32Array<ArrayBuffer> {
  return Int32Array.from(randomNumbers(size, seed), (value) => Math.min(below - 1, Math.floor(((value + 1) / 2) * below)));
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** ‖actual − expected‖ / ‖expected‖ must be at most `tolerance`. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what = 'values'): void {
  expect(actual.length, what).toBe(expected.length);
  const difference = Array.from(actual, (value, i) => value - expected[i]);
  const error = Math.sqrt(dot(difference, difference) / Math.max(dot(expected, expected), 1e-30));
  expect(error, `relative L2 error of ${what}`).toBeLessThanOrEqual(tolerance);
}
