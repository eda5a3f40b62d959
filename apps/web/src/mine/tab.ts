/**
 * The names under which a browser keeps its miners: each is one open tab's, and a Web Lock held for that tab's life says so. A
 * page that is loaded anew has its own again; a tab that mines for the first time goes on as the miner of a tab that was closed. A
 * duplicated tab inherits `sessionStorage`, but never the lock.
 */
const KEY = 'starling.tab';
const MINERS = 'starling.miners';

/** A reloaded page gets its lock back as soon as the old document is gone; a duplicate never does. */
const PATIENCE_MS = 2_000;
/** Few browsers have had so many tabs that mine at once. */
const MOST_MINERS = 8;

type Storage = Pick<globalThis.Storage, 'getItem' | 'setItem'>;
type Locks = Pick<LockManager, 'request'>;

/** A miner of this browser: the name of its tab, and the server's name for it. */
export interface OwnMiner {
  tab: string;
  id: string;
}

export interface Claim {
  tab: string;
  /** This very tab had it before: the page was loaded anew. */
  again: boolean;
}

export const freshClaim = (): Claim => ({ tab: crypto.getRandomValues(new Uint32Array(4)).join('-'), again: false });

/** `own`: the tab's storage; `shared`: the browser's. */
export async function claimTab(own: Storage, shared: Storage, locks: Locks | undefined): Promise<Claim> {
  if (!locks) return freshClaim();
  const stored = own.getItem(KEY);
  if (stored !== null && (await hold(locks, stored, { signal: AbortSignal.timeout(PATIENCE_MS) }))) return { tab: stored, again: true };
  const fresh = freshClaim();
  for (const tab of [...minersOf(shared).map((miner) => miner.tab), fresh.tab]) {
    if (!(await hold(locks, tab, { ifAvailable: true }))) continue;
    own.setItem(KEY, tab);
    return { tab, again: false };
  }
  return fresh;
}

/** True once the lock is held, which it stays until the document goes. */
function hold(locks: Locks, tab: string, options: LockOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const untilClosed = (lock: Lock | null) => {
      resolve(lock !== null);
      return lock && new Promise<never>(() => {});
    };
    locks.request(`${KEY}.${tab}`, options, untilClosed).catch(() => resolve(false));
  });
}

/** Those of this browser, the one that joined last first. */
export function minersOf(shared: Pick<Storage, 'getItem'>): OwnMiner[] {
  try {
    const kept: unknown = JSON.parse(shared.getItem(MINERS) ?? '[]');
    return Array.isArray(kept) ? kept.filter((one): one is OwnMiner => typeof one?.tab === 'string' && typeof one?.id === 'string') : [];
  } catch {
    return [];
  }
}

/** The server may have given the tab another name than before. */
export function rememberMiner(shared: Storage, miner: OwnMiner): void {
  const others = minersOf(shared).filter(({ tab }) => tab !== miner.tab);
  shared.setItem(MINERS, JSON.stringify([miner, ...others].slice(0, MOST_MINERS)));
}
