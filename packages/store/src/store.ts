/**
 * What a run must remember to survive its server: the ordered log of the coordinator's inputs, snapshots of its
 * state, the tensors that receipts brought and stages still need, and rows that pages query. Texts are opaque here.
 *
 * One writer owns a store. What `append` resolved is durable: it is there after `kill -9` and after a power cut. What
 * it did not resolve may or may not be there, but never a part of a batch.
 */

/** One input of the log. */
export interface Entry {
  /** 1, 2, 3 … without gaps. */
  seq: number;
  /** Unix ms at which it was handled, fractions allowed. Never falls, which is the writer's duty: no store checks it. */
  at: number;
  body: string;
}

/** Something that happened, for pages: a receipt of a miner, a point of a curve, an event. */
export interface Row {
  /** Which list it belongs to. */
  kind: string;
  /** Whose it is within the list; empty when it is nobody's. */
  owner: string;
  /** Unix ms. */
  at: number;
  body: string;
}

export interface StoredRow extends Row {
  /** Ascends in the order of writing. */
  id: number;
}

/** A tensor that a stage still needs: its frame, or the name of the blob that is its frame. */
export interface StoredTensor {
  /** What it is released with. */
  scope: string;
  /** Unique within its scope; writing it again replaces it and makes it the newest one. */
  name: string;
  /** SHA-256 of the tensor's bytes, in hex. No store checks it. */
  hash: string;
  /** Exactly one of `frame` and `blob` is there. */
  frame: Uint8Array | null;
  blob: string | null;
}

/** Written as a whole or not at all. It may not be changed before `append` is through. */
export interface Batch {
  /** The first follows the newest entry there is. */
  entries: readonly Entry[];
  /** Only beside entries: by those a batch is recognised when it is tried again. */
  rows: readonly Row[];
  tensors: readonly StoredTensor[];
  /** Scopes whose tensors nobody needs any more: removed after `tensors` were written. */
  released: readonly string[];
}

export interface Snapshot {
  /** The state after this entry. */
  seq: number;
  /** SHA-256 of `state`, in hex. */
  hash: string;
  state: string;
}

export interface RowQuery {
  /** Only this owner's; absent: everybody's. */
  owner?: string;
  /** Only rows written before the one with this id. */
  before?: number;
  /** At most so many. */
  limit: number;
}

/**
 * Every method but `close` may throw `STORE_FAILED` (disk full, connection lost, …); the same call may then be tried
 * again, and does no harm when the first one did get through. `STORE_CONFLICT`: somebody else wrote, or an entry does
 * not follow; `LOG_UNREADABLE`: the disk gave back something else than was written. Trying those again is of no use.
 *
 * Texts are any that UTF-8 can hold; PostgreSQL refuses U+0000 in them with `STORE_FAILED` (JSON escapes it).
 */
export interface Store {
  /** In words, for an operator: where it is. */
  readonly name: string;
  /**
   * Appends may be issued without waiting and are done in their order. After one has failed with `STORE_FAILED`, those
   * behind it fail with `STORE_FAILED`, too, until it is tried again, with the same batch: they are all tried again,
   * in their order. Throws `INTERNAL` for rows without entries.
   */
  append(batch: Batch): Promise<void>;
  /** Number of the newest entry; 0 when there is none. */
  lastSeq(): Promise<number>;
  /** Entries after `seq`, ascending, at most `limit`. */
  entries(after: number, limit: number): Promise<Entry[]>;
  /**
   * Keeps the newest `SNAPSHOTS_KEPT` snapshots; one after the same entry is replaced. Throws `STORE_FAILED` while its
   * entry is not stored: after a crash another entry would get that number, and the snapshot be wrong.
   */
  saveSnapshot(snapshot: Snapshot): Promise<void>;
  /** The newest snapshot that is whole (its hash fits) and not after entry `through`; null when there is none. */
  snapshot(through: number): Promise<Snapshot | null>;
  /** The newest first. */
  rows(kind: string, query: RowQuery): Promise<StoredRow[]>;
  /** All that were not released, in the order of writing. */
  tensors(): Promise<StoredTensor[]>;
  /** Gives the store back; open calls end first. Never throws, and may be called again; other calls then throw `STORE_FAILED`. */
  close(): Promise<void>;
}

/** A replay to any point starts at the newest snapshot before it; older points start at the first entry. */
export const SNAPSHOTS_KEPT = 8;
