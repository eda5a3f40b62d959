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
import { expect, test, vi } from 'vitest';
import type { CheckAnswer, Checked } from '../check.worker.ts';
import { headline, inShort, isInHeadline, lampOf, SHORT_WAIT_MS, situation, times } from './activity.ts';
import { ask, findingsOf, stillTrue } from './check.ts';
import { adapterName, webgpuFix } from './device.ts';
import { isReloadLoop, recallMining, rememberMining } from './reload.ts';
import { type RenewalPorts, renew } from './renewal.ts';
import { chosenElsewhere, isLean, saveSettings, settingsFrom, threadsFrom, wantedWallet, wantsAutostart } from './settings.ts';
import { claimTab, minersOf, rememberMiner } from './tab.ts';

const state = (part: Partial<MinerState>) =>
  ({ activity: 'waiting', reason: null, waiting: null, paused: null, since: 0, error: null, microbatches: 5, ...part }) as MinerState;
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

test('a rest for the intensity is told with its end, and a short one as part of mining; other miners’, too', () => {
  const rests = (until: number) => state({ reason: 'About INTENSITY.', waiting: reason('INTENSITY', 1_000, until) });
  expect(headline(rests(11_000), null, 1_001)).toMatchObject({
    ...{ title: 'Resting', tone: 'wait', sentence: 'About INTENSITY.', code: 'INTENSITY', since: 1_000, until: 11_000 },
  });
  const short = rests(1_000 + SHORT_WAIT_MS - 1);
  expect(headline(short, null, 1_001)).toMatchObject({ title: 'Mining', tone: 'work', sentence: 'About INTENSITY.', since: null });
  expect(lampOf(short, headline(short, null, 1_001))).toBeNull();
  expect(situation(view({ reason: 'About INTENSITY.' }), 1_001)).toMatchObject({ title: 'Mining', sentence: 'About INTENSITY.' });
});

test('the lamp of waiting is not lit while the headline says mining', () => {
  const lit = (miner: MinerState, now: number) => lampOf(miner, headline(miner, null, now));
  const waiting = state({ waiting: reason('UPSTREAM', 700) });
  expect([lit(waiting, SHORT_WAIT_MS - 1), lit(waiting, SHORT_WAIT_MS)]).toEqual([null, 'waiting']);
  expect([lit(state({ activity: 'backward' }), 0), lit(state({ activity: 'downloading' }), 0)]).toEqual(['backward', 'downloading']);
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
  expect(headline(null, null, 0, null, true)).toMatchObject({ title: 'Finished', remedy: REASON_REMEDIES.COMPLETE, code: 'COMPLETE' });
  const framed = failure('FRAMED');
  expect(headline(null, null, 0, framed)).toMatchObject({ title: 'Cannot mine here', sentence: framed.message, code: 'FRAMED' });
  expect(headline(state({ activity: 'forward' }), 'stop', 0).title).toBe('Stopping');
  expect(headline(state({ activity: 'forward' }), 'finish', 0)).toMatchObject({ title: 'Finishing', code: 'FINISHING' });
  const offline = state({
    activity: 'connecting',
    reason: 'No connection.',
    error: failure('CONNECTION_LOST'),
    waiting: reason('OFFLINE', 0, 900),
  });
  expect(headline(offline, null, 0)).toMatchObject({ title: 'No connection', code: 'CONNECTION_LOST', until: 900 });
  const finishing = { ...offline, paused: reason('FINISHING', 100, 120_100) };
  const deadline = { since: 100, until: 120_100 };
  expect(headline(finishing, 'finish', 0)).toMatchObject({
    title: 'Finishing',
    sentence: 'No connection.',
    code: 'FINISHING',
    ...deadline,
  });
  const paused = reason('PAUSED', 500);
  for (const activity of ['applying', 'reducing', 'uploading', 'forward'] as const)
    expect(headline(state({ activity, paused }), null, 9_000)).toMatchObject({ title: 'Paused', tone: 'idle', since: 500 });
  expect(headline(state({ activity: 'downloading', paused }), null, 0).title).toBe('Downloading');
  expect(headline(state({ activity: 'warming-up' }), null, 0).title).toBe('Warming up');
  expect(headline(state({ activity: 'stopped' }), null, 0)).toMatchObject({ title: 'Stopped', tone: 'idle' });
  expect(headline(state({ activity: 'stopped', error: failure('BACKEND_FAILED') }), null, 0).tone).toBe('bad');
});

