/** What the visitor chose: from the address, else as remembered, else the defaults. */
import { MOST_THREADS } from '@starling/kernels/constants';
import { MAX_NAME } from '@starling/protocol';
import { recall, remember } from '../remember.ts';
import type { BackendChoice } from '../worker-messages.ts';
import { clockOf, minutesOf, type Rules } from './policy.ts';

export interface Settings extends Rules {
  name: string;
  backend: BackendChoice;
  /** Keep the screen on while it mines and is seen. */
  awake: boolean;
  /** Play a tone that nobody hears, so that a hidden tab goes on. */
  tone: boolean;
  /** Share of the time in which it computes, above 0 to 1. */
  intensity: number;
  /** MiB on the device that a stage may need; null: what there is. */
  memoryCap: number | null;
}

/** MiB on the device that can be chosen, ascending. */
export const MEMORY_CAPS = [256, 512, 1_024, 2_048, 4_096] as const;
export const LEAST_INTENSITY = 0.1;
const CHOICES: BackendChoice[] = ['auto', 'webgpu', 'wasm'];
const KEY = (name: string) => `starling.${name}`;

const asChoice = (text: string | null): BackendChoice | undefined => CHOICES.find((choice) => choice === text);

function asShare(text: string | null): number | undefined {
  const share = text === null || text === '' ? Number.NaN : Number(text);
  return share >= LEAST_INTENSITY && share <= 1 ? share : undefined;
}

function asMemory(text: string | null): number | null {
  const mebibytes = Number(text ?? 0);
  return Number.isInteger(mebibytes) && mebibytes > 0 ? mebibytes : null;
}

function asHours(text: string | null): Rules['hours'] {
  const [from, until] = (text ?? '').split('-').map(minutesOf);
  return typeof from === 'number' && typeof until === 'number' ? { from, until } : null;
}

/** How one of them is remembered. `read`: of nothing, and of nonsense, the default. */
interface Field<T> {
  key: string;
  read(text: string | null): T;
  write(value: T): string;
}

const flag = (key: string, usual: boolean): Field<boolean> => ({
  key,
  read: (text) => (usual ? text !== '0' : text === '1'),
  write: (on) => (on ? '1' : '0'),
});

const FIELDS: { [K in keyof Settings]: Field<Settings[K]> } = {
  name: { key: 'name', read: (text) => (text ?? '').trim().slice(0, MAX_NAME), write: (name) => name },
  backend: { key: 'backend', read: (text) => asChoice(text) ?? 'auto', write: (backend) => backend },
  awake: flag('awake', true),
  tone: flag('tone', false),
  intensity: { key: 'intensity', read: (text) => asShare(text) ?? 1, write: String },
  memoryCap: { key: 'memory', read: asMemory, write: (cap) => String(cap ?? 0) },
  onlyOnMains: flag('mains', false),
  onlyWhenIdle: flag('idle', false),
  hours: { key: 'hours', read: asHours, write: (hours) => (hours ? `${clockOf(hours.from)}-${clockOf(hours.until)}` : '') },
};
const NAMES = Object.keys(FIELDS) as (keyof Settings)[];

const read = (name: keyof Settings, text: string | null): Partial<Settings> => ({ [name]: FIELDS[name].read(text) });

/** `?backend=auto|webgpu|wasm&name=…&intensity=…` win over what this browser remembers. */
export function settingsFrom(query: URLSearchParams, recalled: (key: string) => string | null = recall): Settings {
  const kept = Object.assign({}, ...NAMES.map((name) => read(name, recalled(KEY(FIELDS[name].key))))) as Settings;
  const name = query.get('name');
  return {
    ...kept,
    ...(name !== null && read('name', name)),
    backend: asChoice(query.get('backend')) ?? kept.backend,
    intensity: asShare(query.get('intensity')) ?? kept.intensity,
  };
}

/** What another tab has just written under this key; nothing where it is no setting, or this tab's address says it. */
export function chosenElsewhere(key: string | null, text: string | null, query: URLSearchParams): Partial<Settings> {
  const name = NAMES.find((one) => KEY(FIELDS[one].key) === key);
  return name === undefined || query.has(name) ? {} : read(name, text);
}

/**
 * `?autostart=1` starts without a click. Only for programs that drive a browser (`navigator.webdriver`): any link to this page could
 * say it, and whoever follows one has agreed to nothing.
 */
export const wantsAutostart = (query: URLSearchParams, webdriver: boolean): boolean => webdriver && query.get('autostart') === '1';

/**
 * What it computes with on WebAssembly: `?threads=N`, as programs that open several tabs say it, else half of the cores. Of most
 * processors two cores are one's two threads, or half are slow ones; and the page has to be drawn. `isolated`: others are no part of
 * the page, or it may have one thread only.
 */
export function threadsFrom(query: URLSearchParams, cores: number, isolated: boolean): number {
  if (!isolated) return 1;
  const asked = Number(query.get('threads') ?? Number.NaN);
  const wanted = Number.isInteger(asked) && asked > 0 ? Math.min(asked, cores) : Math.max(1, Math.floor(cores / 2));
  return Math.min(wanted, MOST_THREADS);
}

/** Of this tab, in this browser. */
export const ownThreads = (): number =>
  threadsFrom(new URLSearchParams(location.search), navigator.hardwareConcurrency, crossOriginIsolated);

/** `?lean=1`: nobody looks at this tab. */
export const isLean = (query: URLSearchParams): boolean => query.get('lean') === '1';

/** `?wallet=NAME`: the wallet whose first account is mined for, without a click. For programs only, too. */
export const wantedWallet = (query: URLSearchParams, webdriver: boolean): string | null => (webdriver ? query.get('wallet') : null);

/** Only what was changed: another tab may have changed the rest. */
export function saveSettings(part: Partial<Settings>, write: (key: string, value: string) => void = remember): void {
  const save = <K extends keyof Settings>(name: K, value: Settings[K]) => write(KEY(FIELDS[name].key), FIELDS[name].write(value));
  for (const name of NAMES) {
    const value = part[name];
    if (value !== undefined) save(name, value);
  }
}
