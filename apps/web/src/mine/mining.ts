/** The page's side of mining: one worker at a time, its newest state, and what automation reads. */
import { initialState, type MinerState } from '@starling/miner/state';
import { codeMissing, explain, SwarmError, type Waiting, type WireError } from '@starling/protocol';
import { useSyncExternalStore } from 'react';
import { getJson } from '../api.ts';
import { pageAt } from '../paths.ts';
import { recall, remember } from '../remember.ts';
import type { FromWorker, ToWorker } from '../worker-messages.ts';
import { watchConditions, watchWholeDeviceAgain } from './conditions.ts';
import { isIos } from './device.ts';
import { type Conditions, obstacle } from './policy.ts';
import { isReloadLoop, recallMining, rememberMining } from './reload.ts';
import { RENEWAL, renew } from './renewal.ts';
import { ownThreads } from './settings.ts';
import { type Claim, claimTab, freshClaim, minersOf, rememberMiner } from './tab.ts';
import { playTone } from './tone.ts';
import { currentSettings, onSettings } from './use-settings.ts';

declare global {
  interface Window {
    starling: { state: MinerState | null; finish(): void };
  }
}

/** A worker that does not say goodbye within this time is ended anyway; its leases expire on the server. */
const GOODBYE_MS = 4000;

const listeners = new Set<() => void>();
let state: MinerState | null = null;
let worker: Worker | null = null;
/** While its code cannot be had, what ends the waiting for it; null: it can. */
let endRenewal: (() => void) | null = null;
/** How it is being ended. */
let ending: 'stop' | 'finish' | null = null;
let goodbye: ReturnType<typeof setTimeout> | undefined;

/** What all tabs of this browser see. */
const SHARED = { getItem: recall, setItem: remember };

let claimed: Promise<Claim> | null = null;
/** Of the miner that this tab is to be: claimed at the first Start, or by a page that is loaded anew. */
function claim(): Promise<Claim> {
  // With storage blocked, even to ask for it throws.
  claimed ??= Promise.resolve()
    .then(() => claimTab(sessionStorage, SHARED, navigator.locks))
    .catch(freshClaim);
  return claimed;
}

const OWN = 'starling.miner';
/** Which miner this tab was last, over a reload too; before its first Start, the one that this browser was last. */
let own = (() => {
  const [last] = minersOf(SHARED);
  try {
    return sessionStorage.getItem(OWN) ?? last?.id ?? null;
  } catch {
    return last?.id ?? null;
  }
})();

async function rememberOwn(id: string): Promise<void> {
  own = id;
  try {
    sessionStorage.setItem(OWN, id);
  } catch {
    // The history is then only shown until the page is loaded anew.
  }
  rememberMiner(SHARED, { tab: (await claim()).tab, id });
}

/** In a frame nobody would see who computes for whom. */
const isFramed = self !== top;

export async function start(): Promise<void> {
  if (worker || isFramed) return;
  const { name, backend, intensity, memoryCap, tone } = currentSettings();
  const mine = new Worker(new URL('../mine.worker.ts', import.meta.url), { type: 'module' });
  worker = mine;
  ending = null;
  endRenewal?.();
  endRenewal = null;
  rememberMining({ startedAt: Date.now(), pausedSince });
  playTone(tone);
  publish(connecting(name));
  mine.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if (worker === mine) publish(data.state); // not what was under way when it was ended
  };
  // Of code that could not be loaded nothing more is said.
  mine.onerror = ({ message }) => fail(message ? new SwarmError('BACKEND_FAILED', message) : codeMissing());
  const cap = memoryCap === null ? null : memoryCap * 2 ** 20;
  const { tab } = await claim();
  if (worker !== mine) return;
  if (ending) return leave();
  held = whyPaused(); // the battery may have been heard of meanwhile
  const message = { url: location.origin, name, backend, intensity, threads: ownThreads(), memoryCap: cap, paused: held, tab };
  mine.postMessage({ type: 'start', ...message } satisfies ToWorker);
}

