/** What a tab remembers over a reload: that it mines, since when, and that it is paused. */
export interface Memory {
  /** Unix ms, as both. */
  startedAt: number;
  pausedSince: number | null;
}

type Storage = Pick<globalThis.Storage, 'getItem' | 'setItem' | 'removeItem'>;

const KEY = 'starling.mining';

/** Null: it was not mining. With storage blocked even to ask for it throws. */
export function recallMining(storage: () => Storage = () => sessionStorage): Memory | null {
  try {
    const { startedAt, pausedSince = null } = JSON.parse(storage().getItem(KEY) ?? '{}') as Partial<Memory>;
    return startedAt === undefined ? null : { startedAt, pausedSince };
  } catch {
    return null;
  }
}

/** Null: it does not mine any more. */
export function rememberMining(memory: Memory | null, storage: () => Storage = () => sessionStorage): void {
  try {
    if (memory) storage().setItem(KEY, JSON.stringify(memory));
    else storage().removeItem(KEY);
  } catch {
    // After a reload it waits for Start.
  }
}

const SOON_MS = 60_000;

/** iOS ends a page that computes for long and loads it anew: going on by itself, it would be ended again and again. */
export const isReloadLoop = ({ startedAt }: Memory, now: number, ios: boolean): boolean => ios && now - startedAt < SOON_MS;
