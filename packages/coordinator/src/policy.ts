/** Who should do it: placement and routing as pure functions, apart from the machine that carries them out. */
import { LIMITS } from './constants.ts';
import type { Cell } from './flow.ts';
import { expectedMs, type MinerRecord } from './miner.ts';
import type { StageRecord } from './stage.ts';

/** Expected ms of a lease before the stage has seen any. */
const UNKNOWN_MS = 1_000;

export interface Staffed {
  stage: StageRecord;
  members: ReadonlyMap<string, MinerRecord>;
}

/** Where a newcomer goes: the stage with the fewest miners, the lowest of equals. */
export function placeNewcomer(staff: readonly Staffed[]): Staffed {
  return staff.reduce((best, other) => (other.members.size < best.members.size ? other : best));
}

/**
 * A run stands still while a stage has nobody. The best staffed stage then gives the miner that loses least by moving;
 * null when no stage can spare one.
 */
export function chooseMover(
  staff: readonly Staffed[],
  burden: (miner: MinerRecord) => number,
): { mover: MinerRecord; to: StageRecord } | null {
  const empty = staff.find(({ stage, members }) => stage.phase !== 'complete' && members.size === 0);
  if (!empty) return null;
  const present = staff.map(({ members }) => [...members.values()].filter((miner) => miner.connected));
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
 * Whoever is timed out, or was late with this very task, comes last and not never: it may be all there is.
 */
export function chooseMiner({ stage, members }: Staffed, cell: Cell, kind: 'forward' | 'backward', now: number): MinerRecord | null {
  const able = (miner: MinerRecord) => miner.connected && miner.phase === 'ready' && miner.version === stage.version;
  const avoid = cell[kind]?.avoid ?? null;
  const rank = (miner: MinerRecord) => (miner.timedOutUntil > now ? 2 : 0) + (miner.id === avoid ? 1 : 0);
  const holder = kind === 'backward' && cell.holder !== null ? members.get(cell.holder) : undefined;
  if (holder && able(holder) && rank(holder) === 0) return holder.leases.size < LIMITS.leasesPerMiner ? holder : null;

  let lowest = Number.POSITIVE_INFINITY;
  let best: MinerRecord | null = null;
  let earliest = Number.POSITIVE_INFINITY;
  for (const miner of members.values()) {
    if (!able(miner)) continue;
    const own = rank(miner);
    if (own > lowest) continue;
    // Somebody better placed with no lease free is waited for: it will be free soon.
    if (own < lowest) [lowest, best, earliest] = [own, null, Number.POSITIVE_INFINITY];
    if (miner.leases.size >= LIMITS.leasesPerMiner) continue;
    const finish = Math.max(now, miner.busyUntil) + expectedLeaseMs(miner, stage, kind);
    if (finish < earliest) [best, earliest] = [miner, finish];
  }
  if (holder && able(holder) && rank(holder) === lowest) return holder.leases.size < LIMITS.leasesPerMiner ? holder : null;
  return best;
}
