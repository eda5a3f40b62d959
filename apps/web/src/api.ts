/** What pages ask the server over HTTP. */
import { SwarmError, type WireError } from '@starling/protocol';
import { useEffect, useState } from 'react';
import { fetchTimed } from './server-clock.ts';

/** The answer to a GET. Throws the server's refusal, `CONNECTION_LOST`, or `HTTP_FAILED` when something else answered. */
export const getJson = <T>(path: string, signal?: AbortSignal): Promise<T> => askJson<T>(path, signal ? { signal } : {});

/** The answer to a POST of JSON. Throws as `getJson`. */
export const postJson = <T>(path: string, body: unknown): Promise<T> => askJson<T>(path, { method: 'POST', body: JSON.stringify(body) });

async function askJson<T>(path: string, request: RequestInit): Promise<T> {
  const response = await fetchTimed(path, request).catch((cause: unknown) => {
    throw new SwarmError('CONNECTION_LOST', 'No answer from the server.', { cause });
  });
  const body = (await response.json().catch(() => null)) as (T & { error?: WireError }) | null;
  if (response.ok && body !== null) return body;
  if (body?.error) throw SwarmError.fromWire(body.error);
  throw new SwarmError('HTTP_FAILED', `The server answered ${response.status}.`);
}

export interface Polled<T> {
  /** The newest answer; while `pending`, that to the question before. */
  value: T | null;
  /** Why the last attempt failed; null when it did not. */
  error: WireError | null;
  pending: boolean;
}

/** What goes on changing is asked again after so long, and so is what failed. */
export const REFRESH_MS = 4_000;

/**
 * Asks at once, and again every `everyMs` (null: only until there is an answer) while the page is visible. Another `load` is
 * another question: the answer to the old one stays until the new one is there.
 */
export function usePolled<T>(load: (signal: AbortSignal) => Promise<T>, everyMs: number | null): Polled<T> {
  const [state, setState] = useState<{ value: T | null; error: WireError | null; of: unknown }>({ value: null, error: null, of: null });
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asking = false;
    let next: number | null = 0;
    const ask = async () => {
      if (asking || next === null || document.visibilityState === 'hidden') return;
      asking = true;
      clearTimeout(timer);
      try {
        const value = await load(abort.signal);
        if (abort.signal.aborted) return;
        setState({ value, error: null, of: load });
        next = everyMs;
      } catch (error) {
        if (abort.signal.aborted) return;
        setState(({ value }) => ({ value, error: SwarmError.from(error).toWire(), of: load }));
        next = Math.min(everyMs ?? REFRESH_MS, REFRESH_MS);
      }
      asking = false;
      if (next !== null) timer = setTimeout(ask, next);
    };
    void ask();
    document.addEventListener('visibilitychange', ask);
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', ask);
    };
  }, [load, everyMs]);
  return { value: state.value, error: state.error, pending: state.of !== load };
}
