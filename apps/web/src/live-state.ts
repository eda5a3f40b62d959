/** What a spectator knows of the run, as a pure function of what `/watch` said. */
import {
  newestEvents,
  type RunEvent,
  type RunSnapshot,
  type StepPoint,
  thinned,
  type WatchSnapshot,
  type WatchUpdate,
  withDelta,
} from '@starling/protocol';

export interface Live {
  connection: 'connecting' | 'open' | 'lost';
  /** Unix ms since when `connection` holds. */
  since: number;
  /** Of the server's process. */
  feed: string;
  sequence: number;
  /** Null until the first snapshot. Kept while the connection is lost. */
  run: RunSnapshot | null;
  points: StepPoint[];
  events: RunEvent[];
}

export const initialLive = (now: number): Live => ({
  connection: 'connecting',
  since: now,
  feed: '',
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
  const { feed, sequence, run } = message;
  return {
    ...withConnection(live, 'open', now),
    feed,
    sequence,
    run,
    points: message.points,
    events: message.events,
  };
}

/** What follows from an update. Null means that one was missed: the server sends it again to who asks. */
export function applyUpdate(live: Live, message: WatchUpdate, now: number): Live | null {
  if (message.sequence !== live.sequence + 1 || !live.run) return null;
  return {
    ...withConnection(live, 'open', now),
    sequence: message.sequence,
    run: withDelta(live.run, message),
    points: append(live.points, message.points ?? [], thinned),
    events: append(live.events, message.events ?? [], newestEvents),
  };
}

/** The same array when there is nothing new, so that charts need not look again. */
function append<T>(old: T[], more: T[], keep: (all: T[]) => T[]): T[] {
  return more.length === 0 ? old : keep([...old, ...more]);
}
