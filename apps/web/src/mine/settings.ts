/** What the visitor chose: from the address, else as remembered, else the defaults. */
import { recall, remember } from '../remember.ts';
import type { BackendChoice } from '../worker-messages.ts';

export interface Settings {
  name: string;
  backend: BackendChoice;
  /** Keep the screen on while mining. */
  awake: boolean;
}

export const MAX_NAME = 40;
const NAME = 'starling.name';
const BACKEND = 'starling.backend';
const AWAKE = 'starling.awake';
const CHOICES: BackendChoice[] = ['auto', 'webgpu', 'wasm'];

const asChoice = (text: string | null): BackendChoice | undefined => CHOICES.find((choice) => choice === text);

/** `?autostart=1&backend=auto|webgpu|wasm&name=…` win over what this browser remembers. */
export function settingsFrom(query: URLSearchParams, recalled: (key: string) => string | null = recall): Settings {
  return {
    name: (query.get('name') ?? recalled(NAME) ?? '').trim().slice(0, MAX_NAME),
    backend: asChoice(query.get('backend')) ?? asChoice(recalled(BACKEND)) ?? 'auto',
    awake: recalled(AWAKE) === '1',
  };
}

export const wantsAutostart = (query: URLSearchParams): boolean => query.get('autostart') === '1';

/** `?wallet=NAME`: the wallet whose first account is mined for, without a click. */
export const wantedWallet = (query: URLSearchParams): string | null => query.get('wallet');

export function saveSettings({ name, backend, awake }: Settings): void {
  remember(NAME, name);
  remember(BACKEND, backend);
  remember(AWAKE, awake ? '1' : '0');
}
