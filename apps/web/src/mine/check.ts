/** The capability check: measured at Start, remembered for a day, and said in plain sentences. */
import { codeMissing, SwarmError, type WireError } from '@starling/protocol';
import { useSyncExternalStore } from 'react';
import type { CheckAnswer, Checked, CheckOrder } from '../check.worker.ts';
import { bytes, compact } from '../format.ts';
import { recall, remember } from '../remember.ts';
import type { BackendChoice } from '../worker-messages.ts';
import { MEMORY_CAPS, ownThreads, type Settings } from './settings.ts';

export type CheckState =
  | { phase: 'none' }
  | { phase: 'running' }
  | { phase: 'done'; checked: Checked; at: number }
  | { phase: 'failed'; error: WireError };

/** As it is remembered. */
interface Kept {
  checked: Checked;
  /** Unix ms. */
  at: number;
  userAgent: string;
}

/** What was found in another browser, or longer ago than a day, may be true no more. */
const DAY_MS = 86_400_000;

/** Null: nothing is remembered, or nothing that still holds. */
export function stillTrue(text: string | null, userAgent: string, now: number): Kept | null {
  try {
    const kept = JSON.parse(text ?? 'null') as Kept | null;
    return kept?.checked && kept.userAgent === userAgent && now - kept.at < DAY_MS ? kept : null;
  } catch {
    return null;
  }
}

const KEY = (backend: BackendChoice) => `starling.check.${backend}`;
const listeners = new Set<() => void>();
/** By what it is to compute on: each is measured for itself. */
const states = new Map<BackendChoice, CheckState>();

function become(backend: BackendChoice, next: CheckState): void {
  states.set(backend, next);
  for (const listener of listeners) listener();
}

function checkOf(backend: BackendChoice): CheckState {
  let state = states.get(backend);
  if (!state) {
    const kept = stillTrue(recall(KEY(backend)), navigator.userAgent, Date.now());
    state = kept ? { phase: 'done', checked: kept.checked, at: kept.at } : { phase: 'none' };
    states.set(backend, state);
  }
  return state;
}

/** It is not known, or not well enough, what this device can do. */
export function mustCheck(backend: BackendChoice): boolean {
  const state = checkOf(backend);
  return state.phase !== 'done' || Date.now() - state.at >= DAY_MS || typeof state.checked.uplink !== 'number';
}

export const useCheck = (backend: BackendChoice): CheckState =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => checkOf(backend),
  );

/** Three seconds, a slow device's compiling, and a line that does not answer; what takes longer gives no answer at all. */
const DEADLINE_MS = 20_000;

type CheckWorker = Pick<Worker, 'onmessage' | 'onerror' | 'postMessage' | 'terminate'>;

/** What the worker finds, or why it finds nothing; null when `signal` ended it. The worker is ended in any case. */
export function ask(worker: CheckWorker, order: CheckOrder, signal: AbortSignal): Promise<CheckAnswer | null> {
  let timer: ReturnType<typeof setTimeout>;
  return new Promise<CheckAnswer | null>((resolve) => {
    const fail = (error: SwarmError) =>
      resolve({ error: { ...error.toWire(), hint: 'Mining is tried all the same; the next Start checks again.' } });
    const nothing = new SwarmError('BACKEND_FAILED', `The check found nothing in ${DEADLINE_MS / 1_000} s.`);
    timer = setTimeout(() => fail(nothing), DEADLINE_MS);
    signal.addEventListener('abort', () => resolve(null));
    worker.onmessage = ({ data }: MessageEvent<CheckAnswer>) => resolve(data);
    worker.onerror = ({ message }) => fail(message ? new SwarmError('BACKEND_FAILED', message) : codeMissing());
    worker.postMessage(order);
  }).finally(() => {
    clearTimeout(timer);
    worker.terminate();
  });
}

let running = new AbortController();

/** Takes three seconds. Never throws: what went wrong is in the state. False: `stopCheck` ended it, and nothing was found. */
export async function runCheck({ backend, memoryCap }: Pick<Settings, 'backend' | 'memoryCap'>): Promise<boolean> {
  const before = checkOf(backend);
  if (before.phase === 'running') return false;
  become(backend, { phase: 'running' });
  running = new AbortController();
  const worker = new Worker(new URL('../check.worker.ts', import.meta.url), { type: 'module' });
  const memory = (memoryCap ?? MEMORY_CAPS.at(-1)!) * 2 ** 20;
  const answer = await ask(worker, { url: location.origin, backend, threads: ownThreads(), memory }, running.signal);
  if (!answer) {
    become(backend, before);
    return false;
  }
  if ('error' in answer) {
    become(backend, { phase: 'failed', error: answer.error });
    return true;
  }
  const { checked } = answer;
  const at = Date.now();
  remember(KEY(backend), JSON.stringify({ checked, at, userAgent: navigator.userAgent } satisfies Kept));
  become(backend, { phase: 'done', checked, at });
  return true;
}

export const stopCheck = (): void => running.abort();

export interface Finding {
  good: boolean;
  /** What was found. */
  sentence: string;
  /** What to do about it; null when nothing is wrong. */
  fix: string | null;
}

/** Below this a small stage keeps the others waiting. */
const SLOW_FLOPS = 1e9;
const SMALL_MEMORY = 256 * 1024 ** 2;
const SLOW_UPLINK = 2e6;

/** `webgpuFix`: what to do in this browser where WebGPU is missing. */
export function findingsOf(checked: Checked, webgpuFix: string): Finding[] {
  const { backend, adapter, f16, flops, memory, limits, uplink, fallback } = checked;
  const good = (sentence: string): Finding => ({ good: true, sentence, fix: null });
  const bad = (sentence: string, fix: string): Finding => ({ good: false, sentence, fix });
  const findings = [
    backend === 'webgpu'
      ? good(`WebGPU on ${adapter}.`)
      : fallback
        ? bad(fallback.message, webgpuFix)
        : good('It computes on the processor, by choice.'),
    flops >= SLOW_FLOPS
      ? good(`${compact(flops / 1e9)} GFLOP/s in matrix products.`)
      : bad(
          `Only ${(flops / 1e9).toFixed(1)} GFLOP/s in matrix products.`,
          backend === 'webgpu'
            ? 'Close other heavy tabs; if this is no real GPU, the CPU may be faster: choose it under “Compute on” before the next Start.'
            : 'Close other heavy tabs.',
        ),
  ];
  if (memory !== null && limits)
    findings.push(
      memory >= SMALL_MEMORY
        ? good(`At least ${bytes(memory)} of GPU memory; buffers up to ${bytes(limits.buffer)}.`)
        : bad(`Only ${bytes(memory)} of GPU memory could be had.`, 'Close other tabs that draw or play video, and check again.'),
    );
  if (backend === 'webgpu') findings.push(good(f16 ? '16-bit floats in shaders.' : 'No 16-bit floats in shaders; none are needed.'));
  findings.push(
    typeof uplink !== 'number'
      ? bad(`The line to the server could not be measured: ${uplink.message}`, `The next Start tries again. ${uplink.hint}`)
      : uplink >= SLOW_UPLINK
        ? good(`${compact(uplink / 1e6)} Mbit/s to the server.`)
        : bad(
            `Only ${(uplink / 1e6).toFixed(1)} Mbit/s to the server.`,
            'A wired or nearer connection helps; mining works all the same, more slowly.',
          ),
  );
  return findings;
}