test('header and title tell a rate only while it works: whoever is paused, banned or resting reads so', () => {
  const short = (part: Partial<MinerState>) => {
    const miner = state({ tokensPerSecond: 12, ...part });
    return inShort(headline(miner, null, 60_000), miner);
  };
  expect(short({ activity: 'forward' })).toEqual({ tone: 'work', text: '12 tok/s' });
  expect(short({ waiting: reason('PAUSED') })).toEqual({ tone: 'idle', text: 'paused' });
  expect(short({ waiting: reason('POLICY') })).toEqual({ tone: 'idle', text: 'paused' });
  expect(short({ waiting: reason('BANNED') })).toEqual({ tone: 'bad', text: 'banned' });
  expect(short({ waiting: reason('RESTING') })).toEqual({ tone: 'wait', text: 'resting' });
  expect(short({ activity: 'stopped', error: failure('BACKEND_FAILED') })).toEqual({ tone: 'bad', text: 'stopped' });
  expect(short({ activity: 'stopped' })).toBeNull();
  expect(inShort(headline(null, null, 0), null)).toBeNull();
});

test('every reason to wait reaches the headline with its sentence, its remedy and its code', () => {
  for (const code of Object.keys(REASON_REMEDIES) as ReasonCode[]) {
    const told = { sentence: `About ${code}.`, remedy: REASON_REMEDIES[code], code };
    expect(headline(state({ waiting: reason(code) }), null, 60_000)).toMatchObject(told);
    expect(situation(view({ waiting: reason(code) }), 60_000)).toMatchObject(told);
  }
});

test('what can be chosen only while nothing runs is advised with the Stop before it', () => {
  // Where there is no WebGPU to mine on, nothing runs.
  const { WEBGPU_UNAVAILABLE: _, ...hints } = ERROR_HINTS;
  const choosing = Object.values({ ...REASON_REMEDIES, ...hints }).filter((remedy) => /choose (Auto|WebGPU|CPU)/i.test(remedy));
  expect(choosing).toHaveLength(6);
  for (const remedy of choosing) expect(remedy).toMatch(/press Stop, choose .* under “Compute on”, and press Start/);
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
  const memory = (key: string) => ({ 'starling.name': 'kestrel', 'starling.backend': 'wasm', 'starling.awake': '0' })[key] ?? null;
  const rest = { tone: false, intensity: 1, memoryCap: null, onlyOnMains: false, onlyWhenIdle: false, hours: null };
  expect(settingsFrom(new URLSearchParams('?name= lab 7 &backend=webgpu'), memory)).toEqual({
    ...rest,
    name: 'lab 7',
    backend: 'webgpu',
    awake: false,
  });
  expect(settingsFrom(new URLSearchParams('?backend=quantum'), memory)).toMatchObject({ name: 'kestrel', backend: 'wasm' });
  expect(settingsFrom(new URLSearchParams(''), () => null)).toEqual({ ...rest, name: '', backend: 'auto', awake: true });
  const more = { 'starling.intensity': '0.3', 'starling.memory': '512', 'starling.mains': '1', 'starling.hours': '22:00-06:30' };
  const recalled = (key: string) => (more as Record<string, string>)[key] ?? null;
  expect(settingsFrom(new URLSearchParams(''), recalled)).toMatchObject({
    ...{ intensity: 0.3, memoryCap: 512, onlyOnMains: true, hours: { from: 1320, until: 390 } },
  });
  expect(settingsFrom(new URLSearchParams('?intensity=0.5'), recalled).intensity).toBe(0.5);
  expect(settingsFrom(new URLSearchParams('?intensity=7'), () => 'x')).toMatchObject({ intensity: 1, memoryCap: null, hours: null });
  expect([isLean(new URLSearchParams('?lean=1')), isLean(new URLSearchParams(''))]).toEqual([true, false]);
});

test('what two tabs choose is kept together: each writes only what it changed, and takes what the other did', () => {
  const none = new URLSearchParams('');
  const storage = new Map<string, string>();
  const recalled = (key: string) => storage.get(key) ?? null;
  const save = (part: Parameters<typeof saveSettings>[0]) => saveSettings(part, (key, value) => storage.set(key, value));
  save({ tone: true });
  save({ memoryCap: 512, hours: { from: 60, until: 90 } });
  expect([...storage.keys()].sort()).toEqual(['starling.hours', 'starling.memory', 'starling.tone']);
  expect(settingsFrom(none, recalled)).toMatchObject({ tone: true, memoryCap: 512, hours: { from: 60, until: 90 } });
  save({ memoryCap: null, hours: null });
  expect(settingsFrom(none, recalled)).toMatchObject({ tone: true, memoryCap: null, hours: null });

  expect(chosenElsewhere('starling.intensity', '0.5', none)).toEqual({ intensity: 0.5 });
  expect(chosenElsewhere('starling.name', 'heron', none)).toEqual({ name: 'heron' });
  expect(chosenElsewhere('starling.name', 'heron', new URLSearchParams('?name=lab')), 'the address wins').toEqual({});
  expect([chosenElsewhere('starling.miners', '[]', none), chosenElsewhere(null, null, none)]).toEqual([{}, {}]);
});

