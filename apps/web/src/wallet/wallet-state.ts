/** Where linking a wallet stands, for the panel and for automation. One for the whole page: it outlasts a change of pages. */
import type { DeviceKey } from '@starling/chain/device';
import type { AccountView, DeviceSigner, WireError } from '@starling/protocol';
import { loaded, SwarmError } from '@starling/protocol';
import { useSyncExternalStore } from 'react';
import { deviceKey } from '../device-key.ts';
import { RENEWAL } from '../mine/renewal.ts';
import type { OpenWallet } from './extension.ts';

export interface WalletState {
  /** idle: nothing under way. opening: a wallet was asked. choosing: it showed its accounts. signing, leaving, moving: being done. */
  phase: 'idle' | 'opening' | 'choosing' | 'signing' | 'leaving' | 'moving';
  /** The wallet that is opened, or being opened. */
  name: string | null;
  wallet: OpenWallet | null;
  /** As the server told last, if it was told anything here. */
  account: AccountView | null;
  /** What went wrong, and in which phase. */
  error: (WireError & { in: WalletState['phase'] }) | null;
}

const IDLE: WalletState = { phase: 'idle', name: null, wallet: null, account: null, error: null };
let state = IDLE;
const listeners = new Set<() => void>();
let stopFollowing = () => {};
/** Of the newest attempt: what an older one still brings is void. */
let attempt = 0;

function set(change: Partial<WalletState>): void {
  state = { ...state, ...change };
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Its answer would come to nobody.
addEventListener(RENEWAL, (event) => {
  if (state.phase === 'signing') event.preventDefault();
});

export const useWallet = (): WalletState => useSyncExternalStore(subscribe, () => state);

let key: Promise<DeviceKey> | null = null;
/** This browser's. Throws `DEVICE_KEY_UNSUPPORTED`. */
function ownKey(): Promise<DeviceKey> {
  if (key === null) {
    key = deviceKey();
    // Storage that was busy may not be the next time.
    key.catch(() => {
      key = null;
    });
  }
  return key;
}
/** What it signs with. Throws `DEVICE_KEY_UNSUPPORTED`. */
export const deviceSigner = async (): Promise<DeviceSigner> => (await ownKey()).signer;

/** Does `task`; what it throws is shown, unless something newer was begun. */
async function doing(
  phase: WalletState['phase'],
  otherwise: WalletState['phase'],
  task: () => Promise<Partial<WalletState>>,
): Promise<void> {
  const mine = ++attempt;
  set({ phase, error: null });
  try {
    const change = await task();
    if (mine === attempt) set(change);
  } catch (error) {
    if (mine === attempt) set({ phase: otherwise, error: { ...SwarmError.from(error, 'WALLET_REFUSED').toWire(), in: phase } });
  }
}

export function open(name: string): Promise<void> {
  stopFollowing();
  set({ name, wallet: null });
  return doing('opening', 'idle', async () => {
    const { openWallet } = await loaded(() => import('./extension.ts'));
    const wallet = await openWallet(name);
    stopFollowing = wallet.onAccounts((accounts) => {
      if (state.wallet === wallet || state.wallet?.name === wallet.name) set({ wallet: { ...wallet, accounts } });
    });
    return { phase: 'choosing', wallet };
  });
}

/** Back to where nothing is under way; a wallet that hangs may answer whenever it likes. */
export function cancel(): void {
  attempt += 1;
  stopFollowing();
  set({ phase: 'idle', name: null, wallet: null, error: null });
}

export function sign(hotkey: string): Promise<void> {
  const { wallet } = state;
  if (!wallet) return Promise.resolve();
  return doing('signing', 'choosing', async () => {
    const { link } = await loaded(() => import('./link.ts'));
    return { phase: 'idle', account: await link(wallet, hotkey, await deviceSigner()) };
  });
}

export function disconnect(account: AccountView): Promise<void> {
  return doing('leaving', 'idle', async () => {
    const { unlink } = await loaded(() => import('./link.ts'));
    const left = await unlink(account, await deviceSigner());
    stopFollowing();
    return { phase: 'idle', name: null, wallet: null, account: left };
  });
}

/** What the chain paid to the device's own key goes to the hotkey. */
export function move(): Promise<void> {
  return doing('moving', 'idle', async () => {
    const { claim } = await loaded(() => import('./claim.ts'));
    return { phase: 'idle', account: await claim(await ownKey()) };
  });
}

/** For automation: opens the wallet and signs with its first account. */
export async function linkFirst(name: string): Promise<void> {
  await open(name);
  const first = state.wallet?.accounts[0];
  if (first) await sign(first.address);
}
