import type { MinerState } from '@starling/miner';
import {
  ACTIVITIES,
  ERROR_HINTS,
  type ErrorCode,
  explain,
  type MinerView,
  REASON_REMEDIES,
  type ReasonCode,
  SwarmError,
  type Waiting,
} from '@starling/protocol';
import { expect, test } from 'vitest';
import { headline, isInHeadline, SHORT_WAIT_MS, situation, times } from './activity.ts';
import { adapterName, webgpuFix } from './device.ts';
import { isLean, settingsFrom, wantsAutostart } from './settings.ts';
import { claimTab } from './tab.ts';

const state = (part: Partial<MinerState>) =>
  ({ activity: 'waiting', reason: null, waiting: null, since: 0, error: null, microbatches: 5, ...part }) as MinerState;
const reason = (code: ReasonCode, since = 0, until: number | null = null): Waiting => ({
  ...explain({ code, message: `About ${code}.` }),
  since,
  until,
});
const failure = (code: ErrorCode) => new SwarmError(code, `About ${code}.`).toWire();
const view = (part: Partial<MinerView>) =>
  ({ activity: 'waiting', reason: null, waiting: null, bannedUntil: null, connected: true, stage: 1, ...part }) as MinerView;

test('a short wait between microbatches still reads as mining, a long one says why, since when and what to do', () => {
  const waiting = state({ reason: 'About UPSTREAM.', waiting: reason('UPSTREAM', 700) });
  expect(headline(waiting, null, SHORT_WAIT_MS - 1)).toMatchObject({ title: 'Mining', tone: 'work', code: null });
  expect(headline(waiting, null, SHORT_WAIT_MS)).toEqual({
    title: 'Waiting',
    tone: 'wait',
    sentence: 'About UPSTREAM.',
    remedy: REASON_REMEDIES.UPSTREAM,
    code: 'UPSTREAM',
    since: 700,
    until: null,
  });
  expect(headline(state({ microbatches: 0 }), null, 0)).toMatchObject({ title: 'Waiting' });
});

test('a wait whose beginning the server does not tell counts from when it was seen', () => {
  const waiting = state({ since: 42, waiting: reason('OTHER_MINERS', 0) });
  expect(headline(waiting, null, 5_000).since).toBe(42);
});

test('a ban is told at once, with its end', () => {
  const banned = state({ since: 1_000, waiting: reason('BANNED', 900, 16_000) });
  expect(headline(banned, null, 1_001)).toMatchObject({ title: 'Banned', tone: 'bad', since: 900, until: 16_000 });
  expect([5_200, 16_000].map((now) => times(headline(banned, null, now), now))).toEqual(['4 s · 11 s left', '15 s · over now']);
  expect(headline(state({ since: 1_000, waiting: reason('UPSTREAM', 900) }), null, 9_000).until).toBeNull();
});

test('every situation has a headline', () => {
  expect(headline(null, null, 0).title).toBe('Ready');
  expect(headline(state({ activity: 'forward' }), 'stop', 0).title).toBe('Stopping');
  expect(headline(state({ activity: 'forward' }), 'finish', 0)).toMatchObject({ title: 'Finishing', code: 'FINISHING' });
  expect(headline(state({ activity: 'warming-up' }), null, 0).title).toBe('Warming up');
  expect(headline(state({ activity: 'stopped' }), null, 0)).toMatchObject({ title: 'Stopped', tone: 'idle' });
  expect(headline(state({ activity: 'stopped', error: failure('BACKEND_FAILED') }), null, 0).tone).toBe('bad');
});

test('every reason to wait reaches the headline with its sentence, its remedy and its code', () => {
  for (const code of Object.keys(REASON_REMEDIES) as ReasonCode[]) {
    const told = { sentence: `About ${code}.`, remedy: REASON_REMEDIES[code], code };
    expect(headline(state({ waiting: reason(code) }), null, 60_000)).toMatchObject(told);
    expect(situation(view({ waiting: reason(code) }), 60_000)).toMatchObject(told);
  }
});

test('every failure that stops or delays has its sentence, its hint and its code, and no headline says only "error"', () => {
  for (const code of Object.keys(ERROR_HINTS) as ErrorCode[]) {
    const connecting = state({ activity: 'connecting', reason: null, error: failure(code) });
    expect(isInHeadline(connecting)).toBe(true);
    expect(headline(connecting, null, 0)).toMatchObject({ sentence: `About ${code}.`, remedy: ERROR_HINTS[code], code });
    expect(headline(connecting, null, 0).title).not.toMatch(/error/i);
    const stopped = state({ activity: 'stopped', error: failure(code) });
    expect(headline(stopped, null, 0)).toMatchObject({ tone: 'bad', sentence: `About ${code}.`, remedy: ERROR_HINTS[code], code });
  }
  const full = state({ activity: 'connecting', reason: 'Full.', error: failure('BUSY'), waiting: reason('FULL', 0, 15_000) });
  expect(headline(full, null, 0)).toMatchObject({ title: 'No place yet', sentence: 'Full.', until: 15_000 });
  for (const activity of ACTIVITIES) {
    expect(headline(state({ activity }), null, 0).sentence).toMatch(/\w \w/);
    expect(situation(view({ activity }), 0).sentence).toMatch(/\w \w/);
  }
});

