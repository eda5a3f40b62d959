import type { AccountView, WireError } from '@starling/protocol';
import { useCallback } from 'react';
import { getJson, type Polled, REFRESH_MS, usePolled } from '../api.ts';
import { coins, work } from '../chain/amounts.ts';
import { count } from '../format.ts';
import { ErrorText, Stat } from '../parts.tsx';
import { Link } from '../router.tsx';

/** For whom a device mines, and what that came to. `value` is null before the first answer, and where there is no device. */
export function useAccountOf(device: string | null): Polled<AccountView | null> {
  const load = useCallback(
    async (signal: AbortSignal) => (device === null ? null : await getJson<AccountView>(`/v1/identity/${device}`, signal)),
    [device],
  );
  return usePolled(load, device === null ? null : REFRESH_MS);
}

/** Who is paid for a miner's work, and how much. */
export function AccountPanel({ account, error }: { account: AccountView | null; error: WireError | null }) {
  return (
    <section className="panel account" aria-labelledby="account">
      <div className="panel-head">
        <h2 id="account">Account</h2>
        <p className="muted">
          <Link to="/chain">From receipts to emission</Link>
        </p>
      </div>
      {account ? <Earned account={account} /> : error && <ErrorText error={error} />}
    </section>
  );
}

function Earned({ account: { address, delegation, uid, rank, work: done, score, held, emission, perDay } }: { account: AccountView }) {
  return (
    <>
      <p className="account-who">
        {delegation ? 'It mines for the hotkey' : 'It mines as a guest, with its own key'} <code>{address}</code>
      </p>
      <dl className="stats">
        <Stat label="UID" value={uid ?? '–'} note={uid === null ? 'not registered' : 'in the subnet'} />
        <Stat label="Rank" value={count(rank?.place ?? null)} note={rank ? `of ${count(rank.of)} with a score` : 'no score yet'} />
        <Stat label="Score" value={work(score)} note="what weights follow" />
        <Stat label="Credit" value={work(done)} note="verified, ever" />
        {/* Short: a note that wrapped would move what stands below. */}
        <Stat label="Held" value={work(held?.work ?? 0)} note={held ? `until step ${count(held.step)}` : 'nothing is held'} />
        <Stat label="Emission" value={coins(emission)} note="alpha, for mining" />
        <Stat label="A day" value={coins(perDay)} note="as in the last epoch" />
      </dl>
    </>
  );
}