export function stop(reason: string): void {
  if (endRenewal) leave();
  if (!worker || ending === 'stop') return;
  ending = 'stop';
  rememberMining(null);
  tell({ type: 'stop', reason });
  goodbye = setTimeout(() => publish(stopped(null)), GOODBYE_MS);
  notify();
}

/** Completes what is under way, then stops; `stop` cuts it short. */
export function finish(reason: string): void {
  if (endRenewal) leave();
  if (!worker || ending) return;
  ending = 'finish';
  rememberMining(null);
  tell({ type: 'finish', reason });
  notify();
}

const tell = (message: ToWorker) => worker?.postMessage(message);

/** There is nothing to complete, nor to give back. */
function leave(): void {
  rememberMining(null);
  publish(stopped(null));
}

// ── pauses ──────────────────────────────────────────────────────────────────────────────────────

/** The visitor pressed Pause. */
let pausedSince: number | null = null;
let conditions: Conditions = { charging: null, idle: null };
/** Why the worker is paused, as it was told last. */
let held: Waiting | null = null;

export function setPaused(paused: boolean): void {
  pausedSince = paused ? Date.now() : null;
  const memory = recallMining();
  if (memory) rememberMining({ ...memory, pausedSince });
  applyRules();
  notify();
}

/** The visitor's word first, then the rules; null: it may mine. */
function whyPaused(): Waiting | null {
  if (pausedSince !== null) return { ...explain({ code: 'PAUSED', message: 'Pause was pressed.' }), since: pausedSince, until: null };
  const found = obstacle(currentSettings(), conditions, new Date());
  if (!found) return null;
  const since = held?.code === 'POLICY' && held.message === found.message ? held.since : Date.now();
  return { ...explain({ code: 'POLICY', message: found.message }), since, until: found.until };
}

function applyRules(): void {
  if (!worker || ending) return;
  const now = whyPaused();
  if (now?.message === held?.message) return;
  held = now;
  tell(now ? { type: 'pause', waiting: now } : { type: 'resume' });
}

/** Hours of the day begin and end without an event. */
const RULES_MS = 15_000;
setInterval(applyRules, RULES_MS);
watchConditions((now) => {
  conditions = now;
  applyRules();
  notify();
});
if (currentSettings().onlyWhenIdle) void watchWholeDeviceAgain();
onSettings(({ intensity, tone }) => {
  applyRules();
  tell({ type: 'intensity', share: intensity });
  playTone(tone && (worker ?? endRenewal) !== null);
});
addEventListener('online', () => tell({ type: 'online' }));

// ── reloads ─────────────────────────────────────────────────────────────────────────────────────

/** A page that is loaded anew goes on as it was. False: it was not mining, or may not go on by itself. */
export async function resumeAfterReload(): Promise<boolean> {
  const memory = recallMining();
  if (!memory) return false;
  const { again } = await claim();
  if (worker) return false; // Start was pressed meanwhile
  if (!again) {
    rememberMining(null); // the duplicate of a tab that mines: here nobody pressed Start
    return false;
  }
  if (isReloadLoop(memory, Date.now(), isIos(navigator))) {
    rememberMining(null);
    const reason = 'This page was loaded anew within a minute of its Start, as iOS does with pages that compute: it waits for you now.';
    publish({ ...stopped(null), reason });
    return false;
  }
  pausedSince = memory.pausedSince;
  void start();
  return true;
}

/**
 * Closing or leaving the page gives the leases back at once: a worker's last message may not get out any more. The worker ends
 * with it: still at work, it would be told that it is not in the run, and join again.
 */
addEventListener('pagehide', () => {
  if (!worker) return;
  // The browser waits half a second for what is done here: the last word before what draws anything.
  worker.terminate();
  const session = state?.session;
  if (session) navigator.sendBeacon('/v1/leave', JSON.stringify(session));
  publish(stopped(null));
});

/** Back out of the browser's cache, as it was left. */
addEventListener('pageshow', ({ persisted }) => {
  const memory = persisted ? recallMining() : null;
  if (!memory) return;
  pausedSince = memory.pausedSince;
  void start();
});