test('a failure beside other work is not in the headline', () => {
  expect(isInHeadline(state({ activity: 'downloading', error: failure('HTTP_FAILED') }))).toBe(false);
});

test('another miner: gone, away, banned, between two microbatches, at work', () => {
  expect(situation(view({ connected: false, stage: null }), 0).title).toBe('Not in the run');
  expect(situation(view({ connected: false }), 0).title).toBe('Disconnected');
  const banned = view({ waiting: reason('BANNED', 4_000, 19_000) });
  expect(situation(banned, 4_100)).toMatchObject({ title: 'Banned', tone: 'bad', since: 4_000, until: 19_000 });
  expect(situation(view({ waiting: reason('UPSTREAM', 4_000) }), 4_000 + SHORT_WAIT_MS - 1).title).toBe('Mining');
  expect(situation(view({ activity: 'backward' }), 0)).toMatchObject({ title: 'Mining', tone: 'work' });
  expect(situation(view({ activity: 'downloading', reason: 'Fetching stage 1: 0.9 MB.' }), 0)).toMatchObject({
    title: 'Downloading',
    sentence: 'Fetching stage 1: 0.9 MB.',
  });
});

test('the address wins over memory, and nonsense over neither', () => {
  const memory = (key: string) => ({ 'starling.name': 'kestrel', 'starling.backend': 'wasm', 'starling.awake': '1' })[key] ?? null;
  const rest = { tone: false, intensity: 1, memoryCap: null, onlyOnMains: false, onlyWhenIdle: false, hours: null };
  expect(settingsFrom(new URLSearchParams('?name= lab 7 &backend=webgpu'), memory)).toEqual({
    ...rest,
    name: 'lab 7',
    backend: 'webgpu',
    awake: true,
  });
  expect(settingsFrom(new URLSearchParams('?backend=quantum'), memory)).toMatchObject({ name: 'kestrel', backend: 'wasm' });
  expect(settingsFrom(new URLSearchParams(''), () => null)).toEqual({ ...rest, name: '', backend: 'auto', awake: false });
  const more = { 'starling.intensity': '0.3', 'starling.memory': '512', 'starling.mains': '1', 'starling.hours': '22:00-06:30' };
  const recalled = (key: string) => (more as Record<string, string>)[key] ?? null;
  expect(settingsFrom(new URLSearchParams(''), recalled)).toMatchObject({
    ...{ intensity: 0.3, memoryCap: 512, onlyOnMains: true, hours: { from: 1320, until: 390 } },
  });
  expect(settingsFrom(new URLSearchParams('?intensity=0.5'), recalled).intensity).toBe(0.5);
  expect(settingsFrom(new URLSearchParams('?intensity=7'), () => 'x')).toMatchObject({ intensity: 1, memoryCap: null, hours: null });
  expect([isLean(new URLSearchParams('?lean=1')), isLean(new URLSearchParams(''))]).toEqual([true, false]);
  expect([wantsAutostart(new URLSearchParams('?autostart=1')), wantsAutostart(new URLSearchParams('?autostart=0'))]).toEqual([true, false]);
});

test('an adapter is named by the most telling words there are', () => {
  const none = { vendor: '', architecture: '', device: '', description: '' };
  expect(adapterName({ ...none, vendor: 'nvidia', architecture: 'ampere', description: 'GeForce RTX 3060' })).toBe('GeForce RTX 3060');
  expect(adapterName({ ...none, vendor: 'apple', architecture: 'metal-3' })).toBe('apple metal-3');
  expect(adapterName(none)).toBe('a GPU the browser does not name');
});

test('the fix for missing WebGPU names the browser at hand', () => {
  const chrome = 'AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36';
  expect(webgpuFix(`Mozilla/5.0 (X11; Linux x86_64) ${chrome}`)).toContain('Chrome on Linux');
  expect(webgpuFix(`Mozilla/5.0 (Windows NT 10.0) ${chrome}`)).toContain('graphics acceleration');
  expect(webgpuFix('Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0')).toContain('about:config');
  expect(webgpuFix('Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15')).toContain('Safari');
});

/** Locks that others hold already; all else is granted at once. */
function locksHeldBy(others: string[]): Pick<LockManager, 'request'> {
  const request = (name: string, _options: unknown, granted: () => Promise<never>) =>
    others.includes(name) ? Promise.reject(new DOMException('', 'TimeoutError')) : granted();
  return { request: request as unknown as LockManager['request'] };
}

function memory(entries: Record<string, string>): Pick<Storage, 'getItem' | 'setItem'> {
  const map = new Map(Object.entries(entries));
  return { getItem: (key) => map.get(key) ?? null, setItem: (key, value) => void map.set(key, value) };
}

test('a reload keeps the tab’s name, a duplicate gets its own', async () => {
  const storage = memory({ 'starling.tab': 'a' });
  expect(await claimTab(storage, locksHeldBy([]))).toBe('a');
  const duplicate = await claimTab(storage, locksHeldBy(['starling.tab.a']));
  expect(duplicate).not.toBe('a');
  expect(storage.getItem('starling.tab')).toBe(duplicate);
});

test('without Web Locks nothing is remembered', async () => {
  expect(await claimTab(memory({ 'starling.tab': 'a' }), undefined)).not.toBe('a');
});
