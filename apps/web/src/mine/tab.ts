/**
 * A name for this tab that survives a reload and belongs to no other open tab. A duplicated tab inherits
 * `sessionStorage`, and would act as the same miner; a Web Lock held for the tab's life tells the two apart.
 */
const KEY = 'starling.tab';

/** A reloaded page gets its lock back as soon as the old document is gone; a duplicate never does. */
const PATIENCE_MS = 2_000;

type Storage = Pick<globalThis.Storage, 'getItem' | 'setItem'>;
type Locks = Pick<LockManager, 'request'>;

export async function claimTab(storage: Storage, locks: Locks | undefined): Promise<string> {
  const fresh = () => crypto.getRandomValues(new Uint32Array(4)).join('-');
  if (!locks) return fresh();
  const stored = storage.getItem(KEY);
  if (stored !== null && (await hold(locks, stored))) return stored;
  const tab = fresh();
  storage.setItem(KEY, tab);
  await hold(locks, tab);
  return tab;
}

/** True once the lock is held, which it stays until the document goes. */
function hold(locks: Locks, tab: string): Promise<boolean> {
  return new Promise((resolve) => {
    const untilClosed = () => {
      resolve(true);
      return new Promise<never>(() => {});
    };
    locks.request(`${KEY}.${tab}`, { signal: AbortSignal.timeout(PATIENCE_MS) }, untilClosed).catch(() => resolve(false));
  });
}
