/** What the visitor chose: from the address, else as remembered, else the defaults. */
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

export const MAX_NAME = 40;
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

/** `?backend=auto|webgpu|wasm&name=…&intensity=…` win over what this browser remembers. */
export function settingsFrom(query: URLSearchParams, recalled: (key: string) => string | null = recall): Settings {
  const kept = (name: string) => recalled(KEY(name));
  return {
    name: (query.get('name') ?? kept('name') ?? '').trim().slice(0, MAX_NAME),
    backend: asChoice(query.get('backend')) ?? asChoice(kept('backend')) ?? 'auto',
    awake: kept('awake') !== '0',
    tone: kept('tone') === '1',
    intensity: asShare(query.get('intensity')) ?? asShare(kept('intensity')) ?? 1,
    memoryCap: asMemory(kept('memory')),
    onlyOnMains: kept('mains') === '1',
    onlyWhenIdle: kept('idle') === '1',
    hours: asHours(kept('hours')),
  };
}

/**
 * `?autostart=1` starts without a click. Only for programs that drive a browser (`navigator.webdriver`): any link to this page could
 * say it, and whoever follows one has agreed to nothing.
 */
export const wantsAutostart = (query: URLSearchParams, webdriver: boolean): boolean => webdriver && query.get('autostart') === '1';

/** `?lean=1`: nobody looks at this tab. */
export const isLean = (query: URLSearchParams): boolean => query.get('lean') === '1';

/** `?wallet=NAME`: the wallet whose first account is mined for, without a click. For programs only, too. */
export const wantedWallet = (query: URLSearchParams, webdriver: boolean): string | null => (webdriver ? query.get('wallet') : null);

export function saveSettings({ name, backend, awake, tone, intensity, memoryCap, onlyOnMains, onlyWhenIdle, hours }: Settings): void {
  const flag = (on: boolean) => (on ? '1' : '0');
  const values = {
    ...{ name, backend, awake: flag(awake), tone: flag(tone), intensity: String(intensity), memory: String(memoryCap ?? 0) },
    ...{ mains: flag(onlyOnMains), idle: flag(onlyWhenIdle), hours: hours ? `${clockOf(hours.from)}-${clockOf(hours.until)}` : '' },
  };
  for (const [key, value] of Object.entries(values)) remember(KEY(key), value);
}
