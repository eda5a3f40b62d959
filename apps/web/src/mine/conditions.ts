/** What the browser tells of the device's owner: on mains power or not, at the keyboard or not. */
import { useSyncExternalStore } from 'react';
import type { Conditions } from './policy.ts';

/** Neither is in TypeScript's library: the one is Chromium's only, the other too. */
interface Battery extends EventTarget {
  readonly charging: boolean;
}
interface Detector extends EventTarget {
  readonly userState: 'active' | 'idle' | null;
  readonly screenState: 'locked' | 'unlocked' | null;
  start(options: { threshold: number; signal?: AbortSignal }): Promise<void>;
}
declare global {
  interface Navigator {
    getBattery?: () => Promise<Battery>;
  }
  var IdleDetector: (new () => Detector) & { requestPermission(): Promise<'granted' | 'denied'> };
}

/** Nobody touched anything for so long; the least that the browser's detector takes. */
const IDLE_MS = 60_000;
const INPUTS = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart'];

/** Calls back with what is known, at once and at every change. */
export function watchConditions(changed: (conditions: Conditions) => void): void {
  let known: Conditions = { charging: null, idle: null };
  const say = (part: Partial<Conditions>) => {
    known = { ...known, ...part };
    changed(known);
  };
  changed(known);
  void navigator
    .getBattery?.()
    .then((battery) => {
      const tell = () => say({ charging: battery.charging });
      battery.addEventListener('chargingchange', tell);
      tell();
    })
    .catch(() => {}); // a page without leave to know it
  watchInputs((idle) => say({ idle }));
}

/** By what is done on this page, which is all that every browser tells; `watchWholeDevice` knows of the whole device. */
function watchInputs(changed: (idle: boolean) => void): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let idle: boolean | null = null;
  const tell = (now: boolean) => {
    if (idle !== now && !detecting) changed(now);
    idle = now;
  };
  const active = () => {
    tell(false);
    clearTimeout(timer);
    timer = setTimeout(() => tell(true), IDLE_MS);
  };
  for (const name of INPUTS) addEventListener(name, active, { passive: true });
  detected = changed;
  // Somebody has just opened the page, or loaded it anew.
  active();
}

let detecting = false;
let detected: (idle: boolean) => void = () => {};
const listeners = new Set<() => void>();

/** Asks for leave to know whether somebody uses the device, not only this page. To be called in a click. */
export async function watchWholeDevice(): Promise<void> {
  if (typeof IdleDetector === 'undefined') return;
  if ((await IdleDetector.requestPermission().catch(() => 'denied')) === 'granted') await detect();
}

/** After a reload the leave that was given holds on, but the browser's detector has ended. */
export async function watchWholeDeviceAgain(): Promise<void> {
  if (typeof IdleDetector === 'undefined') return;
  const leave = await navigator.permissions.query({ name: 'idle-detection' as PermissionName }).catch(() => null);
  if (leave?.state === 'granted') await detect();
}

/** Where the browser will not, this page alone goes on being watched. */
async function detect(): Promise<void> {
  if (detecting) return;
  const detector = new IdleDetector();
  const tell = () => detected(detector.userState === 'idle' || detector.screenState === 'locked');
  try {
    await detector.start({ threshold: IDLE_MS });
  } catch {
    return;
  }
  detecting = true;
  detector.addEventListener('change', tell);
  tell();
  for (const listener of listeners) listener();
}

/** The whole device is watched; false: this page alone. */
export const useWholeDevice = (): boolean =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => detecting,
  );
