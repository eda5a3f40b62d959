/** Threads of tfjs's wasm backend: whether this page may have them, and how many it gets. */
import * as tf from '@tensorflow/tfjs-core';
import { MOST_THREADS } from '../kernels.ts';

type Wasm = Pick<typeof import('@tensorflow/tfjs-backend-wasm'), 'setThreadsCount' | 'getThreadsCount'>;

/** Of Emscripten's, which the backend keeps to itself. */
interface Threaded {
  wasm: { PThread?: { unusedWorkers: Worker[] } };
}

/**
 * `start` with `threads` of them where they can be had, else with one. `start` throws where the backend does not start. Returns how
 * many there are: XNNPACK's work is cut by its results, each of which one thread sums alone, so the numbers are the same for any count.
 */
export async function startWithThreads(wasm: Wasm, threads: number, start: () => Promise<void>): Promise<number> {
  const count = Math.min(threads, MOST_THREADS);
  if (count > 1 && (await canShareMemory())) {
    try {
      wasm.setThreadsCount(count);
      await sayCores(2 * count, start);
      endUnusedWorkers();
      return wasm.getThreadsCount();
    } catch (error) {
      console.warn('WebAssembly goes on with one thread.', error);
    }
  }
  // Else tfjs takes the threaded program, with its eight workers, wherever a page is isolated.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  await start();
  return 1;
}

/** Does what one of tfjs's own does: it loads another text, and uses the memory it is given. */
const PROBE = `onmessage = ({ data }) => {
  importScripts(URL.createObjectURL(new Blob([''])));
  postMessage(new Uint8Array(data.buffer)[0]);
};`;

/**
 * Whether a worker made from a text, as tfjs makes its own, sees what is written here. Asked, since tfjs would wait for ever for a
 * worker that a proxy's Content-Security-Policy forbids.
 */
async function canShareMemory(): Promise<boolean> {
  if (!globalThis.crossOriginIsolated || !(await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'))) return false;
  const address = URL.createObjectURL(new Blob([PROBE], { type: 'text/javascript' }));
  let worker: Worker | null = null;
  try {
    // As large as tfjs asks for: some devices have no room for the addresses.
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536, shared: true });
    new Uint8Array(memory.buffer)[0] = 42;
    worker = new Worker(address);
    return await askWorker(worker, memory);
  } catch {
    return false;
  } finally {
    worker?.terminate();
    URL.revokeObjectURL(address);
  }
}

function askWorker(worker: Worker, memory: WebAssembly.Memory): Promise<boolean> {
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data === 42);
    worker.onerror = (event) => {
      event.preventDefault();
      resolve(false);
    };
    worker.postMessage(memory);
  });
}

/** tfjs takes half of the cores that the browser tells of, at most, whatever is asked for. */
async function sayCores(count: number, during: () => Promise<void>): Promise<void> {
  Object.defineProperty(navigator, 'hardwareConcurrency', { value: count, configurable: true });
  try {
    await during();
  } finally {
    Reflect.deleteProperty(navigator, 'hardwareConcurrency');
  }
}

function endUnusedWorkers(): void {
  const { PThread } = (tf.backend() as unknown as Threaded).wasm;
  for (const worker of PThread?.unusedWorkers.splice(0) ?? []) worker.terminate();
}
