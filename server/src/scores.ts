/**
 * What a round's work is worth: all that was verified, and less with time, by half in the half-life that the ledger's line states. Work
 * is held for some rounds before it counts; a device that an audit finds false meanwhile loses all of its that is held. Where there are audits, work counts
 * only after the round of the device's first passed one: a new key is worth nothing. What could not be verified is taken of what is held. Pure arithmetic over the public ledger, so that
 * anybody gets the same numbers; a miner that does nothing gets nothing.
 */
import type { MinerWork, RoundWork } from '@starling/protocol';

/**
 * Tempos of the chain in a half-life. An epoch pays by the scores of its moment, so work done just before one is weighed by more of
 * what it is worth than work done just after one: by 2^(1 / 4) = 1.19 at most. Longer would pay longer for those who left.
 */
export const HALF_LIFE_TEMPOS = 4;
/** Worth of a round's work one round later, where lines state no half-life. */
export const DECAY = 0.5;

/** FLOPs. */
export interface DeviceScore {
  /** Decayed. */
  score: number;
  /** Of the newest round. */
  roundWork: number;
  /** Of all rounds whose work counts. */
  work: number;
  /** Names its miners gave themselves, the newest round's first. */
  names: string[];
}

/** By device. Miners without a key are in no account. */
export type Scores = ReadonlyMap<string, DeviceScore>;

export interface Tally {
  scores: Scores;
  /** Rounds whose work does not count yet, the oldest first, less what never will. */
  held: readonly RoundWork[];
  /** Devices that passed an audit and were not found false since. */
  proven: ReadonlySet<string>;
  /** FLOPs that are to be taken of a device and were not held any more: its next ones go for them. */
  debts: ReadonlyMap<string, number>;
  /** Unix ms of the newest line; null: there is none. */
  time: number | null;
}

export const NO_TALLY: Tally = { scores: new Map(), held: [], proven: new Set(), debts: new Map(), time: null };

/** Below this share of the best a score is forgotten: no chain's u16 weight would show it. */
const FORGOTTEN = 2 ** -20;
const NAMES_KEPT = 5;

/** After one more line of the ledger. */
export function tallyAfter({ scores: before, held: waiting, proven: known, debts: owed, time }: Tally, line: RoundWork): Tally {
  const counting = { ...line, miners: line.miners.filter((miner) => !line.passed || known.has(ownerOf(miner))) };
  const convicted = new Set(line.convicted);
  // Old ledgers, and whoever saw only the miner, name that: what it did tells whose it is.
  for (const miner of [...waiting, line].flatMap(({ miners }) => miners)) if (convicted.has(miner.minerId)) convicted.add(ownerOf(miner));
  const debts = new Map(owed);
  // Of who is not proven nothing counts that could be taken.
  for (const [owner, flops] of Object.entries(line.unverified ?? {}))
    if (known.has(owner)) debts.set(owner, (debts.get(owner) ?? 0) + flops);
  // The oldest first: it would count next.
  const held = [...waiting, counting].map((round) => ({
    ...round,
    miners: round.miners.filter((miner) => !convicted.has(ownerOf(miner))).flatMap((miner) => pay(debts, miner)),
  }));
  const proven = new Set([...known, ...(line.passed ?? line.miners.map(ownerOf))].filter((owner) => !convicted.has(owner)));
  const due = held.splice(0, Math.max(0, held.length - line.hold));
  const scores = new Map<string, DeviceScore>();
  const left = keptOf(line, time);
  for (const [device, { score, work, names }] of before) scores.set(device, { score: score * left, roundWork: 0, work, names });
  const of = (device: string) => scores.get(device) ?? { score: 0, roundWork: 0, work: 0, names: [] };
  for (const { device, flops, name } of due.flatMap(({ miners }) => miners)) {
    if (device === null) continue;
    const { score, roundWork, work, names } = of(device);
    scores.set(device, { score: score + flops, roundWork, work: work + flops, names: [...new Set([name, ...names])].slice(0, NAMES_KEPT) });
  }
  for (const { device, flops, name } of line.miners) {
    if (device === null) continue;
    const { names, ...known } = of(device);
    scores.set(device, { ...known, roundWork: known.roundWork + flops, names: [...new Set([name, ...names])].slice(0, NAMES_KEPT) });
  }
  const best = Math.max(0, ...[...scores.values()].map(({ score }) => score));
  for (const one of scores.values()) if (one.score < best * FORGOTTEN) one.score = 0;
  return { scores, held, proven, debts, time: line.time };
}

const ownerOf = ({ device, minerId }: MinerWork) => device ?? minerId;

/** What is left of it when its device has paid what it owes. */
function pay(debts: Map<string, number>, miner: MinerWork): MinerWork[] {
  const debt = debts.get(ownerOf(miner));
  if (debt === undefined) return [miner];
  if (debt > miner.flops) {
    debts.set(ownerOf(miner), debt - miner.flops);
    return [];
  }
  debts.delete(ownerOf(miner));
  return [{ ...miner, flops: miner.flops - debt }];
}

/** What is left of scores of the line before, which was written at `before`. */
function keptOf({ time, halfLife }: RoundWork, before: number | null): number {
  if (halfLife === undefined) return DECAY;
  // A clock that was set back makes nothing worth more.
  return 2 ** (-Math.max(0, time - (before ?? time)) / halfLife);
}

/** What a whole ledger gives, its oldest line first. */
export const tallyOf = (ledger: readonly RoundWork[]): Tally => ledger.reduce<Tally>(tallyAfter, NO_TALLY);
