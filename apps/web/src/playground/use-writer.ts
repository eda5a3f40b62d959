/** One worker that writes, and what it has written. */
import { codeMissing, SwarmError, type WireError } from '@starling/protocol';
import { useCallback, useEffect, useRef, useState } from 'react';
import type { FromWriter, ToWriter } from './messages.ts';

export interface Written {
  state: 'idle' | 'loading' | 'writing' | 'packing';
  /** That writes, or wrote; null before. */
  version: number | null;
  prompt: string;
  text: string;
  tokens: number;
  /** Of computing. */
  ms: number;
  /** Of the model that is being fetched. */
  share: number;
  error: WireError | null;
}

const NOTHING: Written = { state: 'idle', version: null, prompt: '', text: '', tokens: 0, ms: 0, share: 0, error: null };

export interface Writer {
  written: Written;
  write(request: Omit<Extract<ToWriter, { type: 'write' }>, 'type'>): void;
  stop(): void;
  /** Fetches and packs a model, and hands it to the browser to save. */
  download(request: Omit<Extract<ToWriter, { type: 'pack' }>, 'type'>, fileName: string): void;
}

export function useWriter(): Writer {
  const [written, setWritten] = useState(NOTHING);
  const worker = useRef<Worker | null>(null);
  const fileName = useRef('');
  useEffect(
    () => () => {
      worker.current?.terminate();
      worker.current = null;
    },
    [],
  );

  const send = useCallback((message: ToWriter) => {
    if (!worker.current) {
      worker.current = new Worker(new URL('./writer.worker.ts', import.meta.url), { type: 'module' });
      worker.current.onmessage = ({ data }: MessageEvent<FromWriter>) => {
        if (data.type === 'packed') save(data.archive, fileName.current);
        setWritten((before) => after(before, data));
      };
      // Of code that could not be loaded nothing more is said. The next one is tried anew.
      worker.current.onerror = ({ message }) => {
        worker.current?.terminate();
        worker.current = null;
        const error = (message ? new SwarmError('BACKEND_FAILED', message) : codeMissing()).toWire();
        setWritten((before) => after(before, { type: 'failed', error }));
      };
    }
    worker.current.postMessage(message);
  }, []);

  return {
    written,
    write: (request) => {
      setWritten({ ...NOTHING, state: 'loading', version: request.version, prompt: request.prompt });
      send({ type: 'write', ...request });
    },
    stop: () => {
      setWritten((before) => ({ ...before, state: 'idle' }));
      send({ type: 'stop' });
    },
    download: (request, name) => {
      fileName.current = name;
      setWritten({ ...NOTHING, state: 'packing' });
      send({ type: 'pack', ...request });
    },
  };
}

function after(before: Written, message: FromWriter): Written {
  switch (message.type) {
    case 'loading':
      return { ...before, share: message.share };
    case 'text': {
      if (before.state === 'idle') return before; // stopped meanwhile
      const { text, tokens, ms } = message;
      return { ...before, state: 'writing', text: before.text + text, tokens: before.tokens + tokens, ms: before.ms + ms };
    }
    case 'done':
    case 'packed':
      return { ...before, state: 'idle' };
    case 'failed':
      return { ...before, state: 'idle', error: message.error };
  }
}

function save(archive: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(archive);
  link.download = name;
  link.click();
  // The browser has its own hold on it as soon as it saves.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
