/** What tests put into stores. */
import { createHash } from 'node:crypto';
import type { Batch, Entry, Row, Snapshot, StoredTensor } from './store.ts';

export const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex');

export const batchOf = (part: Partial<Batch>): Batch => ({ entries: [], rows: [], tensors: [], released: [], ...part });
/** Entries `first` to `last`; `mark` makes others of the same numbers. */
export const entriesOf = (first: number, last: number, mark = ''): Entry[] =>
  Array.from({ length: last - first + 1 }, (_, k) => ({
    seq: first + k,
    at: 1_700_000_000_000 + first + k,
    body: `{"n":${first + k}}${mark}`,
  }));
export const row = (kind: string, owner: string, n: number): Row => ({ kind, owner, at: 1_700_000_000_000 + n, body: `{"n":${n}}` });
export const framed = (scope: string, name: string, frame: Uint8Array): StoredTensor => ({
  scope,
  name,
  hash: sha256(frame),
  frame,
  blob: null,
});
export const named = (scope: string, name: string, blob: string): StoredTensor => ({ scope, name, hash: sha256(blob), frame: null, blob });
export const snapshotOf = (seq: number, state = `{"after":${seq}}`): Snapshot => ({ seq, hash: sha256(state), state });
export const keys = (tensors: StoredTensor[]) => tensors.map(({ scope, name }) => `${scope}/${name}`);
export const bytes = (length: number) => Uint8Array.from({ length }, (_, k) => (k * 31 + (k >> 8)) & 0xff);