/** A page that the browser freezes computes nothing: what it holds goes to others, and it is given nothing for a while. */
const FROZEN_MS = 60_000;
const rest = (pauseMs: number) => worker?.postMessage({ type: 'rest', pauseMs } satisfies ToWorker);
document.addEventListener('freeze', () => rest(FROZEN_MS));
document.addEventListener('resume', () => rest(0));

const fail = (error: SwarmError) => publish(stopped(error.toWire()));

const ANSWER_MS = 5_000;

/** A reload would take away what a visitor does on another page, while it is seen, or with a wallet: it waits. */
const isInUse = () =>
  (!document.hidden && pageAt(location.pathname).name !== 'mine') || !dispatchEvent(new Event(RENEWAL, { cancelable: true }));

/** Its worker cannot be loaded, or what that needs: the page is loaded anew once the server answers, and goes on mining. */
function awaitCode(error: WireError): void {
  const { message } = error;
  const since = Date.now();
  const told = { ...error, hint: 'Nothing to do: the page is loaded anew by itself once the server answers, and mining goes on.' };
  const placeless = { ...(state ?? connecting('')), stage: null, layers: null, tokensPerSecond: 0 };
  const before = { ...placeless, activity: 'connecting', reason: message, since } as const;
  const ports = {
    ask: async () => {
      if (isInUse()) throw new Error('The page is in use.');
      await getJson('/v1/run', AbortSignal.timeout(ANSWER_MS));
    },
    reload: () => {
      const memory = recallMining();
      // Unlike one that iOS loads anew, it may go on at once.
      if (memory) rememberMining({ ...memory, startedAt: 0 });
      location.reload();
    },
    storage: () => sessionStorage,
  };
  endRenewal = renew(ports, (until) => {
    publish({ ...before, error: told, waiting: { ...explain({ code: 'OFFLINE', message }), since, until } });
  });
}

function publish(next: MinerState): void {
  if (next.minerId !== null && next.minerId !== state?.minerId) void rememberOwn(next.minerId);
  state = next;
  if (next.activity === 'stopped') {
    clearTimeout(goodbye);
    worker?.terminate();
    worker = null;
    ending = null;
    endRenewal?.();
    endRenewal = null;
    // Where a tab cannot remember that it mines, nothing would go on.
    if (next.error?.code === 'CODE_MISSING' && recallMining()) {
      awaitCode(next.error);
      return;
    }
    pausedSince = null;
    playTone(false);
  }
  expose(next);
  notify();
}

function notify(): void {
  for (const listener of listeners) listener();
}

/** For automation: attributes on `<html>` and `window.starling`. */
function expose(next: MinerState): void {
  window.starling.state = { ...next, session: null };
  const { dataset } = document.documentElement;
  dataset.minerActivity = next.activity;
  const { waiting, error } = next;
  dataset.minerReason = (error?.code === 'CODE_MISSING' ? error : (waiting ?? error))?.code ?? '';
  dataset.minerBackend = next.backend ?? '';
  dataset.minerId = next.minerId ?? '';
  dataset.minerStage = next.stage === null ? '' : String(next.stage);
  dataset.minerMicrobatches = String(next.microbatches);
  dataset.minerRefused = String(next.rejected);
  dataset.minerTokensPerSecond = String(next.tokensPerSecond);
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

window.starling = { state: null, finish: () => finish('Its operator asked for it.') };

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Null before the first Start. */
export const useMiner = (): MinerState | null => useSyncExternalStore(subscribe, () => state);
/** The miner this tab is or was, else the one that this browser was last; null before its first Start. */
export const useOwnId = (): string | null => useSyncExternalStore(subscribe, () => own);
/** The miners that other tabs of this browser are, or were: the last ones. */
export const otherMiners = (): string[] => minersOf(SHARED).flatMap(({ id }) => (id === own ? [] : [id]));
export const useEnding = (): 'stop' | 'finish' | null => useSyncExternalStore(subscribe, () => ending);
/** On mains power; null where the browser does not tell. */
export const useCharging = (): boolean | null => useSyncExternalStore(subscribe, () => conditions.charging);
/** Pause was pressed, and Resume was not. */
export const usePaused = (): boolean => useSyncExternalStore(subscribe, () => pausedSince !== null);
