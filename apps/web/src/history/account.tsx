import type { AccountView, WireError } from '@starling/protocol';
import { useCallback } from 'react';
import { getJson, type Polled, REFRESH_MS, usePolled } from '../api.ts';
import { AccountFigures } from '../chain/account-figures.tsx';
import { ErrorText } from '../parts.tsx';
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
      {account ? (
        <>
          <p className="account-who">
            {account.delegation ? 'It mines for the hotkey' : 'It mines as a guest, with its own key'} <code>{account.address}</code>
          </p>
          <AccountFigures account={account} />
        </>
      ) : (
        error && <ErrorText error={error} />
      )}
    </section>
  );
}
