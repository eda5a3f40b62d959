import type { MinerState } from '@starling/miner';
import { expect, test } from 'vitest';
import { headline, SHORT_WAIT_MS } from './activity.ts';
import { adapterName, webgpuFix } from './device.ts';
import { settingsFrom, wantsAutostart } from './settings.ts';
import { claimTab } from './tab.ts';

const state = (part: Partial<MinerState>) =>
  ({ activity: 'waiting', reason: null, since: 0, error: null, microbatches: 5, ...part }) as MinerState;

test('a short wait between microbatches still reads as mining, a long one says why and since when', () => {
  const waiting = state({ reason: 'Stage 1 has no miner.' });
  expect(headline(waiting, false, SHORT_WAIT_MS - 1)).toMatchObject({ title: 'Mining', tone: 'work' });
  expect(headline(waiting, false, SHORT_WAIT_MS)).toEqual({ title: 'Waiting', tone: 'wait', sentence: 'Stage 1 has no miner.', since: 0 });
  expect(headline(state({ microbatches: 0 }), false, 0)).toMatchObject({ title: 'Waiting' });
});

test('every situation has a headline', () => {
  expect(headline(null, false, 0).title).toBe('Ready');
  expect(headline(state({ activity: 'forward' }), true, 0).title).toBe('Stopping');
  expect(headline(state({ activity: 'warming-up' }), false, 0).title).toBe('Warming up');
  expect(headline(state({ activity: 'stopped' }), false, 0)).toMatchObject({ title: 'Stopped', tone: 'idle' });
  const error = { code: 'BACKEND_FAILED', message: 'm', hint: 'h' } as const;
  expect(headline(state({ activity: 'stopped', error }), false, 0).tone).toBe('bad');
});

test('the address wins over memory, and nonsense over neither', () => {
  const memory = (key: string) => ({ 'starling.name': 'kestrel', 'starling.backend': 'wasm', 'starling.awake': '1' })[key] ?? null;
  expect(settingsFrom(new URLSearchParams('?name= lab 7 &backend=webgpu'), memory)).toEqual({
    name: 'lab 7',
    backend: 'webgpu',
    awake: true,
  });
  expect(settingsFrom(new URLSearchParams('?backend=quantum'), memory)).toMatchObject({ name: 'kestrel', backend: 'wasm' });
  expect(settingsFrom(new URLSearchParams(''), () => null)).toEqual({ name: '', backend: 'auto', awake: false });
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
