/** Light, dark, or what the system says. `public/theme.js` applies a remembered choice before the first paint. */
import { useSyncExternalStore } from 'react';
import { recall, remember } from './remember.ts';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'starling.theme';
const NEXT: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
const listeners = new Set<() => void>();
const systemDark = matchMedia('(prefers-color-scheme: dark)');

let theme = read();

function read(): Theme {
  const stored = recall(KEY);
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}

export function nextTheme(): void {
  theme = NEXT[theme];
  remember(KEY, theme);
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const listener of listeners) listener();
}

/** Calls `listener` whenever colours change: by the toggle or by the system. */
export function onTheme(listener: () => void): () => void {
  listeners.add(listener);
  systemDark.addEventListener('change', listener);
  return () => {
    listeners.delete(listener);
    systemDark.removeEventListener('change', listener);
  };
}

export const useTheme = (): Theme => useSyncExternalStore(onTheme, () => theme);
