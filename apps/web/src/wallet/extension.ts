/**
 * Browser wallets through the interface they share. Loaded only when somebody opens one: it is larger than the page.
 *
 * `web3Enable` asks every wallet there is and waits for all of them. Here it sees only the one that was chosen, so that no
 * other one pops up, and none that hangs holds anything up.
 */
import { web3Accounts, web3AccountsSubscribe, web3Enable, web3FromSource } from '@polkadot/extension-dapp';
import { BITTENSOR_PREFIX } from '@starling/chain/identity';
import { SwarmError, toHex } from '@starling/protocol';
import { injected } from './injected.ts';

const APP = 'Starling';
/** Time to find the wallet's window, unlock it and allow the page. */
const PATIENCE_MS = 90_000;
/** `web3Enable` looks for wallets a microtask or two after it was called. */
const TURNS = 5;

export interface WalletAccount {
  /** SS58, prefix 42. */
  address: string;
  name: string;
}

export interface OpenWallet {
  name: string;
  accounts: WalletAccount[];
  /** Tells of every change of the accounts it shows to this page. Returns what ends it. */
  onAccounts(listener: (accounts: WalletAccount[]) => void): () => void;
  /** The signature over the text, which the wallet wraps and shows, in hex. Throws `WALLET_REFUSED`. */
  sign(address: string, text: string): Promise<string>;
}

const CHOICE = { accountType: ['sr25519', 'ed25519'] as ['sr25519', 'ed25519'], ss58Format: BITTENSOR_PREFIX };

/** Throws `WALLET_MISSING`, or `WALLET_REFUSED` when it says no or nothing at all. */
export async function openWallet(name: string): Promise<OpenWallet> {
  if (!injected()[name]) throw new SwarmError('WALLET_MISSING', `The wallet ${name} is not in this browser.`);
  await loaded();
  const wallet = await within(enableOnly(name), `The wallet ${name} did not answer.`);
  const choice = { ...CHOICE, extensions: [wallet.name] };
  const plain = (found: Awaited<ReturnType<typeof web3Accounts>>): WalletAccount[] =>
    found.map(({ address, meta }) => ({ address, name: meta.name ?? '' }));
  return {
    name,
    accounts: plain(await within(web3Accounts(choice), `The wallet ${name} did not show its accounts.`)),
    onAccounts: (listener) => {
      const end = web3AccountsSubscribe((found) => listener(plain(found)), choice);
      return () => void end.then((unsubscribe) => unsubscribe());
    },
    sign: async (address, text) => {
      const { signer } = await web3FromSource(wallet.name);
      if (!signer.signRaw) throw new SwarmError('WALLET_REFUSED', `The wallet ${name} signs no texts.`);
      const data = `0x${toHex(new TextEncoder().encode(text))}`;
      const signed = await signer.signRaw({ address, data, type: 'bytes' }).catch((error: unknown) => {
        throw new SwarmError('WALLET_REFUSED', `The wallet ${name} did not sign: ${(error as Error)?.message ?? error}.`, { cause: error });
      });
      return signed.signature;
    },
  };
}

/** Throws `WALLET_REFUSED` with what the wallet says. */
async function enableOnly(name: string): Promise<Awaited<ReturnType<typeof web3Enable>>[number]> {
  const all = window.injectedWeb3;
  const wallet = injected()[name]!;
  let refusal: unknown = null;
  // `web3Enable` writes a refusal on the console, as an error of this page: it gets to see none, only that there is nothing.
  const connect = async (origin: string) => {
    try {
      if (wallet.connect) return await wallet.connect(origin);
      return { name, version: wallet.version ?? 'unknown', ...(await wallet.enable!(origin)) };
    } catch (error) {
      refusal = error;
      return null;
    }
  };
  window.injectedWeb3 = { [name]: { connect } };
  let enabled: ReturnType<typeof web3Enable>;
  try {
    enabled = web3Enable(APP);
    for (let i = 0; i < TURNS; i++) await Promise.resolve();
  } finally {
    window.injectedWeb3 = all;
  }
  const [extension] = await enabled;
  if (extension) return extension;
  const why = refusal instanceof Error && refusal.message ? `: ${refusal.message.replace(/\.$/, '')}` : '';
  throw new SwarmError('WALLET_REFUSED', `The wallet ${name} does not let this page in${why}.`, { cause: refusal });
}

/** `web3Enable` waits for this, and must not while the other wallets are out of sight. */
const loaded = () =>
  new Promise<void>((resolve) => {
    if (document.readyState === 'complete') resolve();
    else addEventListener('load', () => resolve(), { once: true });
  });

function within<T>(promise: Promise<T>, complaint: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new SwarmError('WALLET_REFUSED', complaint)), PATIENCE_MS);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
