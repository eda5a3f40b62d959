/** The live run: one connection to `/watch` for the whole page. */
import type { Move, ServerToSpectator, WatchAuth } from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { useSyncExternalStore } from 'react';
import { io, type Socket } from 'socket.io-client';
import { applySnapshot, applyUpdate, initialLive, type Live, withConnection } from './live-state.ts';

const listeners = new Set<() => void>();
const movers = new Set<(moves: readonly Move[]) => void>();
let live = initialLive(Date.now());

function set(next: Live): void {
  if (next === live) return;
  live = next;
  for (const listener of listeners) listener();
}

/** Opens the connection. Called once, by `main.tsx`. */
export function watch(): void {
  const socket: Socket<ServerToSpectator> = io('/watch', {
    ...{ transports: ['websocket'], reconnectionDelayMax: 5000, parser: packets },
    // Only what was missed is sent, where the server still has it.
    auth: (tell) => tell({ feed: live.feed, sequence: live.sequence } satisfies WatchAuth),
  });
  const lost = () => set(withConnection(live, 'lost', Date.now()));

  // Who has missed nothing is sent nothing.
  socket.on('connect', () => live.run && set(withConnection(live, 'open', Date.now())));
  socket.on('snapshot', (message) => set(applySnapshot(live, message, Date.now())));
  socket.on('update', (message) => {
    const next = applyUpdate(live, message, Date.now());
    if (!next) {
      socket.disconnect().connect();
      return;
    }
    set(next);
    for (const listener of movers) listener(message.moves ?? []);
  });
  socket.on('connect_error', lost);
  socket.on('disconnect', (reason) => {
    if (reason === 'io client disconnect') return; // Ours, to mend a gap.
    lost();
    if (reason === 'io server disconnect') socket.connect();
  });
}

/** Calls back with what moved, up to four times a second. Returns what ends it. */
export function onMoves(listener: (moves: readonly Move[]) => void): () => void {
  movers.add(listener);
  return () => movers.delete(listener);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useLive = (): Live => useSyncExternalStore(subscribe, () => live);

/** All steps of the run are done: there is nothing to mine. */
export const useIsComplete = (): boolean => useSyncExternalStore(subscribe, () => live.run?.phase === 'complete');
