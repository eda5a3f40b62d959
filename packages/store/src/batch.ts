/** What every store asks of a batch before it writes it, so that all of them take and refuse the same ones. */
import { SwarmError } from '@starling/protocol';
import type { Batch, Entry, StoredTensor } from './store.ts';

/** `following`: to be written. `repeated`: its last entry is the newest there is; it may be a retry of what got through. */
export type Place = 'following' | 'repeated';

/**
 * Guards the end of a log for its one writer. After a batch failed, nobody may write what comes behind it: otherwise
 * appends that were issued without waiting would pass one that failed, and its retry could no longer be told from
 * somebody else's entries.
 */
export class Guard {
  /** First entries of the batches that failed and have not got through since. */
  readonly #owed = new Set<number>();

  /**
   * Where `batch` belongs in a log whose newest entry is `newest`. Throws `STORE_CONFLICT` when it does not follow,
   * `STORE_FAILED` when an earlier batch failed and must be tried again first, `INTERNAL` for a batch that no caller
   * may send.
   */
  place(batch: Batch, newest: number): Place {
    const first = batch.entries[0]?.seq;
    if (first === undefined && batch.rows.length > 0)
      throw new SwarmError('INTERNAL', 'Rows were to be stored without an entry: their retry could not be told from new ones.');
    batch.entries.forEach(({ seq }, k) => {
      if (seq !== first! + k) throw new SwarmError('STORE_CONFLICT', `Entry ${seq} does not follow entry ${first! + k - 1} of its batch.`);
    });
    const owed = Math.min(...this.#owed);
    if (this.#owed.size > 0 && (first === undefined || first > owed))
      throw new SwarmError('STORE_FAILED', `Entry ${owed} could not be stored and must be tried again first.`);
    if (first === undefined || first === newest + 1) return 'following';
    const last = first + batch.entries.length - 1;
    if (first >= 1 && first <= newest && last === newest) return 'repeated';
    throw new SwarmError('STORE_CONFLICT', `Entries ${first} to ${last} do not follow entry ${newest}, the newest one that is stored.`);
  }

  stored(batch: Batch): void {
    const first = batch.entries[0]?.seq;
    if (first !== undefined) this.#owed.delete(first);
  }

  /** What `append` threw. A conflict leaves nothing to be tried again. */
  failed(batch: Batch, error: unknown): void {
    if (error instanceof SwarmError && error.code !== 'STORE_FAILED') return;
    const first = batch.entries[0]?.seq;
    if (first !== undefined) this.#owed.add(first);
  }
}

/** Throws `STORE_CONFLICT` unless `stored` are the entries of a batch that got through before. */
export function assertSame(given: readonly Entry[], stored: readonly Entry[]): void {
  const other = given.find(({ at, body }, k) => stored[k]?.at !== at || stored[k].body !== body);
  if (other) throw new SwarmError('STORE_CONFLICT', `Entry ${other.seq} is stored already, with another content.`);
}

/** What is left of the batch's tensors once it is written: the last one under each name, in the order of writing. */
export function lastingTensors({ tensors, released }: Batch): StoredTensor[] {
  const gone = new Set(released);
  const lasting = new Map<string, StoredTensor>();
  for (const tensor of tensors) {
    const key = JSON.stringify([tensor.scope, tensor.name]);
    lasting.delete(key);
    if (!gone.has(tensor.scope)) lasting.set(key, tensor);
  }
  return [...lasting.values()];
}

/** In words, for messages: what could not be written. */
export function describeBatch({ entries }: Batch): string {
  if (entries.length === 0) return 'Tensors';
  return entries.length === 1 ? `Entry ${entries[0].seq}` : `Entries ${entries[0].seq} to ${entries.at(-1)!.seq}`;
}

/** Throws `STORE_FAILED` for a snapshot of entries that are not stored: after a crash others would take their numbers. */
export function assertCovered(seq: number, newest: number): void {
  if (seq > newest)
    throw new SwarmError('STORE_FAILED', `The snapshot after entry ${seq} was refused: the newest entry that is stored is ${newest}.`);
}
