/** A tab whose own code cannot be had any more is loaded anew by itself, as soon as a server answers. */

export interface RenewalPorts {
  /** Rejects, soon, where no server answers: a page that is loaded anew in vain is gone. So it does while the page is in use. */
  ask(): Promise<unknown>;
  reload(): void;
  /** Of this tab. */
  storage(): Pick<Storage, 'getItem' | 'setItem'>;
}

/** Asked of the page before: whoever would lose what a visitor has begun prevents it. */
export const RENEWAL = 'starling.renewal';

const RETRY_MS = 5_000;
/** Where code is missing from a server that answers, a page that only loads itself anew would be of no use to anybody. */
const APART_MS = 60_000;
const KEY = 'starling.renewed';

/** `onWait`: of every try, Unix ms. The result ends it. */
export function renew({ ask, reload, storage }: RenewalPorts, onWait: (next: number) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const wait = () => {
    if (over) return;
    const next = Math.max(Date.now() + RETRY_MS, lastRenewal(storage) + APART_MS);
    timer = setTimeout(attempt, next - Date.now());
    onWait(next);
  };
  const attempt = () =>
    ask()
      .then(() => {
        if (over) return;
        storage().setItem(KEY, String(Date.now()));
        reload();
        over = true;
      })
      .catch(wait);
  wait();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}

/** Unix ms. One that the clock has not come to was told by another clock. */
function lastRenewal(storage: RenewalPorts['storage']): number {
  const at = Number(storage().getItem(KEY));
  return at <= Date.now() ? at : 0;
}
