/**
 * Times that the server states (`since`, `bannedUntil`, a receipt's) are Unix ms of *its* clock, and a home computer's may be
 * minutes off. Every answer carries a `Date`; what it tells is used to show the server's times on this clock.
 */

/** `Date` has whole seconds and a network lies between: less than this is no difference of clocks. */
const NOISE_MS = 2_000;

let ahead = 0;

/** How far the server's clock is ahead of this one, in ms; 0 when the header does not tell. */
export function aheadBy(date: string | null, sent: number, received: number): number {
  const second = date === null ? Number.NaN : Date.parse(date);
  const difference = second + 500 - (sent + received) / 2;
  return Math.abs(difference) < NOISE_MS || Number.isNaN(difference) ? 0 : Math.round(difference);
}

/** `fetch`, from whose answer the clocks are compared. */
export async function fetchTimed(url: string, init?: RequestInit): Promise<Response> {
  const sent = Date.now();
  const response = await fetch(url, { cache: 'no-store', ...init });
  ahead = aheadBy(response.headers.get('date'), sent, Date.now());
  return response;
}

/** For pages that show times before they ask for anything. A server that is away is compared later. */
export function compareClocks(): void {
  fetchTimed('/healthz').catch(() => {});
}

/** A time of the server's clock on this one. */
export const onThisClock = (serverTime: number): number => serverTime - ahead;
