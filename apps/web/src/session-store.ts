/** What a tab's miner remembers over reloads. */
import type { MinerPorts } from '@starling/miner';
import { openDatabase, settled, storeOf } from './database.ts';

/** Where storage is blocked it forgets: the miner then joins as a new one. */
export function sessionStore(tab: string): MinerPorts['storage'] {
  const database = openDatabase().catch(() => null);
  return {
    async get(key) {
      const db = await database;
      return db && ((await settled(storeOf(db, 'readonly').get(`${tab}/${key}`))) ?? null);
    },
    async set(key, value) {
      const db = await database;
      if (db) await settled(storeOf(db, 'readwrite').put(value, `${tab}/${key}`));
    },
  };
}
