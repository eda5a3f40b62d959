/** What is at stake in a step, by which it is audited: its device's work in it, and what the device would lose with it. */
import type { Work } from '@starling/protocol';
import type { Scene } from './witness.ts';

export interface StakeParts {
  /** Whose reputation and pay a miner's work is. */
  ownerOf(minerId: string): string;
  /** FLOPs of a lease. */
  flopsOf(work: Pick<Work, 'kind' | 'stage'>): number;
  /** FLOPs that a conviction takes, by device; of those alone whose work counts. */
  stakes(): ReadonlyMap<string, number>;
}

/** FLOPs. */
export interface Stake {
  /** Of the device in the step. */
  work: number;
  /** What the device would lose beside it. */
  held: number;
}

/**
 * For each miner of `scene`, which is being drawn; null where nothing that it does is paid. `undrawn`: all other scenes. What was
 * not drawn yet is not to be lost: a device with many miners must not hide each one's lies behind the others'. (Backwards count only
 * when they are merged, which is after their draw.) Work is that of all its miners here: what is taken for what could not be verified, which is
 * 1 / chance times their pay, is then never more than is at stake.
 */
export function stakesIn(
  scene: Scene,
  undrawn: readonly Scene[],
  { ownerOf, flopsOf, stakes }: StakeParts,
): (minerId: string) => Stake | null {
  const open = new Map<string, number>();
  for (const { stage, receipts } of [scene, ...undrawn])
    for (const { minerId, kind } of receipts) if (kind !== 'backward') add(open, ownerOf(minerId), flopsOf({ kind, stage }));
  const work = new Map<string, number>();
  for (const { minerId, kind } of scene.receipts) add(work, ownerOf(minerId), flopsOf({ kind, stage: scene.stage }));
  const held = stakes();
  return (minerId) => {
    const owner = ownerOf(minerId);
    const [own, done] = [held.get(owner), work.get(owner) ?? 0];
    return own === undefined ? null : { work: done, held: Math.max(0, own - (open.get(owner) ?? 0)) };
  };
}

function add(sums: Map<string, number>, key: string, more: number): void {
  sums.set(key, (sums.get(key) ?? 0) + more);
}
