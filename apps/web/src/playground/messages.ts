/** Everything that crosses between the playground and a worker that writes. */
import type { Sampling } from '@starling/model';
import type { RunConfig, WireError } from '@starling/protocol';

/** Which model. Version 0 is the untrained one. */
export interface Wanted {
  run: RunConfig;
  version: number;
}

export type ToWriter =
  | ({ type: 'write'; prompt: string; sampling: Sampling; tokens: number; seed: number } & Wanted)
  | { type: 'stop' }
  | ({ type: 'pack'; loss: number | null } & Wanted);

export type FromWriter =
  /** The model is being fetched; `share` of it is there. */
  | { type: 'loading'; share: number }
  /** Text that follows what came before, and how many tokens that makes, in how many milliseconds of computing. */
  | { type: 'text'; text: string; tokens: number; ms: number }
  | { type: 'done' }
  | { type: 'packed'; archive: Blob }
  | { type: 'failed'; error: WireError };
