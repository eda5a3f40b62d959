/** A miner in a worker thread of Node: the same runtime as in a tab. For tests and benchmarks. */
import { Worker } from 'node:worker_threads';
import type { MinerState } from './state.ts';
import type { Tampering } from './tampered.ts';

export interface NodeMinerOptions {
  url: string;
  name: string;
  backend: 'webgpu' | 'wasm';
  /** As the miner's. */
  memoryCap?: number;
  /** As the miner's. */
  intensity?: number;
  /** What is false about it; absent: nothing. */
  tampering?: Tampering;
}

/** What the worker is told. */
export type NodeMinerOrder = { type: 'stop' | 'finish' | 'pause' | 'resume' } | { type: 'intensity'; share: number };

/** What the worker says. */
export type NodeMinerMessage = { type: 'state'; state: MinerState } | { type: 'stopped' };

export interface NodeMiner {
  /** The newest state, or null before the first. */
  readonly state: MinerState | null;
  onState(listener: (state: MinerState) => void): void;
  /** Leaves politely. */
  stop(): Promise<void>;
  /** As the miner's. */
  finish(): Promise<void>;
  order(order: NodeMinerOrder): void;
  /** Ends the thread at once, as when a tab crashes. */
  kill(): Promise<void>;
}

export function startNodeMiner(options: NodeMinerOptions): NodeMiner {
  const worker = new Worker(new URL('./node-worker.ts', import.meta.url), { workerData: options });
  const listeners = new Set<(state: MinerState) => void>();
  let state: MinerState | null = null;
  const stopped = new Promise<void>((resolve) => {
    worker.on('exit', () => resolve());
    worker.on('message', (message: NodeMinerMessage) => {
      if (message.type === 'stopped') return resolve();
      state = message.state;
      for (const listener of listeners) listener(message.state);
    });
  });
  const end = async (type: 'stop' | 'finish') => {
    worker.postMessage({ type } satisfies NodeMinerOrder);
    await stopped;
    await worker.terminate();
  };
  return {
    get state() {
      return state;
    },
    onState: (listener) => {
      listeners.add(listener);
    },
    stop: () => end('stop'),
    finish: () => end('finish'),
    order: (order) => worker.postMessage(order),
    kill: async () => {
      await worker.terminate();
    },
  };
}
