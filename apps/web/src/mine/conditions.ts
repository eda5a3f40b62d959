/** What the browser tells of the device's owner: on mains power or not, at the keyboard or not. */
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
  let idle = true;
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
  detected = (now) => changed(now);
  changed(true);
}

let detecting = false;
let detected: (idle: boolean) => void = () => {};

/** Asks for leave to know whether somebody uses the device, not only this page. To be called in a click. False: this page alone is watched. */
export async function watchWholeDevice(): Promise<boolean> {
  if (detecting) return true;
  if (typeof IdleDetector === 'undefined') return false;
  try {
    if ((await IdleDetector.requestPermission()) !== 'granted') return false;
    const detector = new IdleDetector();
    detector.addEventListener('change', () => detected(detector.userState === 'idle' || detector.screenState === 'locked'));
    await detector.start({ threshold: IDLE_MS });
    detecting = true;
    return true;
  } catch {
    return false;
  }
}
