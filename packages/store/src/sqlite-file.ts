/** Opens SQLite databases that are stores, makes new ones, and touches no other. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SwarmError } from '@starling/protocol';

/** Marks the file as one of ours, for `file` and for us: "Strl" in ASCII. */
const APPLICATION_ID = 0x5374726c;
/** Of the tables below; any other is refused. */
const SCHEMA_VERSION = 1;

/** `at` is a double because virtual clocks have fractions. A rowid that ascends is the order of writing. */
const TABLES = `
  CREATE TABLE entries (seq INTEGER PRIMARY KEY, at REAL NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE TABLE rows (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, owner TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE INDEX rows_of_kind ON rows (kind);
  CREATE INDEX rows_of_owner ON rows (kind, owner);
  CREATE TABLE tensors (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL, frame BLOB, blob TEXT,
    UNIQUE (scope, name), CHECK ((frame IS NULL) <> (blob IS NULL))
  ) STRICT;
  CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, state TEXT NOT NULL) STRICT;
`;

/** Primary result codes of SQLite: https://sqlite.org/rescode.html */
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

export interface SqliteOptions {
  /** `OFF` leaves flushing to the operating system: for simulations, which survive no power cut anyway. Default `FULL`. */
  synchronous?: 'FULL' | 'OFF';
  /** Look at it while somebody else may be writing: whatever writes then throws `STORE_FAILED`. */
  readOnly?: boolean;
}

/** Whatever went wrong with the database `name`, as `LOG_UNREADABLE` (damaged), `DATA_IN_USE` or else `STORE_FAILED`. */
export function sqliteFailure(name: string, what: string, error: unknown): SwarmError {
  if (error instanceof SwarmError) return error;
  const code = (error as { errcode?: number }).errcode;
  const primary = code === undefined ? undefined : code & 0xff;
  if (primary === SQLITE_BUSY) return new SwarmError('DATA_IN_USE', `Another process has ${name} open.`, { cause: error });
  const unreadable = primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB;
  const reason = `${(error as Error).message}${code === undefined ? '' : ` (SQLite code ${code})`}`;
  return new SwarmError(unreadable ? 'LOG_UNREADABLE' : 'STORE_FAILED', `${what}: ${reason}. It is ${name}.`, { cause: error });
}

/** An open store, and what keeps other writers out of it. */
export interface OpenSqlite {
  database: DatabaseSync;
  /** Gives the file to others. Never throws. */
  close(): void;
}

/**
 * Opens or makes the store at `path` (folders too) and keeps other writers out until it is closed; readers may come and
 * go. The lock is the operating system's, on a file beside it (a lock on the store itself would keep readers out, too),
 * so a killed process leaves none behind. Throws `LOG_UNREADABLE` for a file that is no store, is damaged or has another
 * schema version, `DATA_IN_USE`, or `STORE_FAILED`; the file is then unchanged.
 */
export function openSqlite(path: string, name: string, { synchronous = 'FULL' }: SqliteOptions): OpenSqlite {
  const open: DatabaseSync[] = [];
  const close = () => {
    for (const one of open.splice(0).reverse()) closeQuietly(one);
  };
  try {
    if (path !== ':memory:') {
      mkdirSync(dirname(path), { recursive: true });
      assertOurs(path, name);
      const lock = new DatabaseSync(`${path}-writer`);
      open.push(lock);
      lock.exec('BEGIN EXCLUSIVE');
    }
    const database = new DatabaseSync(path);
    open.push(database);
    const isNew = isEmpty(database, name);
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}`);
    if (isNew) database.exec(`BEGIN; ${TABLES} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
    return { database, close };
  } catch (error) {
    close();
    throw sqliteFailure(name, 'The store could not be opened', error);
  }
}

/** Opens the store at `path` for reading, also while a writer has it. Throws `LOG_UNREADABLE` or `STORE_FAILED`. */
export function readSqlite(path: string, name: string): OpenSqlite {
  try {
    if (!existsSync(path)) throw new SwarmError('LOG_UNREADABLE', `There is no store at ${path}.`);
    const database = new DatabaseSync(path, { readOnly: true });
    if (isEmpty(database, name)) throw new SwarmError('LOG_UNREADABLE', `${name} is empty.`);
    return { database, close: () => closeQuietly(database) };
  } catch (error) {
    throw sqliteFailure(name, 'The store could not be read', error);
  }
}

/** What was committed is in the WAL, and the next one to open the file reads it from there. */
function closeQuietly(database: DatabaseSync): void {
  try {
    database.close();
  } catch {}
}

/** Before anything is made beside it. */
function assertOurs(path: string, name: string): void {
  if (!existsSync(path) || statSync(path).size === 0) return;
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    isEmpty(database, name);
  } finally {
    database.close();
  }
}

/** Whether nothing is in the database yet. Throws `LOG_UNREADABLE` when something else than a store of this version is. */
function isEmpty(database: DatabaseSync, name: string): boolean {
  const number = (sql: string) => Object.values(database.prepare(sql).get()!)[0] as number;
  const application = number('PRAGMA application_id');
  const version = number('PRAGMA user_version');
  if (application === 0 && version === 0 && number('SELECT count(*) FROM sqlite_schema') === 0) return true;
  if (application !== APPLICATION_ID)
    throw new SwarmError('LOG_UNREADABLE', `${name} is a database of another program. Nothing was changed.`);
  if (version !== SCHEMA_VERSION)
    throw new SwarmError('LOG_UNREADABLE', `${name} has schema version ${version}; this release reads version ${SCHEMA_VERSION}.`);
  return false;
}
