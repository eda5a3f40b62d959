/** When the owner's rules let this tab mine. Pure: conditions and the time are arguments. */

/** What the owner allows. */
export interface Rules {
  onlyOnMains: boolean;
  onlyWhenIdle: boolean;
  /** Minutes of the day, local; equal ones: all day. From after `until` it goes over midnight. */
  hours: { from: number; until: number } | null;
}

/** What is known of the device; null where the browser does not tell. */
export interface Conditions {
  charging: boolean | null;
  idle: boolean | null;
}

/** Why not now, and until when, if that is known (Unix ms). */
export interface Obstacle {
  message: string;
  until: number | null;
}

const DAY = 24 * 60;

/** Null when it may mine. What the browser does not tell forbids nothing. */
export function obstacle({ onlyOnMains, onlyWhenIdle, hours }: Rules, { charging, idle }: Conditions, now: Date): Obstacle | null {
  if (onlyOnMains && charging === false)
    return { message: 'This device runs on battery, and is to mine on mains power only.', until: null };
  if (onlyWhenIdle && idle === false)
    return { message: 'Somebody uses this device, and it is to mine only while nobody does.', until: null };
  if (hours && !isWithin(hours, now)) {
    const minute = minuteOf(now);
    const wait = (hours.from - minute + DAY) % DAY || DAY;
    const until = new Date(now);
    until.setMinutes(now.getMinutes() + wait, 0, 0);
    return { message: `It is to mine from ${clockOf(hours.from)} to ${clockOf(hours.until)} only.`, until: until.getTime() };
  }
  return null;
}

const minuteOf = (now: Date) => now.getHours() * 60 + now.getMinutes();

function isWithin({ from, until }: { from: number; until: number }, now: Date): boolean {
  const minute = minuteOf(now);
  if (from === until) return true;
  return from < until ? minute >= from && minute < until : minute >= from || minute < until;
}

/** 510 → `08:30` */
export const clockOf = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

/** `08:30` → 510; null for anything else. */
export function minutesOf(clock: string): number | null {
  const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(clock) ?? [];
  return hours === undefined || minutes === undefined ? null : Number(hours) * 60 + Number(minutes);
}
