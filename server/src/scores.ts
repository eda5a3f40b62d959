/**
 * What a round's work is worth: all that was verified, and less by half with every round that goes by. Pure arithmetic over the
 * public ledger, so that anybody gets the same numbers; a miner that does nothing gets nothing.
 */
import type { RoundWork } from '@starling/protocol';

/** Worth of a round's work one round later. */
export const DECAY = 0.5;

/** FLOPs. */
export interface DeviceScore {
  /** Decayed. */
  score: number;
  /** Of the newest round. */
  roundWork: number;
  /** Of all rounds. */
  work: number;
  /** Names its miners gave themselves, the newest round's first. */
  names: string[];
}

/** By device. Miners without a key are in no account. */
export type Scores = ReadonlyMap<string, DeviceScore>;

/** Below this share of the best a score is forgotten: no chain's u16 weight would show it. */
const FORGOTTEN = 2 ** -20;
const NAMES_KEPT = 5;

/** The scores after one more round. */
export function scoresAfter(before: Scores, { miners }: RoundWork): Scores {
  const scores = new Map<string, DeviceScore>();
  for (const [device, { score, work, names }] of before) scores.set(device, { score: score * DECAY, roundWork: 0, work, names });
  for (const { device, flops, name } of miners) {
    if (device === null) continue;
    const { score, roundWork, work, names } = scores.get(device) ?? { score: 0, roundWork: 0, work: 0, names: [] };
    scores.set(device, {
      score: score + flops,
      roundWork: roundWork + flops,
      work: work + flops,
      names: [...new Set([name, ...names])].slice(0, NAMES_KEPT),
    });
  }
  const best = Math.max(0, ...[...scores.values()].map(({ score }) => score));
  for (const one of scores.values()) if (one.score < best * FORGOTTEN) one.score = 0;
  return scores;
}

/** The scores that a whole ledger gives, its oldest line first. */
export const scoresOf = (ledger: readonly RoundWork[]): Scores => ledger.reduce<Scores>(scoresAfter, new Map());