test('WebAssembly has half of the cores, or what the address says, and never more than there are', () => {
  const threads = (address: string, cores: number, isolated = true) => threadsFrom(new URLSearchParams(address), cores, isolated);
  expect([1, 2, 3, 4, 10, 32].map((cores) => threads('', cores))).toEqual([1, 1, 1, 2, 5, 8]);
  expect(['?threads=3', '?threads=9', '?threads=0', '?threads=x'].map((address) => threads(address, 4))).toEqual([3, 4, 2, 2]);
  expect([threads('?threads=12', 32), threads('?threads=3', 8, false)]).toEqual([8, 1]);
});

test('a link starts nothing and opens no wallet: only a program that drives the browser may', () => {
  const query = new URLSearchParams('?autostart=1&wallet=polkadot-js');
  expect([wantsAutostart(query, true), wantedWallet(query, true)]).toEqual([true, 'polkadot-js']);
  expect([wantsAutostart(query, false), wantedWallet(query, false)]).toEqual([false, null]);
  expect([wantsAutostart(new URLSearchParams('?autostart=0'), true), wantedWallet(new URLSearchParams(''), true)]).toEqual([false, null]);
});

test('an adapter is named by the most telling words there are', () => {
  const none = { vendor: '', architecture: '', device: '', description: '' };
  expect(adapterName({ ...none, vendor: 'nvidia', architecture: 'ampere', description: 'GeForce RTX 3060' })).toBe('GeForce RTX 3060');
  expect(adapterName({ ...none, vendor: 'apple', architecture: 'metal-3' })).toBe('apple metal-3');
  expect(adapterName(none)).toBe('a GPU the browser does not name');
});

