/** The wallets that put themselves into this page. */
interface InjectedWallet {
  version?: string;
  connect?(origin: string): Promise<unknown>;
  enable?(origin: string): Promise<object>;
}

declare global {
  interface Window {
    injectedWeb3?: Record<string, InjectedWallet>;
  }
}

export const injected = (): Record<string, InjectedWallet> => window.injectedWeb3 ?? {};

const TITLES: Record<string, string> = {
  'polkadot-js': 'polkadot{.js}',
  'subwallet-js': 'SubWallet',
  'bittensor-wallet': 'Bittensor Wallet',
  talisman: 'Talisman',
  'crucible-wallet': 'Crucible',
  'nova-wallet': 'Nova',
};

export const titleOf = (wallet: string): string => TITLES[wallet] ?? wallet;
