import type { Reason } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import type { MinerFacts } from './types.ts';

/**
 * loading: fetches its stage. ready: proved its parameters by hash, takes leases.
 * applying: was told of a merge and has not yet proved the new parameters.
 */
export type MinerPhase = 'loading' | 'ready' | 'applying';

export interface MinerRecord {
  id: string;
  /** How many joined before it: a total order that never changes. */
  order: number;
  facts: MinerFacts;
  joinedAt: number;
  stage: number;
  phase: MinerPhase;
  phaseSince: number;
  /** The version it proved last; −1 before the first. */
  version: number;
  connected: boolean;
  /** When its place is given up; only while not connected. */
  goneAt: number;
  /** Its open leases. */
  leases: Set<string>;
  /** Stage inputs it keeps for backwards to come. */
  kept: number;
  /** Begins with an assignment or a request for its gradient: a backward belongs to the round it was granted in. */
  round: number;
  /** When it will have finished what it was granted, as far as its past speed tells. */
  queueEnd: number;
  /** When its last receipt came: what it works on now was begun then at the earliest. */
  settledAt: number;
  /** Ms per unit of work (a forward is one): bias-corrected moving average, or a guess before the first receipt. */
  pace: number;
  /** The average before its correction, and how many samples are in it. */
  mean: number;
  samples: number;
  /** Late so often in a row. */
  late: number;
  /** So many gradients in a row did not come. */
  missed: number;
  bannedUntil: number;
  /** 0 when it has not asked for a rest, or the rest is over. */
  restUntil: number;
  /** Since when it has asked for rests and sent no receipt; null when it has not asked. */
  restingSince: number | null;
  /** When its last rest ended, or will. */
  restedUntil: number;
  /** It has rested for longer than anybody waits. */
  absent: boolean;
  /** Banned or at rest: a tick ends it. */
  resting: boolean;
  /** Its assignment waits for the end of a ban, and this is what it is for. */
  owed: string | null;
  /** Stage it moves to when its stage has merged, or null. */
  moving: number | null;
  /** What it sent that could not be taken, since it joined. */
  rejected: number;
  /** Why it has no lease, as told last; null while it has some. */
  waiting: (Reason & { since: number; until: number | null }) | null;
}

/** What a miner has done, and what it has to answer for: outlasts its presence. */
export interface Credit {
  /** As it said last before it went. */
  facts: MinerFacts;
  /** Receipts that counted. */
  receipts: number;
  /** Of these, backwards. */
  backwards: number;
  /** Receipts of its leases that came when they were not needed any more; they earn nothing. */
  surplus: number;
  /** What it sent that could not be taken, in all its stays that are over. */
  rejected: number;
  bans: number;
  bannedUntil: number;
  /** What the last ban was for. */
  banned: Reason | null;
  /** So often it did not get done with fetching or applying in time. */
  stalls: number;
}

/** What is known of a device, or of a miner without one: a miner's id is thrown away at will, and pay goes to devices. */
export interface Reputation {
  /** Audits passed since it came or was last found false. */
  passedAudits: number;
  /** Steps in which a merge holds a gradient of any of its miners, since the first of these, or since an audit that showed nothing. */
  cleanSteps: number;
  /** The newest of them; −1 before the first. */
  cleanVersion: number;
  /** Audits that found its work false. */
  failedAudits: number;
  /** The newest step that was open when it was last found false: a pass of this or an earlier one comes too late; −1 before the first. */
  falseVersion: number;
  /** For all its miners, those that come later, too. */
  bannedUntil: number;
}

export const NO_REPUTATION: Readonly<Reputation> = {
  passedAudits: 0,
  cleanSteps: 0,
  cleanVersion: -1,
  failedAudits: 0,
  falseVersion: -1,
  bannedUntil: 0,
};

/** Why a device is banned. */
export const FOUND_FALSE: Reason = { code: 'BANNED_WRONG', message: 'an audit found its work false' };

export const noCredit = (facts: MinerFacts): Credit => ({
  facts,
  receipts: 0,
  backwards: 0,
  surplus: 0,
  rejected: 0,
  bans: 0,
  bannedUntil: 0,
  banned: null,
  stalls: 0,
});

export function newMiner(id: string, order: number, facts: MinerFacts, stage: number, now: number): MinerRecord {
  return {
    id,
    order,
    facts,
    joinedAt: now,
    stage,
    phase: 'loading',
    phaseSince: now,
    version: -1,
    connected: true,
    goneAt: 0,
    leases: new Set(),
    kept: 0,
    round: 0,
    queueEnd: now,
    settledAt: now,
    pace: LIMITS.unknownPace,
    mean: 0,
    samples: 0,
    late: 0,
    missed: 0,
    bannedUntil: 0,
    restUntil: 0,
    restingSince: null,
    restedUntil: 0,
    absent: false,
    resting: false,
    owed: null,
    moving: null,
    rejected: 0,
    waiting: null,
  };
}

export function enterPhase(miner: MinerRecord, phase: MinerPhase, now: number): void {
  Object.assign(miner, { phase, phaseSince: now } satisfies Partial<MinerRecord>);
}

/** Leases it may hold at once. */
export function allowance(miner: MinerRecord): number {
  return miner.late >= LIMITS.lateBeforeShorterQueue ? 1 : LIMITS.leasesPerMiner;
}

/** One more sample of ms per unit (SWARM, arXiv:2301.11913, appendix: bias-corrected exponential average). */
export function learnPace(miner: MinerRecord, msPerUnit: number): void {
  const alpha = LIMITS.speedAlpha;
  miner.mean = alpha * msPerUnit + (1 - alpha) * miner.mean;
  miner.samples += 1;
  miner.pace = miner.mean / (1 - (1 - alpha) ** miner.samples);
}

/** It starts anew on a stage: what it was on another says nothing. */
export function forgetPace(miner: MinerRecord, guess: number): void {
  Object.assign(miner, { pace: guess, mean: 0, samples: 0 } satisfies Partial<MinerRecord>);
}

/** Late again, `why`. Returns the length of the ban that follows in ms, or 0. */
export function countLate(miner: MinerRecord, credit: Credit, now: number, why: Reason): number {
  miner.late += 1;
  if (miner.late < LIMITS.lateBeforeBan) return 0;
  const length = Math.min(LIMITS.banMaximum, LIMITS.banBase * 2 ** credit.bans);
  credit.bans += 1;
  credit.bannedUntil = now + length;
  credit.banned = why;
  ban(miner, credit);
  return length;
}

/** Also for one that comes back: a ban does not end by leaving. */
export function ban(miner: MinerRecord, { bannedUntil }: Credit): void {
  miner.bannedUntil = bannedUntil;
  miner.resting = true;
}