const CHROME = 'AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0';
const WEBKIT = 'AppleWebKit/605.1.15 (KHTML, like Gecko)';
test.each([
  ['Chrome, Windows', `(Windows NT 10.0; Win64; x64) ${CHROME} Safari/537.36`, 'chrome://settings/system', /Linux|edge|flags/],
  ['Chrome, Mac', `(Macintosh; Intel Mac OS X 10_15_7) ${CHROME} Safari/537.36`, 'chrome://settings/system', /Linux|edge|flags/],
  ['Edge, Windows', `(Windows NT 10.0; Win64; x64) ${CHROME} Safari/537.36 Edg/140.0.0.0`, 'edge://settings/system', /chrome:/],
  ['Chrome, Linux', `(X11; Linux x86_64) ${CHROME} Safari/537.36`, 'chrome://flags', /settings/],
  ['Edge, Linux', `(X11; Linux x86_64) ${CHROME} Safari/537.36 Edg/140.0.0.0`, 'edge://flags', /chrome:/],
  ['Chrome, ChromeOS', `(X11; CrOS x86_64 14541.0.0) ${CHROME} Safari/537.36`, 'ChromeOS', /settings|Vulkan/],
  ['Chrome, Android', `(Linux; Android 10; K) ${CHROME} Mobile Safari/537.36`, 'Android 12', /settings|Vulkan/],
  ['Edge, Android', `(Linux; Android 10; K) ${CHROME} Mobile Safari/537.36 EdgA/140.0.0.0`, 'Android 12', /settings|edge:/],
  [
    'Samsung Internet',
    `(Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile`,
    'Samsung',
    /:\/\//,
  ],
  ['Firefox, Windows', '(Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0', 'about:config', /chrome:|Android/],
  ['Firefox, Linux', '(X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0', 'about:config', /chrome:|Android/],
  ['Firefox, Android', '(Android 14; Mobile; rv:141.0) Gecko/141.0 Firefox/141.0', 'Chrome 121', /about:|:\/\//],
  [
    'Safari, iPhone',
    `(iPhone; CPU iPhone OS 18_6 like Mac OS X) ${WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1`,
    'version 26',
    /chrome:/,
  ],
  [
    'Chrome, iPhone',
    `(iPhone; CPU iPhone OS 18_6 like Mac OS X) ${WEBKIT} CriOS/140.0 Mobile/15E148 Safari/604.1`,
    'version 26',
    /chrome:/,
  ],
  ['Safari, Mac', `(Macintosh; Intel Mac OS X 10_15_7) ${WEBKIT} Version/18.6 Safari/605.1.15`, 'macOS 26', /chrome:/],
  ['an unknown one', 'Lynx/2.9', 'current Chrome', /:\/\//],
])('the fix for missing WebGPU is one that %s has', (_, userAgent, says, never) => {
  const fix = webgpuFix(`Mozilla/5.0 ${userAgent}`);
  expect(fix).toContain(says);
  expect(fix).not.toMatch(never);
});

/** Locks that others hold already; all else is granted at once. */
function locksHeldBy(others: string[]): Pick<LockManager, 'request'> {
  const request = (name: string, { ifAvailable }: LockOptions, granted: (lock: object | null) => Promise<never>) => {
    if (!others.includes(name)) return granted({});
    return ifAvailable ? granted(null) : Promise.reject(new DOMException('', 'TimeoutError'));
  };
  return { request: request as unknown as LockManager['request'] };
}

function memory(entries: Record<string, string>): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
  const map = new Map(Object.entries(entries));
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
}

test('a reload keeps the tab’s name, a duplicate gets its own and is not taken for a reload', async () => {
  const storage = memory({ 'starling.tab': 'a' });
  expect(await claimTab(storage, memory({}), locksHeldBy([]))).toEqual({ tab: 'a', again: true });
  const duplicate = await claimTab(storage, memory({}), locksHeldBy(['starling.tab.a']));
  expect(duplicate.again).toBe(false);
  expect(duplicate.tab).not.toBe('a');
  expect(storage.getItem('starling.tab')).toBe(duplicate.tab);
});

test('a new tab goes on as the miner that joined last of those whose tabs are closed; a few are remembered', async () => {
  const shared = memory({});
  for (const tab of ['a', 'b', 'c', 'b']) rememberMiner(shared, { tab, id: `m-${tab}` });
  expect(minersOf(shared).map(({ id }) => id)).toEqual(['m-b', 'm-c', 'm-a']);
  const own = memory({});
  expect(await claimTab(own, shared, locksHeldBy(['starling.tab.b']))).toEqual({ tab: 'c', again: false });
  expect(own.getItem('starling.tab')).toBe('c');
  const open = ['a', 'b', 'c'].map((tab) => `starling.tab.${tab}`);
  expect((await claimTab(memory({}), shared, locksHeldBy(open))).tab).toMatch(/^\d+-\d+-\d+-\d+$/);
  for (let i = 0; i < 20; i++) rememberMiner(shared, { tab: `${i}`, id: '' });
  expect(minersOf(shared)).toHaveLength(8);
  expect(['{', '7', '[7, {"tab": 1}]'].map((text) => minersOf(memory({ 'starling.miners': text })))).toEqual([[], [], []]);
});

test('without Web Locks nothing is remembered', async () => {
  const shared = memory({ 'starling.miners': '[{"tab":"a","id":"m"}]' });
  const claim = await claimTab(memory({ 'starling.tab': 'a' }), shared, undefined);
  expect(claim.tab).not.toBe('a');
  expect(claim.again).toBe(false);
});

test('a reload keeps that it mined and that it was paused; blocked storage and nonsense keep nothing', () => {
  const storage = memory({});
  expect(recallMining(() => storage)).toBeNull();
  rememberMining({ startedAt: 5, pausedSince: 7 }, () => storage);
  expect(recallMining(() => storage)).toEqual({ startedAt: 5, pausedSince: 7 });
  rememberMining(null, () => storage);
  expect(recallMining(() => storage)).toBeNull();
  expect(recallMining(() => memory({ 'starling.mining': '{' }))).toBeNull();
  const blocked = () => {
    throw new DOMException('', 'SecurityError');
  };
  expect(recallMining(blocked)).toBeNull();
  rememberMining({ startedAt: 5, pausedSince: null }, blocked);
});

test('on iOS a page loaded anew within a minute of its start does not go on by itself', () => {
  const memory = { startedAt: 1_000, pausedSince: null };
  expect([60_999, 61_000].map((now) => isReloadLoop(memory, now, true))).toEqual([true, false]);
  expect(isReloadLoop(memory, 1_001, false)).toBe(false);
});

test('a tab whose code is missing is loaded anew once a server answers, but not again within a minute, and not after Stop', async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  const kept = new Map<string, string>();
  let answers = false;
  const loads: number[] = [];
  const ports: RenewalPorts = {
    ask: () => (answers ? Promise.resolve() : Promise.reject(new Error('No answer.'))),
    reload: () => loads.push(Date.now()),
    storage: () => ({ getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) }),
  };
  const tries: number[] = [];
  renew(ports, (next) => tries.push(next));
  await vi.advanceTimersByTimeAsync(12_000);
  expect(tries).toEqual([1_005_000, 1_010_000, 1_015_000]);
  answers = true;
  await vi.advanceTimersByTimeAsync(120_000);
  expect(loads).toEqual([1_015_000]);
  expect(vi.getTimerCount()).toBe(0);

  // The page that was loaded then, with the same storage, finds it missing again.
  vi.setSystemTime(1_016_000);
  renew(ports, (next) => tries.push(next));
  expect(tries.at(-1)).toBe(1_075_000);
  await vi.advanceTimersByTimeAsync(59_000);
  expect(loads).toEqual([1_015_000, 1_075_000]);

  vi.setSystemTime(2_000_000);
  const end = renew(ports, () => {});
  end();
  const question = Promise.withResolvers<void>();
  const asking = renew({ ...ports, ask: () => question.promise }, () => {});
  await vi.advanceTimersByTimeAsync(5_000);
  asking();
  question.resolve();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(loads).toHaveLength(2);

  vi.setSystemTime(900_000); // the clock was set back
  renew(ports, (next) => tries.push(next))();
  expect(tries.at(-1)).toBe(905_000);
  vi.useRealTimers();
});

