/** The settings of this tab, shared by the pages, and with the other tabs of the browser. */
import { useSyncExternalStore } from 'react';
import { chosenElsewhere, type Settings, saveSettings, settingsFrom } from './settings.ts';

const listeners = new Set<() => void>();
const query = new URLSearchParams(location.search);
let settings = settingsFrom(query);

export const currentSettings = (): Settings => settings;

export function changeSettings(part: Partial<Settings>): void {
  saveSettings(part);
  take(part);
}

function take(part: Partial<Settings>): void {
  settings = { ...settings, ...part };
  for (const listener of listeners) listener();
}

addEventListener('storage', ({ key, newValue }) => take(chosenElsewhere(key, newValue, query)));

/** Calls back at every change. */
export function onSettings(changed: (settings: Settings) => void): void {
  listeners.add(() => changed(settings));
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useSettings = (): Settings => useSyncExternalStore(subscribe, currentSettings);
