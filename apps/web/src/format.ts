/** Numbers and times as people read them. Every function is pure; `–` stands for "not known yet". */

const NONE = '–';
const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const clockFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const dayFormat = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric' });

/** 1234567 → `1,234,567` */
export const count = (n: number | null): string => (n === null ? NONE : grouped.format(n));

const UNITS = ['', 'k', 'M', 'B', 'T'];

/** Three significant digits: 950 → `950`, 12345 → `12.3k`, 4.2e6 → `4.20M` */
export function compact(n: number | null): string {
  if (n === null || !Number.isFinite(n)) return NONE;
  let value = Math.abs(n);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 ? (value < 10 && !Number.isInteger(value) ? 1 : 0) : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return `${n < 0 ? '−' : ''}${value.toFixed(digits)}${UNITS[unit]}`;
}

/** A loss in nats per token: 2.3456 → `2.346` */
export const loss = (n: number | null): string => (n === null || !Number.isFinite(n) ? NONE : n.toFixed(3));

/** 0.0003 → `3.00e-4` */
export const small = (n: number | null): string => (n === null ? NONE : n === 0 ? '0' : n.toExponential(2));

/** Counting up: 7000 → `0:07`, 3 723 000 → `1:02:03`, from two days `2 d 4 h` */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const two = (n: number) => String(n).padStart(2, '0');
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** In words, for estimates: 90 000 → `2 min` */
export function roughly(ms: number): string {
  if (ms < 60_000) return `${Math.max(1, Math.round(ms / 1000))} s`;
  if (ms < 90 * 60_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 48 * 3_600_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

const ALONE: Record<string, string> = { '1 s': 'second', '1 min': 'minute', '60 min': 'hour' };

/** How often: 60 000 → `every minute`, 960 000 → `every 16 min` */
export function every(ms: number): string {
  const time = roughly(ms);
  return `every ${ALONE[time] ?? time}`;
}

/** Counting up, in the largest unit that is whole: 4200 → `4 s`, 150 000 → `2 min`, 7 300 000 → `2 h`, from two days `3 days` */
export function lasting(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** What something took: 4.23 → `4.2 ms`, 42.3 → `42 ms`, 1234 → `1.2 s`, 90 000 → `90 s`, 200 000 → `3 min` */
export function took(ms: number): string {
  if (ms < 9.95) return `${Math.round(10 * ms) / 10} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 119_500) return `${Math.round(ms / 1000)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

export const clock = (time: number): string => clockFormat.format(time);

/** A clock time; with its day when that is not today's. */
export function moment(time: number, now: number): string {
  const today = new Date(time).toDateString() === new Date(now).toDateString();
  return today ? clock(time) : `${dayFormat.format(time)} ${clock(time)}`;
}

/** `[0, 1]` → `layers 0–1`, `[3, 3]` → `layer 3` */
export const layers = ([first, last]: readonly [number, number]): string => (first === last ? `layer ${first}` : `layers ${first}–${last}`);

/** 3 → `3 miners`, 1 → `1 miner` */
export const plural = (n: number, noun: string): string => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** 5 242 880 → `5.0 MiB` */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  const unit = Math.min(units.length - 1, n > 0 ? Math.floor(Math.log2(n) / 10) : 0);
  return `${(n / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

/** `{ uploaded: 5 242 880, sent: 1024 }` → `5.0 MiB up, 1.0 KiB down`: as miners see it. */
export const traffic = ({ uploaded, sent }: { uploaded: number; sent: number }): string => `${bytes(uploaded)} up, ${bytes(sent)} down`;
