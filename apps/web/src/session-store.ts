/** What a tab's miner remembers over reloads, in IndexedDB (workers have no `localStorage`). */
import type { MinerPorts } from '@starling/miner';

const STORE = 'sessions';

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function open(): Promise<IDBDatabase> {
  const request = indexedDB.open('starling', 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

/** Where storage is blocked (some private windows) it forgets: the miner then joins as a new one. */
export function sessionStore(tab: string): MinerPorts['storage'] {
  const database = open().catch(() => null);
  return {
    async get(key) {
      const db = await database;
      return db && ((await settled(db.transaction(STORE).objectStore(STORE).get(`${tab}/${key}`))) ?? null);
    },
    async set(key, value) {
      const db = await database;
      if (db) await settled(db.transaction(STORE, 'readwrite').objectStore(STORE).put(value, `${tab}/${key}`));
    },
  };
}
