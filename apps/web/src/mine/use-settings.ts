/** The settings of this tab, shared by the pages. */
import { useSyncExternalStore } from 'react';
import { type Settings, saveSettings, settingsFrom } from './settings.ts';

const listeners = new Set<() => void>();
let settings = settingsFrom(new URLSearchParams(location.search));

export const currentSettings = (): Settings => settings;

export function changeSettings(part: Partial<Settings>): void {
  settings = { ...settings, ...part };
  saveSettings(settings);
  for (const listener of listeners) listener();
}

/** Calls back at every change. */
export function onSettings(changed: (settings: Settings) => void): void {
  listeners.add(() => changed(settings));
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useSettings = (): Settings => useSyncExternalStore(subscribe, currentSettings);
