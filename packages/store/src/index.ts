import { PostgresStore } from './postgres.ts';
import type { PostgresOptions } from './postgres-address.ts';
import { SqliteStore } from './sqlite.ts';
import { SqliteThread } from './sqlite-thread.ts';
import type { Store } from './store.ts';

export { type Handled, Journal, type JournalPorts } from './journal.ts';
export type { Machine, Maker } from './machine.ts';
export * from './postgres.ts';
export type { PostgresOptions } from './postgres-address.ts';
export { type Replayed, replay } from './replay.ts';
export * from './sqlite.ts';
export type { SqliteOptions } from './sqlite-file.ts';
export { SqliteThread } from './sqlite-thread.ts';
export * from './store.ts';

/**
 * Opens the store at `where`: `postgres://user@host:port/database?run=NAME` (the run may come from `options` instead),
 * or else a SQLite file, which is used in a thread of its own. Throws `CONFIG_INVALID`, `DATA_IN_USE`,
 * `LOG_UNREADABLE` or `STORE_FAILED`.
 */
export async function openStore(where: string, options: PostgresOptions = {}): Promise<Store> {
  return isPostgres(where) ? PostgresStore.open(where, options) : SqliteThread.open(where);
}

/** What can be done with a store without being its writer. */
export type Reader = Omit<Store, 'append' | 'saveSnapshot'>;

/** Opens the store at `where` for reading, also while a server writes it. Throws as `openStore`, but never `DATA_IN_USE`. */
export async function openReader(where: string, options: PostgresOptions = {}): Promise<Reader> {
  return isPostgres(where) ? PostgresStore.open(where, { ...options, readOnly: true }) : new SqliteStore(where, { readOnly: true });
}

const isPostgres = (where: string) => /^postgres(ql)?:/i.test(where);
