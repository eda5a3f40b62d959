/** Writes text with the run's model, away from the page's thread. Tokens are bytes. */
import { Decoder, huggingFaceFiles, sample, splitMix32 } from '@starling/model';
import { SwarmError } from '@starling/protocol';
import { loadModel } from './load-model.ts';
import type { FromWriter, ToWriter, Wanted } from './messages.ts';
import { zip } from './zip.ts';

/** Text is handed over after so long: often enough to look fluent, and to be stopped at once. */
const SLICE_MS = 60;
/** What an empty prompt begins with: the model has no token for a beginning. */
const NOTHING = new TextEncoder().encode('\n');

type Write = Extract<ToWriter, { type: 'write' }>;

let loaded: { key: string; parameters: Float32Array<ArrayBuffer> } | null = null;
/** Counts what was asked for: whatever was asked before the newest is over. */
let newest = 0;

const post = (message: FromWriter) => self.postMessage(message);

self.onmessage = ({ data: message }: MessageEvent<ToWriter>) => {
  newest += 1;
  if (message.type === 'stop') return;
  const task = message.type === 'write' ? write(message, newest) : pack(message);
  task.catch((error: unknown) => post({ type: 'failed', error: SwarmError.from(error).toWire() }));
};

async function parametersOf({ run, version }: Wanted): Promise<Float32Array<ArrayBuffer>> {
  const key = `${run.runId} ${version}`;
  if (loaded?.key !== key) {
    loaded = null; // not two of them at once
    const parameters = await loadModel({ run, version }, (share) => post({ type: 'loading', share }));
    loaded = { key, parameters };
  }
  return loaded.parameters;
}

async function write(wanted: Write, turn: number): Promise<void> {
  const { run, prompt, sampling, tokens, seed } = wanted;
  const decoder = new Decoder({ shape: run.model, parameters: await parametersOf(wanted) });
  const next = splitMix32(seed);
  const random = () => next() / 2 ** 32;
  const bytes = new TextEncoder().encode(prompt);
  const text = new TextDecoder();
  let logits: ArrayLike<number> = [];
  for (const byte of bytes.length > 0 ? bytes : NOTHING) logits = decoder.next(byte);
  for (let written = 0; written < tokens && turn === newest; ) {
    const started = performance.now();
    const slice: number[] = [];
    while (written < tokens && performance.now() - started < SLICE_MS) {
      const token = sample(logits, sampling, random);
      slice.push(token);
      written += 1;
      logits = decoder.next(token);
    }
    const ms = performance.now() - started;
    post({ type: 'text', text: text.decode(Uint8Array.from(slice), { stream: written < tokens }), tokens: slice.length, ms });
    await new Promise((resolve) => setTimeout(resolve)); // a word from the page may be waiting
  }
  if (turn === newest) post({ type: 'done' });
}

async function pack(wanted: Extract<ToWriter, { type: 'pack' }>): Promise<void> {
  const { run, version, loss } = wanted;
  const files = huggingFaceFiles({ shape: run.model, parameters: await parametersOf(wanted) }, { runId: run.runId, version, loss });
  post({ type: 'packed', archive: new Blob(zip(files), { type: 'application/zip' }) });
}
