/** What a page and its workers remember in IndexedDB (workers have no `localStorage`). */
const STORE = 'sessions';

export function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Throws where storage is blocked (some private windows). */
export function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open('starling', 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

export const storeOf = (database: IDBDatabase, mode: IDBTransactionMode): IDBObjectStore =>
  database.transaction(STORE, mode).objectStore(STORE);
