/** What a spectator knows of the run, as a pure function of what `/watch` said. */
import type { RunEvent, RunSnapshot, StepPoint, WatchSnapshot, WatchUpdate } from '@starling/protocol';

export const MAX_POINTS = 5000;
export const MAX_EVENTS = 300;

export interface Live {
  connection: 'connecting' | 'open' | 'lost';
  /** Unix ms since when `connection` holds. */
  since: number;
  sequence: number;
  /** Null until the first snapshot. Kept while the connection is lost. */
  run: RunSnapshot | null;
  points: StepPoint[];
  events: RunEvent[];
}

export const initialLive = (now: number): Live => ({
  connection: 'connecting',
  since: now,
  sequence: -1,
  run: null,
  points: [],
  events: [],
});

export function withConnection(live: Live, connection: Live['connection'], now: number): Live {
  return live.connection === connection ? live : { ...live, connection, since: now };
}

/** A snapshot replaces everything: whatever was missed is in it. */
export function applySnapshot(live: Live, message: WatchSnapshot, now: number): Live {
  const { sequence, run } = message;
  return {
    ...withConnection(live, 'open', now),
    sequence,
    run,
    points: message.points.slice(-MAX_POINTS),
    events: message.events.slice(-MAX_EVENTS),
  };
}

/** Appends an update. Null means that one was missed: only a new snapshot can mend that. */
export function applyUpdate(live: Live, message: WatchUpdate): Live | null {
  if (message.sequence !== live.sequence + 1) return null;
  return {
    ...live,
    sequence: message.sequence,
    run: message.run,
    points: append(live.points, message.points, MAX_POINTS),
    events: append(live.events, message.events, MAX_EVENTS),
  };
}

/** The same array when there is nothing new, so that charts need not look again. */
function append<T>(old: T[], more: T[], limit: number): T[] {
  return more.length === 0 ? old : [...old, ...more].slice(-limit);
}
