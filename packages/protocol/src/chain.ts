/** The chain, the rounds that are paid by it, and who is paid, as pages and validators see them. Amounts are rao in decimal digits. */
import type { WireError } from './errors.ts';

/** What one miner did in one round. */
export interface MinerWork {
  minerId: string;
  name: string;
  /** ed25519 public key; null: it has none, and cannot be paid. */
  device: string | null;
  /** Floating-point operations of the leases whose receipts counted; of backwards, those whose gradients were merged. */
  flops: number;
}

/** A line of the public ledger: so many steps of training, and who did them. All scores follow from it. */
export interface RoundWork {
  /** From 1. */
  round: number;
  /** The last step in it. */
  step: number;
  /** Unix ms. */
  time: number;
  miners: MinerWork[];
  /** Rounds for which its work is held before it counts. */
  hold: number;
  /** Ms in which what counted before is worth half. Absent in old ledgers: there every round halves it. */
  halfLife?: number;
  /** Devices (miners that have none) whose work was found false in this round: what is held of theirs does not count. */
  convicted: string[];
  /** FLOPs that are taken of what is held of a device's (a miner's that has none), since as much could not be verified. Absent: nobody's. */
  unverified?: Record<string, number>;
  /**
   * Devices (miners that have none) that passed an audit in this round: the first pass is what their work counts after. Absent where
   * nobody is audited, and in old ledgers: there all work counts.
   */
  passed?: string[];
}

/** Whom a device works for, and what that has come to. */
export interface AccountView {
  /** SS58: the wallet's hotkey, or else the device's own key. */
  address: string;
  /** Null for a guest. */
  delegation: { hotkey: string; server: string; nonce: string; issuedAt: number; expiresAt: number } | null;
  /** In the metagraph; null: not registered. */
  uid: number | null;
  stake: string | null;
  /** Rao in the name of the device's own key, which alone moves it; null on a chain of others, where nobody is paid on it. */
  own: { staked: string; free: string } | null;
  /** FLOPs in closed rounds, ever. */
  work: number;
  score: number;
  /** Ms in which a score halves. */
  halfLife: number;
  /** FLOPs in closed rounds that audits may still find false; all of it counts once `step` is done. Null: nothing is held. */
  held: { work: number; step: number } | null;
  /** Among the accounts of this run, by score, from 1; null: it has none. */
  rank: { place: number; of: number } | null;
  /** Rao for serving, as far as this server has seen; and what a day brings if it goes on as in the last epoch. */
  emission: string;
  perDay: string;
}

/** What a server tells of its chain before anybody signs for it. */
export interface IdentityView {
  network: string;
  netuid: number;
  /** Its own name for itself. */
  server: string;
}

export interface ChallengeView extends IdentityView {
  nonce: string;
  /** Unix ms. */
  issuedAt: number;
}

export interface NeuronView {
  uid: number;
  hotkey: string;
  coldkey: string;
  stake: string;
  permit: boolean;
  active: boolean;
  /** u16 shares. */
  consensus: number;
  incentive: number;
  dividends: number;
  validatorTrust: number;
  /** Of the last epoch. */
  emission: string;
  /** Block. */
  lastUpdate: number;
}

/** One account's way from receipts to emission. */
export interface PayView {
  address: string;
  /** Some of those that its miners gave themselves. */
  names: string[];
  /** Public keys of the devices that work for it. */
  devices: string[];
  guest: boolean;
  uid: number | null;
  /** FLOPs of the newest round, and of all. */
  roundWork: number;
  work: number;
  score: number;
  /** u16, as this server's validator set it last; null: none. */
  weight: number | null;
  /** u16, of the last epoch. */
  incentive: number;
  /** Rao for serving: of the last epoch, and as far as this server has seen. */
  lastEmission: string;
  emission: string;
}

export interface WeightsView {
  round: number;
  block: number;
  hotkey: string;
  weights: { uid: number; hotkey: string; weight: number }[];
}

export interface ChainView extends IdentityView {
  kind: 'embedded' | 'subtensor';
  /** Why the chain does not answer, or takes no weights; null when all is well. */
  trouble: WireError | null;
  block: number;
  epoch: number;
  nextEpoch: number;
  tempo: number;
  /** Between blocks. */
  blockMs: number;
  /** Of a registration. */
  burn: string;
  /** Steps in a round, and ms in which what its work is worth halves. */
  rounds: { steps: number; halfLife: number; newest: RoundWork | null };
  neurons: NeuronView[];
  pay: PayView[];
  /** Set by this server's validator; null: it has none, or none yet. */
  weights: WeightsView | null;
  /** Pearson's correlation of emission with work over the accounts that are paid, since the newest's score settled; null until that is as long ago as it took, and below three of them. */
  correlation: number | null;
}
