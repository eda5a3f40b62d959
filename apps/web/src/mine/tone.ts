/**
 * Browsers slow hidden tabs down and may put them to sleep, but not while they play sound: a tone far below what anybody hears keeps a
 * tab awake. Only where the visitor asks for it, since the tab then shows a loudspeaker.
 */
import { useSyncExternalStore } from 'react';

const LEVEL = 0.0005;
const HERTZ = 40;
/** A browser that lets it play does so within this time. */
const SETTLED_MS = 500;
/** A page that was not touched yet may not make a sound; each of these may end that. */
const INPUTS = ['mousedown', 'pointerup', 'touchend', 'keydown'];

let context: AudioContext | null = null;
let silenced = false;
const listeners = new Set<() => void>();

/** To be called in a click; where it is not, as after a reload, the next input makes it sound. */
export function playTone(wanted: boolean): void {
  if (!wanted) {
    void context?.close();
    context = null;
    hear();
    return;
  }
  if (context) {
    resume();
    return;
  }
  context = new AudioContext();
  const [oscillator, gain] = [context.createOscillator(), context.createGain()];
  oscillator.frequency.value = HERTZ;
  gain.gain.value = LEVEL;
  oscillator.connect(gain).connect(context.destination);
  oscillator.start();
  context.onstatechange = hear;
  setTimeout(hear, SETTLED_MS);
}

function resume(): void {
  if (context && context.state !== 'running') context.resume().catch(() => {}); // it stays silent, and that is told
}
for (const name of INPUTS) addEventListener(name, resume, { capture: true, passive: true });

function hear(): void {
  silenced = context !== null && context.state !== 'running';
  for (const listener of listeners) listener();
}

/** The tone is wanted, and the browser does not let it sound. */
export const useToneSilenced = (): boolean =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => silenced,
  );
