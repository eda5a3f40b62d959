import '../styles/wallet.css';
import type { AccountView } from '@starling/protocol';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { AccountFigures } from '../chain/account-figures.tsx';
import { brief, coins } from '../chain/amounts.ts';
import { roughly } from '../format.ts';
import { hopeless } from '../mine/device.ts';
import { useNow } from '../now.ts';
import { ErrorText, Notice } from '../parts.tsx';
import { Link } from '../router.tsx';
import { onThisClock } from '../server-clock.ts';
import { injected, titleOf } from './injected.ts';
import { cancel, deviceSigner, disconnect, move, open, sign, useWallet, type WalletState } from './wallet-state.ts';

/** A delegation that ends this soon is better signed again. */
const SOON_MS = 3 * 86_400_000;

/** For whom this browser mines, what that came to, and how to let it mine for a wallet's account. */
export default function WalletPanel() {
  const panel = useRef<HTMLElement>(null);
  const { phase, account } = useWallet();
  /** What has the focus now, or had it before it was replaced. */
  const held = useRef(false);
  useLayoutEffect(() => {
    // The button that was pressed is gone: who goes on by keyboard goes on here.
    if (held.current && document.activeElement === document.body) panel.current?.focus({ preventScroll: true });
  }, [phase, account]);
  useEffect(() => {
    // Who goes on elsewhere with a pointer may touch what takes no focus.
    const onPointerDown = ({ target }: PointerEvent) => {
      held.current &&= panel.current!.contains(target as Node);
    };
    document.addEventListener('pointerdown', onPointerDown);
    return () => document.removeEventListener('pointerdown', onPointerDown);
  }, []);
  return (
    <section
      ref={panel}
      tabIndex={-1}
      className="panel wallet"
      aria-labelledby="wallet"
      onFocus={() => {
        held.current = true;
      }}
      onBlur={({ relatedTarget }) => {
        held.current &&= relatedTarget === null || panel.current!.contains(relatedTarget);
      }}
    >
      <div className="panel-head">
        <h2 id="wallet">Account</h2>
        <p className="muted">
          <Link to="/chain">From receipts to emission</Link>
        </p>
      </div>
      {hopeless() ? <p className="muted">This page cannot mine, so no account is shown.</p> : <Contents />}
    </section>
  );
}

const FAILED: { [P in WalletState['phase']]?: string } = { moving: 'The pay was not moved.', leaving: 'The wallet was not disconnected.' };

function Contents() {
  const account = useAccount();
  const { phase, error, wallet } = useWallet();
  const linked = account.value?.delegation ?? null;
  const trouble = account.value ? 'Not up to date.' : 'The account is not known yet.';
  return (
    <>
      {account.value ? <Standing account={account.value} /> : <p className="muted">{account.error ? '' : 'Asking for the account…'}</p>}
      {(error ?? account.error) && (
        <Notice tone="wait" title={error ? (FAILED[error.in] ?? 'No wallet was linked.') : trouble}>
          <ErrorText error={(error ?? account.error)!} />
        </Notice>
      )}
      {linked && wallet && !wallet.accounts.some(({ address }) => address === linked.hotkey) && (
        <Notice tone="wait" title="The wallet shows other accounts now.">
          <p>Work still goes to the account below until another one signs, or the wallet is disconnected.</p>
        </Notice>
      )}
      {phase === 'choosing' || phase === 'signing' ? <Accounts linked={linked?.hotkey ?? null} /> : <Wallets account={account.value} />}
    </>
  );
}

function Standing({ account }: { account: AccountView }) {
  const { address, delegation, uid, own } = account;
  const now = useNow();
  const left = delegation && onThisClock(delegation.expiresAt) - now;
  return (
    <>
      <p className="wallet-who" role="status">
        {delegation ? 'Mining for the hotkey ' : 'Mining as a guest, with this browser’s own key '}
        <code title={address}>{brief(address)}</code>
        {left !== null && <span className={left < SOON_MS ? 'soon' : 'muted'}>, for {roughly(left)} more</span>}
      </p>
      <AccountFigures account={account} />
      <p className="muted">
        What is held counts when audits have found it true, a new key’s work after its first passed audit. At the end of each epoch the
        chain itself pays emission,{' '}
        {delegation
          ? `to this hotkey${uid === null ? ' once it is registered' : ''}.`
          : own
            ? 'to this key from its first round on; once a wallet is linked, to its hotkey, and what this key was paid can be moved there.'
            : 'to the hotkey of a wallet that is linked; nobody is paid for a guest’s work before.'}
      </p>
      {delegation && <Own account={account} />}
    </>
  );
}

