/** All that an embedded chain knows. Plain data, and nothing else decides what it does next. */
import { hash } from 'node:crypto';
import { EMPTY_ROW, type SparseRow } from '../yuma/index.ts';
import type { DevConfig } from './config.ts';
import { toPlain } from './plain.ts';

/** Rao that make an account (the runtime's `Balances.ExistentialDeposit`). */
export const EXISTENTIAL_DEPOSIT = 500n;

export interface Commit {
  /** 64 hex digits. */
  hash: string;
  /** In which epoch, and at which block. */
  epoch: number;
  block: number;
}

export interface DevNeuron {
  hotkey: string;
  registeredAt: number;
  lastUpdate: number;
  permit: boolean;
  weights: SparseRow;
  bonds: SparseRow;
  /** Not revealed yet, the oldest first. */
  commits: Commit[];
  // Of the last epoch.
  active: boolean;
  stakeWeight: number;
  consensus: number;
  incentive: number;
  dividends: number;
  validatorTrust: number;
  emission: bigint;
}

export interface Account {
  free: bigint;
  /** Of its next call. */
  nonce: number;
}

export interface Hotkey {
  coldkey: string;
  /** Alpha by coldkey. */
  stake: Record<string, bigint>;
}

export interface DevState {
  config: DevConfig;
  /** Hash of the beginning. */
  network: string;
  block: number;
  hash: string;
  burn: bigint;
  /** Epochs so far. */
  epoch: number;
  lastEpochBlock: number;
  /** Alpha made and not shared out yet. */
  pending: { owner: bigint; server: bigint; validator: bigint };
  /** Ever made, endowments included, and ever destroyed: registrations, the owner's incentive, what rounding leaves. */
  issued: bigint;
  burned: bigint;
  accounts: Record<string, Account>;
  /** Of new accounts: above those of all that were reaped, so that no call of theirs is ever good again. */
  firstNonce: number;
  hotkeys: Record<string, Hotkey>;
  /** By uid. */
  neurons: DevNeuron[];
}

export function genesis(config: DevConfig): DevState {
  const network = hash('sha256', JSON.stringify(toPlain(config)));
  const { owner, endowments, burn } = config;
  return {
    config,
    network,
    block: 0,
    hash: network,
    burn: burn.start,
    epoch: 0,
    lastEpochBlock: 0,
    pending: { owner: 0n, server: 0n, validator: 0n },
    issued: endowments.reduce((all, { amount }) => all + amount, 0n),
    burned: 0n,
    accounts: Object.fromEntries([
      [owner.hotkey, { free: 0n, nonce: 0 }],
      ...endowments.map(({ account, amount }) => [account, { free: amount, nonce: 0 }]),
    ]),
    firstNonce: 0,
    hotkeys: { [owner.hotkey]: { coldkey: owner.coldkey, stake: {} } },
    neurons: [newNeuron(owner.hotkey, 0)],
  };
}

export const newNeuron = (hotkey: string, block: number): DevNeuron => ({
  hotkey,
  registeredAt: block,
  lastUpdate: block,
  permit: false,
  weights: EMPTY_ROW,
  bonds: EMPTY_ROW,
  commits: [],
  active: false,
  stakeWeight: 0,
  consensus: 0,
  incentive: 0,
  dividends: 0,
  validatorTrust: 0,
  emission: 0n,
});

export function accountOf(state: DevState, account: string): Account {
  state.accounts[account] ??= { free: 0n, nonce: nonceOf(state, account) };
  return state.accounts[account];
}

export const nonceOf = (state: DevState, account: string): number => state.accounts[account]?.nonce ?? state.firstNonce;

export const uidOf = (state: DevState, hotkey: string): number => state.neurons.findIndex((neuron) => neuron.hotkey === hotkey);

export const ownerUid = (state: DevState): number | null => {
  const uid = uidOf(state, state.config.owner.hotkey);
  return uid < 0 ? null : uid;
};

/** Everybody's stake on a hotkey. */
export const stakeOn = (state: DevState, hotkey: string): bigint =>
  Object.values(state.hotkeys[hotkey]?.stake ?? {}).reduce((all, alpha) => all + alpha, 0n);

/** Whether the account has anything here: money, a place in the subnet, or stake. */
export const isKnown = (state: DevState, account: string): boolean =>
  (state.accounts[account]?.free ?? 0n) >= EXISTENTIAL_DEPOSIT ||
  uidOf(state, account) >= 0 ||
  Object.values(state.hotkeys).some(({ stake }) => stake[account] !== undefined);

/** Who has nothing here any more is forgotten, so that calls do not make accounts that stay for ever. Less than a deposit is burned. */
export function reapUnknown(state: DevState, account: string): void {
  const gone = state.accounts[account];
  if (!gone || isKnown(state, account)) return;
  state.burned += gone.free;
  state.firstNonce = Math.max(state.firstNonce, gone.nonce);
  delete state.accounts[account];
}
