/** The page's side of mining: one worker at a time, its newest state, and what automation reads. */
import { initialState, type MinerState } from '@starling/miner/state';
import { ERROR_HINTS, type ErrorCode } from '@starling/protocol';
import { useSyncExternalStore } from 'react';
import type { FromWorker, ToWorker } from '../worker-messages.ts';
import type { Settings } from './settings.ts';
import { claimTab } from './tab.ts';

declare global {
  interface Window {
    starling: { state: MinerState | null };
  }
}

/** A worker that does not say goodbye within this time is ended anyway; its leases expire on the server. */
const GOODBYE_MS = 4000;

const listeners = new Set<() => void>();
let state: MinerState | null = null;
let worker: Worker | null = null;
let stopping = false;
let goodbye: ReturnType<typeof setTimeout> | undefined;

/** With storage blocked, even to ask for it throws. */
const tab = Promise.resolve()
  .then(() => claimTab(sessionStorage, navigator.locks))
  .catch(() => crypto.getRandomValues(new Uint32Array(4)).join('-'));

const OWN = 'starling.miner';
/** Which miner this tab was last, over a reload too. */
let own = (() => {
  try {
    return sessionStorage.getItem(OWN);
  } catch {
    return null;
  }
})();

function rememberOwn(id: string): void {
  own = id;
  try {
    sessionStorage.setItem(OWN, id);
  } catch {
    // The history is then only shown until the page is loaded anew.
  }
}

export async function start({ name, backend }: Settings): Promise<void> {
  if (worker) return;
  const mine = new Worker(new URL('../mine.worker.ts', import.meta.url), { type: 'module' });
  worker = mine;
  stopping = false;
  publish(connecting(name));
  mine.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (worker === mine) publish(data.state); // not what was under way when it was ended
  };
  mine.onerror = (event) => fail('BACKEND_FAILED', event.message || 'The mining worker could not be loaded.');
  const message: ToWorker = { type: 'start', url: location.origin, name, backend, tab: await tab };
  if (!stopping) mine.postMessage(message);
}

export function stop(reason: string): void {
  if (!worker || stopping) return;
  stopping = true;
  worker.postMessage({ type: 'stop', reason } satisfies ToWorker);
  goodbye = setTimeout(() => publish(stopped(null)), GOODBYE_MS);
  notify();
}

/**
 * Closing or leaving the page gives the leases back at once: a worker's last message may not get out any more. The worker ends
 * with it: still at work, it would be told that it is not in the run, and join again.
 */
addEventListener('pagehide', () => {
  if (!worker) return;
  if (state?.session) navigator.sendBeacon('/v1/leave', JSON.stringify(state.session));
  publish(stopped(null));
});

/** A page that the browser freezes computes nothing: what it holds goes to others, and it is given nothing for a while. */
const FROZEN_MS = 60_000;
const rest = (pauseMs: number) => worker?.postMessage({ type: 'rest', pauseMs } satisfies ToWorker);
document.addEventListener('freeze', () => rest(FROZEN_MS));
document.addEventListener('resume', () => rest(0));

function fail(code: ErrorCode, message: string): void {
  publish(stopped({ code, message, hint: ERROR_HINTS[code] }));
}

function publish(next: MinerState): void {
  state = next;
  if (next.minerId !== null && next.minerId !== own) rememberOwn(next.minerId);
  if (next.activity === 'stopped') {
    clearTimeout(goodbye);
    worker?.terminate();
    worker = null;
    stopping = false;
  }
  expose(next);
  notify();
}

function notify(): void {
  for (const listener of listeners) listener();
}

/** For automation: attributes on `<html>` and `window.starling`. */
function expose(next: MinerState): void {
  window.starling = { state: { ...next, session: null } };
  const { dataset } = document.documentElement;
  dataset.minerActivity = next.activity;
  dataset.minerBackend = next.backend ?? '';
  dataset.minerId = next.minerId ?? '';
  dataset.minerStage = next.stage === null ? '' : String(next.stage);
  dataset.minerMicrobatches = String(next.microbatches);
}

const connecting = (name: string): MinerState => ({ ...initialState(name, Date.now()), reason: 'Loading the miner.' });

const stopped = (error: MinerState['error']): MinerState => ({
  ...(state ?? connecting('')),
  activity: 'stopped',
  reason: null,
  since: Date.now(),
  tokensPerSecond: 0,
  error,
});

window.starling = { state: null };

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Null before the first Start. */
export const useMiner = (): MinerState | null => useSyncExternalStore(subscribe, () => state);
/** The miner this tab is or was; null before its first Start. */
export const useOwnId = (): string | null => useSyncExternalStore(subscribe, () => own);
export const useStopping = (): boolean => useSyncExternalStore(subscribe, () => stopping);