/** What was paid before the link, and a little after it, is on the device's own key, which this browser has. */
function Own({ account }: { account: AccountView }) {
  const { phase } = useWallet();
  const rao = account.own ? BigInt(account.own.staked) + BigInt(account.own.free) : 0n;
  if (rao === 0n) return null;
  return (
    <div className="wallet-row">
      <p>{coins(String(rao))} alpha that the chain paid to this device’s own key:</p>
      <button type="button" className="quiet" disabled={phase !== 'idle'} onClick={() => void move()}>
        {phase === 'moving' ? 'Moving…' : 'Move to the hotkey'}
      </button>
    </div>
  );
}

function Wallets({ account }: { account: AccountView | null }) {
  const { phase, name } = useWallet();
  const names = useWalletNames();
  const linked = account?.delegation;
  if (phase === 'opening')
    return (
      <div className="wallet-row">
        <p role="status">Waiting for {titleOf(name!)}: allow this page in its window.</p>
        <button type="button" className="quiet" onClick={cancel}>
          Cancel
        </button>
      </div>
    );
  return (
    <div className="wallet-row">
      {names.length === 0 ? (
        <p className="muted">No wallet in this browser. Guests mine all the same; a wallet linked later takes over all credit.</p>
      ) : (
        <>
          <p>{linked ? 'Another account, or longer:' : 'Link a wallet; credit so far goes along:'}</p>
          {names.map((one) => (
            <button key={one} type="button" className="quiet" disabled={phase !== 'idle'} onClick={() => void open(one)}>
              {titleOf(one)}
            </button>
          ))}
        </>
      )}
      {linked && (
        <button type="button" className="quiet" disabled={phase !== 'idle'} onClick={() => void disconnect(account)}>
          {phase === 'leaving' ? 'Disconnecting…' : 'Disconnect'}
        </button>
      )}
    </div>
  );
}

/** One account, one signature. */
function Accounts({ linked }: { linked: string | null }) {
  const { wallet, phase } = useWallet();
  const [chosen, setChosen] = useState<string | null>(linked);
  const accounts = wallet?.accounts ?? [];
  const address = accounts.some((account) => account.address === chosen) ? chosen : (accounts[0]?.address ?? null);
  const signing = phase === 'signing';
  return (
    <div className="wallet-choice">
      {accounts.length === 0 ? (
        <p className="muted">{titleOf(wallet!.name)} shows this page no account. Allow one there: it appears here by itself.</p>
      ) : (
        <fieldset disabled={signing}>
          <legend>The hotkey to mine for</legend>
          {accounts.map((account) => (
            <label key={account.address}>
              <input type="radio" name="hotkey" checked={account.address === address} onChange={() => setChosen(account.address)} />
              <span>
                <b>{account.name || 'Unnamed'}</b> <code>{account.address}</code>
              </span>
            </label>
          ))}
        </fieldset>
      )}
      <div className="wallet-row">
        {address !== null && (
          <button type="button" className="quiet strong" disabled={signing} onClick={() => void sign(address)}>
            {signing ? 'Waiting for the signature…' : 'Sign once'}
          </button>
        )}
        <button type="button" className="quiet" onClick={cancel}>
          Cancel
        </button>
        <p className="muted">It lets this browser mine for the account, for thirty days. It moves no funds.</p>
      </div>
    </div>
  );
}

/** Wallets put themselves into a page a little after it is loaded. */
function useWalletNames(): string[] {
  const [names, setNames] = useState(() => Object.keys(injected()));
  useEffect(() => {
    const look = () => setNames((before) => (Object.keys(injected()).join() === before.join() ? before : Object.keys(injected())));
    const timer = setInterval(look, 1_000);
    return () => clearInterval(timer);
  }, []);
  return names;
}

function useAccount() {
  const { account } = useWallet();
  // A change made here is another question: its answer is there at once.
  const change = account && `${account.delegation?.nonce} ${account.own?.staked} ${account.own?.free}`;
  const load = useCallback(
    async (signal: AbortSignal) => getJson<AccountView>(`/v1/identity/${(await deviceSigner()).publicKey}`, signal),
    [change],
  );
  const polled = usePolled(load, REFRESH_MS);
  return polled.pending && account ? { ...polled, value: account } : polled;
}
