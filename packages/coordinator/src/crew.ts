/**
 * The miners of one stage, ordered by when each would finish one more lease. Every miner stands in one place:
 *
 * - idle: nothing to do; half: has a lease and may have another; full: as either, but keeps as many inputs as it may,
 *   so it can take a backward and no forward; taken: has all the leases it may;
 * - banned: could work and was late too often; owed: banned before it fetched its stage, and not fetching it yet;
 * - absent: at rest for so long that nobody counts on it; out: not here, not ready, or at rest.
 *
 * `place` must be called after every change of a miner that can move it; `pick` then costs O(log n), and never O(n)
 * unless everybody who could work is banned.
 */
import { LIMITS } from './constants.ts';
import type { Slot } from './flow.ts';
import { Heap } from './heap.ts';
import { allowance, type MinerRecord } from './miner.ts';
import { type StageRecord, unitsOf } from './stage.ts';

export type Place = 'idle' | 'half' | 'full' | 'taken' | 'banned' | 'owed' | 'absent' | 'out';

const order = (miner: MinerRecord) => miner.order;

/** Those that are trusted half as much as the first, or more: one that outdid all others would have to do everything that somebody makes useless. */
export function foremost(miners: readonly MinerRecord[], trust: (miner: MinerRecord) => number): MinerRecord[] {
  const most = Math.max(0, ...miners.map(trust));
  return miners.filter((miner) => trust(miner) >= most / 2);
}

/**
 * Miners that have a lease, by when they would have finished one more. Those that should have finished already could
 * begin at once, as far as anybody knows: they are ordered by their pace alone, or the longest overdue would look best.
 */
class Busy {
  private readonly due = new Heap<MinerRecord>(order);
  private readonly overdue = new Heap<MinerRecord>(order);

  set(miner: MinerRecord, end: number): void {
    this.overdue.delete(miner);
    this.due.set(miner, end);
  }

  delete(miner: MinerRecord): void {
    this.due.delete(miner);
    this.overdue.delete(miner);
  }

  first(now: number, except: MinerRecord | null): (MinerRecord | undefined)[] {
    // Whoever is not first among the due has an end behind the first's, overdue or not: it may stay.
    let first = this.due.first(except);
    for (; first && first.queueEnd <= now; first = this.due.first(except)) {
      this.due.delete(first);
      this.overdue.set(first, first.pace);
    }
    return [this.overdue.first(except), first];
  }
}

export class Crew {
  readonly stage: StageRecord;
  /** In the order they came to this stage. */
  readonly members = new Map<string, MinerRecord>();
  private readonly places = new Map<MinerRecord, Place>();
  private readonly counts: Record<Place, number> = { idle: 0, half: 0, full: 0, taken: 0, banned: 0, owed: 0, absent: 0, out: 0 };
  private readonly idle = new Heap<MinerRecord>(order);
  private readonly half = new Busy();
  private readonly full = new Busy();
  /** What a stage gives out most, in units: the last one has backwards only. */
  private readonly usual: number;

  constructor(stage: StageRecord) {
    this.stage = stage;
    this.usual = stage.isLast ? LIMITS.backwardUnits : 1;
  }

  get size(): number {
    return this.members.size;
  }

  /** Miners that can be given leases now or when they have finished what they have. */
  get fit(): number {
    const { idle, half, full, taken } = this.counts;
    return idle + half + full + taken;
  }

  /** All that are fit have as many leases as they may have: nobody can take anything now. */
  get isFull(): boolean {
    const { idle, half, full, taken } = this.counts;
    return taken > 0 && idle + half + full === 0;
  }

  /** Miners that hold the stage, or are about to, and may be counted on. */
  get staff(): number {
    return this.size - this.counts.owed - this.counts.absent;
  }

  /** Somebody here has a lease, and a tick has not found it late. */
  get isComputing(): boolean {
    for (const { leases } of this.members.values()) if (leases.size > 0) return true;
    return false;
  }

  add(miner: MinerRecord): void {
    this.members.set(miner.id, miner);
    this.place(miner);
  }

  remove(miner: MinerRecord): void {
    this.members.delete(miner.id);
    const place = this.places.get(miner);
    if (place) this.counts[place] -= 1;
    this.places.delete(miner);
    for (const heap of [this.idle, this.half, this.full]) heap.delete(miner);
  }

  placeOf(miner: MinerRecord): Place {
    return this.places.get(miner) ?? 'out';
  }