const CHECKED: Checked = {
  ...{ backend: 'webgpu', adapter: 'a GPU', f16: true, flops: 5e11, memory: 2 ** 29, uplink: 3e7, fallback: null },
  limits: { buffer: 2 ** 28, binding: 2 ** 27 },
};

test('a check ends with what was found, with why nothing was, or when it is stopped, and its worker with it', async () => {
  vi.useFakeTimers();
  const check = () => {
    const worker = { onmessage: null, onerror: null, postMessage: vi.fn(), terminate: vi.fn() } as unknown as Worker;
    const stop = new AbortController();
    return { worker, stop, answer: ask(worker, { url: 'http://x', backend: 'auto', threads: 1, memory: 0 }, stop.signal) };
  };
  const found = check();
  found.worker.onmessage!({ data: { checked: CHECKED } } as MessageEvent<CheckAnswer>);
  const stopped = check();
  stopped.stop.abort();
  const silent = check();
  const broken = check();
  broken.worker.onerror!({ message: 'No such variable.' } as ErrorEvent);
  const missing = check();
  missing.worker.onerror!({} as ErrorEvent);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(await Promise.all([found, stopped, silent, broken, missing].map(({ answer }) => answer))).toMatchObject([
    { checked: CHECKED },
    null,
    { error: { message: 'The check found nothing in 20 s.' } },
    { error: { code: 'BACKEND_FAILED', message: 'No such variable.' } },
    { error: { code: 'CODE_MISSING' } },
  ]);
  for (const { worker } of [found, stopped, silent, broken, missing]) expect(worker.terminate).toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

test('what the check found holds for a day, in the same browser', () => {
  const kept = JSON.stringify({ checked: CHECKED, at: 1_000, userAgent: 'A/1' });
  expect(stillTrue(kept, 'A/1', 86_400_999)?.checked).toEqual(CHECKED);
  expect(stillTrue(kept, 'A/1', 86_401_000)).toBeNull();
  expect(stillTrue(kept, 'A/2', 2_000)).toBeNull();
  expect(['{', '1', null].map((text) => stillTrue(text, 'A/1', 2_000))).toEqual([null, null, null]);
});

test('a line that could not be measured is told with its reason, beside what was found of the GPU', () => {
  const findings = findingsOf({ ...CHECKED, uplink: failure('CONNECTION_LOST') }, '');
  expect(findings.map(({ good }) => good)).toEqual([true, true, true, true, false]);
  expect(findings.at(-1)).toMatchObject({
    sentence: 'The line to the server could not be measured: About CONNECTION_LOST.',
    fix: expect.stringContaining(ERROR_HINTS.CONNECTION_LOST),
  });
});

test('what is chosen is no fault, and no advice names a choice that cannot be made now', () => {
  const slow = { ...CHECKED, flops: 1e8 };
  const chosen = findingsOf({ ...slow, backend: 'wasm', memory: null, limits: null }, 'Update it.');
  expect(chosen[0]).toEqual({ good: true, sentence: 'It computes on the processor, by choice.', fix: null });
  expect(chosen[1]!.fix).toBe('Close other heavy tabs.');
  expect(findingsOf(slow, '')[1]!.fix).toMatch(/before the next Start\.$/);
  const fallen = findingsOf({ ...slow, backend: 'wasm', fallback: failure('GPU_MISSING') }, 'Update it.');
  expect(fallen[0]).toEqual({ good: false, sentence: 'About GPU_MISSING.', fix: 'Update it.' });
});
