/** What was measured on this browser's adapters, for all tabs. */
import type { TuningStore } from '@starling/kernels';
import { openDatabase, settled, storeOf } from './database.ts';

/** Where storage is blocked it is measured again each time. */
export function tuningStore(): TuningStore {
  const database = openDatabase().catch(() => null);
  return {
    async get(adapter) {
      const db = await database;
      return db && ((await settled(storeOf(db, 'readonly').get(`tuning ${adapter}`))) ?? null);
    },
    async set(adapter, choices) {
      const db = await database;
      if (db) await settled(storeOf(db, 'readwrite').put(choices, `tuning ${adapter}`));
    },
  };
}
