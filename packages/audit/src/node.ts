/** Audits in a worker thread of Node, where they hold nothing else up. */
import { Worker } from 'node:worker_threads';
import { type AuditVerdict, type ModelShape, SwarmError, type WireError } from '@starling/protocol';
import type { AuditedRun, Evidence, StageWork } from './evidence.ts';
import type { Limits } from './limits.ts';
import type { Replayed } from './replay.ts';

/** How stages are computed, on the CPU or on WebGPU through Dawn: by programs of our own, or on tfjs operations alone. */
export const REPLAY_BACKENDS = ['wasm', 'wasm-tfjs', 'cpu', 'webgpu', 'webgpu-tfjs'] as const;
export type ReplayBackend = (typeof REPLAY_BACKENDS)[number];

export type ReplayRequest = { id: number } & (
  | { type: 'audit'; run: AuditedRun; evidence: Evidence; limits: Limits }
  | { type: 'replay'; run: AuditedRun; work: StageWork }
  | { type: 'kernels'; shape: ModelShape; sequences: number; seed: number }
  | { type: 'adapter' }
);
export type ReplayAnswer =
  | { id: number; verdict: AuditVerdict }
  | { id: number; replayed: Replayed }
  | { id: number; outputs: KernelOutputs }
  | { id: number; adapter: string }
  | { id: number; error: WireError };

export type KernelOutputs = Record<string, Float32Array<ArrayBuffer>>;

interface Pending {
  resolve(answer: ReplayAnswer): void;
  reject(error: SwarmError): void;
}

export class ReplayThread {
  readonly backend: ReplayBackend;
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private next = 0;
  private ended: SwarmError | null = null;

  constructor(backend: ReplayBackend) {
    this.backend = backend;
    this.worker = new Worker(new URL('./node-worker.ts', import.meta.url), { workerData: { backend } });
    this.worker.on('message', (answer: ReplayAnswer) => {
      const waiting = this.pending.get(answer.id);
      this.pending.delete(answer.id);
      if ('error' in answer) waiting?.reject(SwarmError.fromWire(answer.error));
      else waiting?.resolve(answer);
    });
    this.worker.on('error', (error) => this.end(SwarmError.from(error, 'BACKEND_FAILED')));
    this.worker.on('exit', () => this.end(new SwarmError('BACKEND_FAILED', 'The thread that computes audits has ended.')));
  }

  /** Audits are worked off one after the other. Throws `BACKEND_FAILED`, `WEBGPU_UNAVAILABLE` or `DEVICE_LOST`. */
  async audit(run: AuditedRun, evidence: Evidence, limits: Limits): Promise<AuditVerdict> {
    return ((await this.ask({ type: 'audit', run, evidence, limits })) as { verdict: AuditVerdict }).verdict;
  }

  /** The bare numbers. Throws as `audit`, and what `Replayer.replay` throws. */
  async replay(run: AuditedRun, work: StageWork): Promise<Replayed> {
    return ((await this.ask({ type: 'replay', run, work })) as { replayed: Replayed }).replayed;
  }

  /** Of `kernelOutputs`. */
  async kernels(shape: ModelShape, sequences: number, seed: number): Promise<KernelOutputs> {
    return ((await this.ask({ type: 'kernels', shape, sequences, seed })) as { outputs: KernelOutputs }).outputs;
  }

  /** The device in words. Throws `BACKEND_FAILED` or `WEBGPU_UNAVAILABLE` where there is none. */
  async adapter(): Promise<string> {
    return ((await this.ask({ type: 'adapter' })) as { adapter: string }).adapter;
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private ask(request: ReplayRequest extends infer R ? (R extends ReplayRequest ? Omit<R, 'id'> : never) : never): Promise<ReplayAnswer> {
    if (this.ended) return Promise.reject(this.ended);
    const id = this.next++;
    const { promise, resolve, reject } = Promise.withResolvers<ReplayAnswer>();
    this.pending.set(id, { resolve, reject });
    this.worker.postMessage({ id, ...request });
    return promise;
  }

  private end(error: SwarmError): void {
    this.ended ??= error;
    for (const { reject } of this.pending.values()) reject(this.ended);
    this.pending.clear();
  }
}
