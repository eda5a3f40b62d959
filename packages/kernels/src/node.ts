/** What only Node needs: where the wasm binaries lie, and a WebGPU without a browser. Never import this in a page. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type { TuningStore } from './gpu/tuner.ts';

/** Folder of the tfjs wasm binaries, ending in `/`: the `wasmPaths` of `createKernels`. */
export function nodeWasmPath(): string {
  const entry = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm/package.json');
  return `${dirname(entry)}/dist/`;
}

/** Keeps what was measured in a file, of all adapters. */
export function fileTuningStore(path: string): TuningStore {
  const read = async (): Promise<Record<string, Record<string, string>>> => JSON.parse(await readFile(path, 'utf8'));
  return {
    get: async (adapter) => (await read().catch(() => null))?.[adapter] ?? null,
    async set(adapter, choices) {
      const all = await read().catch(() => ({}));
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, JSON.stringify({ ...all, [adapter]: choices }));
    },
  };
}

let instance: Promise<GPU | null> | undefined;

/**
 * WebGPU through Dawn (npm package `webgpu`), or null when the package or a Vulkan driver is missing.
 * One instance per process. With Debian's Chromium, its software driver serves: start the process with
 * `LD_LIBRARY_PATH=/usr/lib/chromium VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json`.
 * Installs the WebGPU globals and `navigator.gpu`, which tfjs looks for. `DAWN_FLAGS` in the environment: Dawn's own, with blanks between them.
 */
export function dawnGpu(): Promise<GPU | null> {
  instance ??= startDawn();
  return instance;
}

async function startDawn(): Promise<GPU | null> {
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    const gpu = create(process.env.DAWN_FLAGS?.split(' ') ?? []);
    if (!(await gpu.requestAdapter())) return null;
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
    return gpu;
  } catch {
    return null;
  }
}
