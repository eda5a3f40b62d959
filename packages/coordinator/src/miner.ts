import type { LeaseKind } from '@starling/protocol';
import { LIMITS } from './constants.ts';

/**
 * loading: fetches its stage. ready: proved its parameters by hash, takes leases.
 * applying: was told of a merge and has not yet proved the new parameters.
 */
export type MinerPhase = 'loading' | 'ready' | 'applying';

export interface MinerRecord {
  id: string;
  stage: number;
  phase: MinerPhase;
  phaseSince: number;
  /** The version it proved last; −1 before the first. */
  version: number;
  connected: boolean;
  /** When its place is given up; only while not connected. */
  goneAt: number;
  leases: Set<string>;
  /** When it will have finished what it was granted, as far as its past speed tells. */
  busyUntil: number;
  /** Moving average of ms per lease by kind, and how many samples it holds. */
  speed: Map<LeaseKind, { mean: number; samples: number }>;
  late: number;
  timeouts: number;
  timedOutUntil: number;
  receipts: number;
  backwards: number;
  rejected: number;
  /** The last `wait` it was sent, so that the same one is not sent twice. */
  waitingFor: string | null;
}

export function newMiner(id: string, stage: number, busyUntil: number): MinerRecord {
  return {
    id,
    stage,
    phase: 'loading',
    phaseSince: 0,
    version: -1,
    connected: true,
    goneAt: 0,
    leases: new Set(),
    busyUntil,
    speed: new Map(),
    late: 0,
    timeouts: 0,
    timedOutUntil: 0,
    receipts: 0,
    backwards: 0,
    rejected: 0,
    waitingFor: null,
  };
}

export function enterPhase(miner: MinerRecord, phase: MinerPhase, now: number): void {
  Object.assign(miner, { phase, phaseSince: now } satisfies Partial<MinerRecord>);
}

/** Bias-corrected exponential average, as SWARM's queue uses it. */
export function learnSpeed(miner: MinerRecord, kind: LeaseKind, ms: number): void {
  const known = miner.speed.get(kind) ?? { mean: 0, samples: 0 };
  const alpha = LIMITS.speedAlpha;
  miner.speed.set(kind, { mean: alpha * ms + (1 - alpha) * known.mean, samples: known.samples + 1 });
}

/** Expected ms for one lease of this kind; `fallback` (the stage's median) while the miner is new. */
export function expectedMs(miner: MinerRecord, kind: LeaseKind, fallback: number): number {
  const known = miner.speed.get(kind);
  return known ? known.mean / (1 - (1 - LIMITS.speedAlpha) ** known.samples) : fallback;
}

/** Late again: after the second time in a row a time-out that doubles each time. Returns its length in ms, or 0. */
export function countLate(miner: MinerRecord, now: number): number {
  miner.late += 1;
  if (miner.late < LIMITS.lateBeforeTimeout) return 0;
  const length = Math.min(LIMITS.timeoutMaximum, LIMITS.timeoutBase * 2 ** miner.timeouts);
  miner.timeouts += 1;
  miner.timedOutUntil = now + length;
  return length;
}
