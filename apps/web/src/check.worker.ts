/** Measures what this device can do, away from the page's thread: arithmetic, memory, and the way to the server. */
import { createKernels } from '@starling/kernels';
import { SwarmError, type WireError } from '@starling/protocol';
import { probeMemory } from './memory-probe.ts';
import { wasmPaths } from './wasm-paths.ts';

export interface CheckOrder {
  /** Origin of the server. */
  url: string;
  backend: 'auto' | 'webgpu' | 'wasm';
  /** What it computes with on WebAssembly. */
  threads: number;
  /** Bytes of device memory that are asked for, at most. */
  memory: number;
}

export interface Checked {
  backend: 'webgpu' | 'wasm';
  adapter: string;
  /** 16-bit floats in shaders. */
  f16: boolean;
  /** FLOP/s of a matrix product of 512 × 512. */
  flops: number;
  /** Bytes of device memory that could be had, of those that were asked for; null on the CPU. */
  memory: number | null;
  /** Largest buffer and binding, bytes; null on the CPU. */
  limits: { buffer: number; binding: number } | null;
  /** Bits per second towards the server, or why that could not be measured. */
  uplink: number | WireError;
  /** Why WebGPU is not what was measured. */
  fallback: WireError | null;
}

export type CheckAnswer = { checked: Checked } | { error: WireError };

const SIZE = 512;
const COMPUTE_MS = 1_200;
const PROBE_BYTES = 256 * 1024;
const UPLINK_MS = 800;
/** A GPU gives four gibibytes in less. */
const MEMORY_MS = 1_000;
/** A line that takes longer for one probe has under half a megabit per second, or there is none. */
const PROBE_DEADLINE_MS = 5_000;

self.onmessage = async ({ data: order }: MessageEvent<CheckOrder>) => {
  try {
    self.postMessage({ checked: await check(order) } satisfies CheckAnswer);
  } catch (error) {
    self.postMessage({ error: SwarmError.from(error, 'BACKEND_FAILED').toWire() } satisfies CheckAnswer);
  }
};

async function check({ url, backend: wanted, threads, memory }: CheckOrder): Promise<Checked> {
  let fallback: WireError | null = null;
  let device = null;
  if (wanted !== 'wasm') {
    try {
      device = await measureGpu(memory);
    } catch (error) {
      fallback = SwarmError.from(error, 'WEBGPU_UNAVAILABLE').toWire();
      if (wanted === 'webgpu') throw error;
    }
  }
  const backend = device ? 'webgpu' : 'wasm';
  const { adapter, flops } = await compute(backend, threads);
  return {
    ...{ backend, adapter, flops, fallback, uplink: await uplink(url).catch((error) => SwarmError.from(error).toWire()) },
    ...(device ?? { f16: false, memory: null, limits: null }),
  };
}

async function compute(backend: 'webgpu' | 'wasm', threads: number): Promise<{ adapter: string; flops: number }> {
  const kernels = await createKernels({ backend, wasmPaths, threads });
  try {
    const values = Float32Array.from({ length: SIZE * SIZE }, (_, i) => ((i * 7) % 11) / 11 - 0.5);
    const a = kernels.upload(values, [SIZE, SIZE]);
    const once = async () => {
      const product = kernels.matmul(a, a);
      await kernels.download(product);
      kernels.dispose(product);
    };
    await once(); // compiles
    const started = performance.now();
    let done = 0;
    while (done === 0 || performance.now() - started < COMPUTE_MS) {
      await once();
      done += 1;
    }
    return { adapter: kernels.adapter, flops: (done * 2 * SIZE ** 3) / ((performance.now() - started) / 1_000) };
  } finally {
    kernels.close();
  }
}

/** A GPU without memory of its own shares the device's, and must leave room for everything else. */
const SHARE_OF_MEMORY = 0.5;

async function measureGpu(most: number): Promise<Pick<Checked, 'f16' | 'memory' | 'limits'>> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter)
    throw new SwarmError('WEBGPU_UNAVAILABLE', navigator.gpu ? 'The browser offers no graphics adapter.' : 'This browser has no WebGPU.');
  const { maxBufferSize: buffer, maxStorageBufferBindingSize: binding } = adapter.limits;
  const device = await adapter.requestDevice();
  // GiB, rounded, and 8 where it is more; only Chromium tells.
  const { deviceMemory = Number.POSITIVE_INFINITY } = navigator as { deviceMemory?: number };
  const memory = await probeMemory(device, Math.min(most, SHARE_OF_MEMORY * deviceMemory * 2 ** 30), AbortSignal.timeout(MEMORY_MS));
  device.destroy();
  return { f16: adapter.features.has('shader-f16'), memory, limits: { buffer, binding } };
}

async function uplink(url: string): Promise<number> {
  const body = crypto.getRandomValues(new Uint8Array(65_536));
  const probe = new Uint8Array(PROBE_BYTES);
  for (let at = 0; at < PROBE_BYTES; at += body.length) probe.set(body, at);
  const started = performance.now();
  let sent = 0;
  while (sent === 0 || performance.now() - started < UPLINK_MS) {
    const signal = AbortSignal.timeout(PROBE_DEADLINE_MS);
    const response = await fetch(`${url}/v1/probe`, { method: 'POST', body: probe, signal }).catch((error: unknown) => {
      if (!signal.aborted) throw SwarmError.from(error, 'CONNECTION_LOST');
      throw new SwarmError('CONNECTION_LOST', `${PROBE_BYTES / 1_024} KiB were not answered in ${PROBE_DEADLINE_MS / 1_000} s.`);
    });
    if (!response.ok) throw new SwarmError('HTTP_FAILED', `The server answered ${response.status} to a probe of the line.`);
    sent += PROBE_BYTES;
  }
  return (8 * sent) / ((performance.now() - started) / 1_000);
}
