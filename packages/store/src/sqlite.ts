/**
 * A store in one SQLite database. All work is done when a method is called, not later: to `await` one costs a
 * microtask, so that a simulation stays deterministic and fast. A server uses `SqliteThread` instead, which keeps the
 * flushes of this one away from its event loop.
 *
 * WAL with `synchronous = FULL`: a commit is one write and one flush, and survives a power cut.
 */
import type { DatabaseSync } from 'node:sqlite';
import { SwarmError } from '@starling/protocol';
import { assertCovered, assertSame, describeBatch, Guard, lastingTensors } from './batch.ts';
import { isWhole } from './snapshots.ts';
import { type OpenSqlite, openSqlite, readSqlite, type SqliteOptions, sqliteFailure } from './sqlite-file.ts';
import {
  type Batch,
  type Entry,
  type RowQuery,
  SNAPSHOTS_KEPT,
  type Snapshot,
  type Store,
  type StoredRow,
  type StoredTensor,
} from './store.ts';

const ENTRIES = 'SELECT seq, at, body FROM entries WHERE seq > ? ORDER BY seq LIMIT ?';
const ROWS = 'SELECT id, kind, owner, at, body FROM rows WHERE kind = ? AND id < ? ORDER BY id DESC LIMIT ?';
const ROWS_OF = 'SELECT id, kind, owner, at, body FROM rows WHERE kind = ? AND owner = ? AND id < ? ORDER BY id DESC LIMIT ?';
const SNAPSHOT = 'SELECT seq, hash, state FROM snapshots WHERE seq <= ? ORDER BY seq DESC LIMIT 1';
/** `OR REPLACE` gives the tensor a new id: written again, it is the newest one. */
const TENSOR = 'INSERT OR REPLACE INTO tensors (scope, name, hash, frame, blob) VALUES (?, ?, ?, ?, ?)';
const PRUNE = 'DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)';

function prepare(database: DatabaseSync) {
  const statement = (sql: string) => database.prepare(sql);
  return {
    begin: statement('BEGIN'),
    commit: statement('COMMIT'),
    rollback: statement('ROLLBACK'),
    lastSeq: statement('SELECT coalesce(max(seq), 0) AS seq FROM entries'),
    entries: statement(ENTRIES),
    rows: statement(ROWS),
    rowsOf: statement(ROWS_OF),
    tensors: statement('SELECT scope, name, hash, frame, blob FROM tensors ORDER BY id'),
    snapshot: statement(SNAPSHOT),
    addEntry: statement('INSERT INTO entries (seq, at, body) VALUES (?, ?, ?)'),
    addRow: statement('INSERT INTO rows (kind, owner, at, body) VALUES (?, ?, ?, ?)'),
    addTensor: statement(TENSOR),
    release: statement('DELETE FROM tensors WHERE scope = ?'),
    addSnapshot: statement('INSERT OR REPLACE INTO snapshots (seq, hash, state) VALUES (?, ?, ?)'),
    prune: statement(PRUNE),
  };
}

export class SqliteStore implements Store {
  readonly name: string;
  readonly #file: OpenSqlite;
  readonly #database: DatabaseSync;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #guard = new Guard();
  #closed = false;

  /** `path` may be `:memory:`. Throws `LOG_UNREADABLE`, `DATA_IN_USE` or `STORE_FAILED` as `openSqlite` does. */
  constructor(path: string, options: SqliteOptions = {}) {
    this.name = path === ':memory:' ? 'a store in memory' : `the store in ${path}`;
    this.#file = options.readOnly ? readSqlite(path, this.name) : openSqlite(path, this.name, options);
    this.#database = this.#file.database;
    this.#sql = prepare(this.#database);
  }

  async append(batch: Batch): Promise<void> {
    try {
      this.#do(`${describeBatch(batch)} could not be stored`, () => {
        if (this.#guard.place(batch, this.#newest()) === 'following') this.#transaction(() => this.#write(batch));
        else assertSame(batch.entries, this.#entries(batch.entries[0].seq - 1, batch.entries.length));
      });
      this.#guard.stored(batch);
    } catch (error) {
      this.#guard.failed(batch, error);
      throw error;
    }
  }

  #write(batch: Batch): void {
    for (const { seq, at, body } of batch.entries) this.#sql.addEntry.run(seq, at, body);
    for (const { kind, owner, at, body } of batch.rows) this.#sql.addRow.run(kind, owner, at, body);
    for (const { scope, name, hash, frame, blob } of lastingTensors(batch)) this.#sql.addTensor.run(scope, name, hash, frame, blob);
    for (const scope of batch.released) this.#sql.release.run(scope);
  }

  async lastSeq(): Promise<number> {
    return this.#do('The newest entry could not be read', () => this.#newest());
  }

  async entries(after: number, limit: number): Promise<Entry[]> {
    return this.#do(`The entries after ${after} could not be read`, () => this.#entries(after, limit));
  }

  async saveSnapshot({ seq, hash, state }: Snapshot): Promise<void> {
    this.#do(`The snapshot after entry ${seq} could not be stored`, () => {
      assertCovered(seq, this.#newest());
      this.#transaction(() => {
        this.#sql.addSnapshot.run(seq, hash, state);
        this.#sql.prune.run(SNAPSHOTS_KEPT);
      });
    });
  }

  async snapshot(through: number): Promise<Snapshot | null> {
    return this.#do('The snapshots could not be read', () => {
      for (let newest = through; ; ) {
        const found = this.#sql.snapshot.get(newest) as unknown as Snapshot | undefined;
        if (!found) return null;
        if (isWhole(found)) return { ...found };
        newest = found.seq - 1;
      }
    });
  }

  async rows(kind: string, { owner, before = Number.MAX_SAFE_INTEGER, limit }: RowQuery): Promise<StoredRow[]> {
    return this.#do('The rows could not be read', () => {
      const found = owner === undefined ? this.#sql.rows.all(kind, before, limit) : this.#sql.rowsOf.all(kind, owner, before, limit);
      return plain<StoredRow>(found);
    });
  }

  async tensors(): Promise<StoredTensor[]> {
    return this.#do('The tensors could not be read', () => plain<StoredTensor>(this.#sql.tensors.all()));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }

  #newest(): number {
    return this.#sql.lastSeq.get()!.seq as number;
  }

  #entries(after: number, limit: number): Entry[] {
    return plain<Entry>(this.#sql.entries.all(after, limit));
  }

  /** All of `work` or nothing of it. */
  #transaction(work: () => void): void {
    this.#rollback(); // what is left when the disk failed even that
    this.#sql.begin.run();
    try {
      work();
      this.#sql.commit.run();
    } catch (error) {
      try {
        this.#rollback();
      } catch {
        // The error that led here says more.
      }
      throw error;
    }
  }

  /** SQLite rolls back by itself after some errors (a full disk, for one), and not after others. */
  #rollback(): void {
    if (this.#database.isTransaction) this.#sql.rollback.run();
  }

  #do<T>(what: string, work: () => T): T {
    if (this.#closed) throw new SwarmError('STORE_FAILED', `${what}: ${this.name} is closed.`);
    try {
      return work();
    } catch (error) {
      throw sqliteFailure(this.name, what, error);
    }
  }
}

/** `node:sqlite` gives objects without a prototype, which compare and print differently from those of other stores. */
const plain = <T extends object>(found: unknown[]): T[] => (found as T[]).map((row) => ({ ...row }));
