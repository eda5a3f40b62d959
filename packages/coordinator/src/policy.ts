/** Who should do it: placement and routing as pure functions, apart from the machine that carries them out. */
import { LIMITS } from './constants.ts';
import type { Cell } from './flow.ts';
import { expectedMs, type MinerRecord } from './miner.ts';
import type { StageRecord } from './stage.ts';

/** Expected ms of a lease before the stage has seen any. */
const UNKNOWN_MS = 1_000;

export interface Staffed {
  stage: StageRecord;
  members: readonly MinerRecord[];
}

/** Where a newcomer goes: the stage with the fewest miners, the lowest of equals. */
export function placeNewcomer(staff: readonly Staffed[]): Staffed {
  return staff.reduce((best, other) => (other.members.length < best.members.length ? other : best));
}

/**
 * A run stands still while a stage has nobody. The best staffed stage then gives the miner that loses least by moving;
 * null when no stage can spare one.
 */
export function chooseMover(
  staff: readonly Staffed[],
  burden: (miner: MinerRecord) => number,
): { mover: MinerRecord; to: StageRecord } | null {
  const empty = staff.find(({ stage, members }) => stage.phase !== 'complete' && members.length === 0);
  if (!empty) return null;
  const present = staff.map(({ members }) => members.filter((miner) => miner.connected));
  const richest = present.reduce((best, members) => (members.length > best.length ? members : best));
  if (richest.length < 2) return null;
  const mover = richest.reduce((best, miner) => (burden(miner) < burden(best) ? miner : best));
  return { mover, to: empty.stage };
}

export function expectedLeaseMs(miner: MinerRecord, stage: StageRecord, kind: 'forward' | 'backward'): number {
  return expectedMs(miner, kind, stage.times.median(kind, UNKNOWN_MS));
}

/**
 * The miner expected to finish this task first, among those that hold the version, are here and have a lease free.
 * A backward goes to whoever still has its input, and waits for that miner while it can work at all.
 * Time-outs are ignored when nobody else is there.
 */
export function chooseMiner({ stage, members }: Staffed, cell: Cell, kind: 'forward' | 'backward', now: number): MinerRecord | null {
  const present = members.filter((miner) => miner.connected && miner.phase === 'ready' && miner.version === stage.version);
  const punctual = present.filter((miner) => miner.timedOutUntil <= now);
  const candidates = punctual.length > 0 ? punctual : present;
  const others = candidates.filter((miner) => miner.id !== cell[kind]?.avoid);
  const able = others.length > 0 ? others : candidates;
  const free = able.filter((miner) => miner.leases.size < LIMITS.leasesPerMiner);
  if (kind === 'backward' && able.some((miner) => miner.id === cell.holder)) {
    return free.find((miner) => miner.id === cell.holder) ?? null;
  }
  let best: MinerRecord | null = null;
  let earliest = Number.POSITIVE_INFINITY;
  for (const miner of free) {
    const finish = Math.max(now, miner.busyUntil) + expectedLeaseMs(miner, stage, kind);
    if (finish < earliest) [best, earliest] = [miner, finish];
  }
  return best;
}