  /** Where it belongs by what it is now. */
  wherePlaced(miner: MinerRecord): Place {
    if (miner.owed !== null) return 'owed';
    if (miner.absent) return 'absent';
    if (!miner.connected || miner.phase !== 'ready' || miner.version !== this.stage.version) return 'out';
    if (miner.resting) return miner.restUntil > 0 ? 'out' : 'banned';
    if (miner.leases.size >= allowance(miner)) return 'taken';
    if (miner.kept >= LIMITS.keptInputs) return 'full';
    return miner.leases.size === 0 ? 'idle' : 'half';
  }

  place(miner: MinerRecord): void {
    const before = this.places.get(miner);
    const now = this.wherePlaced(miner);
    if (before !== now) {
      if (before) this.counts[before] -= 1;
      this.counts[now] += 1;
      this.places.set(miner, now);
      this.heapOf(before)?.delete(miner);
    }
    // Who has nothing to do finishes by its pace alone, whenever it begins.
    this.heapOf(now)?.set(miner, now === 'idle' ? miner.pace : miner.queueEnd + this.usual * miner.pace);
  }

  /**
   * The miner expected to finish one more such lease first; null when nobody can take it now. `avoid` gets it only when
   * nobody else is fit. Somebody better who has no lease free is waited for: it will be free soon.
   * Among those with a lease the order is by what the stage gives out most; for the other kind it can be off by the
   * difference of the two, and only by that.
   */
  pick(slot: Slot, now: number, avoid: string | null = null): MinerRecord | null {
    if (this.fit === 0) return this.pickBanned(slot, avoid);
    const shunned = avoid !== null && this.fit > 1 ? (this.members.get(avoid) ?? null) : null;
    let best: MinerRecord | null = null;
    let earliest = Number.POSITIVE_INFINITY;
    const able = [this.idle.first(shunned), ...this.half.first(now, shunned)];
    if (slot === 'backward') able.push(...this.full.first(now, shunned));
    for (const miner of able) {
      if (!miner) continue;
      const finish = this.finish(miner, slot, now);
      if (finish < earliest) [best, earliest] = [miner, finish];
    }
    return best;
  }

  /**
   * For a task whose result was useless in some hands: who of the others that can take it now would finish it first, the most trusted before
   * all; null when none can.
   */
  pickOther(slot: Slot, now: number, tried: readonly string[], trust: (miner: MinerRecord) => number): MinerRecord | null {
    const able = foremost(
      [...this.members.values()].filter((miner) => !tried.includes(miner.id) && this.isAble(miner, slot)),
      trust,
    );
    const finish = (miner: MinerRecord) => this.finish(miner, slot, now);
    return able.reduce<MinerRecord | null>((first, miner) => (first && finish(first) <= finish(miner) ? first : miner), null);
  }

  /** Somebody who has not tried has what it takes to compute, or will have when it is done with what it does. */
  hasOther(tried: readonly string[]): boolean {
    return [...this.members.values()].some((miner) => !tried.includes(miner.id) && this.isExpected(miner));
  }

  private isExpected(miner: MinerRecord): boolean {
    const prepares = miner.phase !== 'ready' && miner.connected && !miner.resting && miner.owed === null;
    return prepares || ['idle', 'half', 'full', 'taken'].includes(this.placeOf(miner));
  }

  isAble(miner: MinerRecord, slot: Slot): boolean {
    const place = this.placeOf(miner);
    return place === 'idle' || place === 'half' || (place === 'full' && slot === 'backward');
  }

  /** When it would have finished one more such lease. */
  private finish(miner: MinerRecord, slot: Slot, now: number): number {
    return Math.max(now, miner.leases.size > 0 ? miner.queueEnd : now) + unitsOf(this.stage, slot) * miner.pace;
  }

  /** Somebody with nothing to do but `except`. */
  pickIdle(except: MinerRecord): MinerRecord | null {
    return this.idle.first(except) ?? null;
  }

  /** Bans are ignored when they would leave nobody. The one that ends first comes first. */
  private pickBanned(slot: Slot, avoid: string | null): MinerRecord | null {
    if (this.counts.banned === 0) return null;
    let best: MinerRecord | null = null;
    for (const miner of this.members.values()) {
      if (this.places.get(miner) !== 'banned' || miner.leases.size > 0) continue;
      if (slot === 'forward' && miner.kept >= LIMITS.keptInputs) continue;
      if (this.counts.banned > 1 && miner.id === avoid) continue;
      if (!best || miner.bannedUntil < best.bannedUntil) best = miner;
    }
    return best;
  }

  private heapOf(place: Place | undefined): Heap<MinerRecord> | Busy | null {
    return place === 'idle' ? this.idle : place === 'half' ? this.half : place === 'full' ? this.full : null;
  }
}
