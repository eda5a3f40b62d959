/** Who should be where, as pure functions apart from the machine that carries it out. Routing within a stage is `crew.ts`. */
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import type { MinerRecord } from './miner.ts';
import { unitsPerMicrobatch } from './stage.ts';

const present = (crew: Crew) => [...crew.members.values()].filter((miner) => miner.connected);

/** Median pace of all miners that have shown one, in ms per unit; what an unknown miner is taken for. */
export function typicalPace(crews: readonly Crew[]): number {
  const paces = crews.flatMap(({ members }) => [...members.values()].filter(({ samples }) => samples > 0).map(({ pace }) => pace));
  return paces.sort((a, b) => a - b)[paces.length >> 1] ?? LIMITS.unknownPace;
}

/** Microbatches a second that a stage's miners can do together. */
export function throughput(crew: Crew, unknown: number): number {
  const units = unitsPerMicrobatch(crew.stage);
  let sum = 0;
  for (const miner of crew.members.values())
    if (miner.owed === null && !miner.absent) sum += 1_000 / (units * (miner.samples > 0 ? miner.pace : unknown));
  return sum;
}

/** Where a newcomer goes: the stage with the least throughput, the lowest of equals. */
export function placeNewcomer(crews: readonly Crew[]): Crew {
  const unknown = typicalPace(crews);
  const rated = crews.map((crew) => ({ crew, rate: throughput(crew, unknown) }));
  return rated.reduce((best, other) => (other.rate < best.rate ? other : best)).crew;
}

type Burden = (miner: MinerRecord) => number;

const largestOf = (groups: readonly MinerRecord[][]) => groups.reduce((best, other) => (other.length > best.length ? other : best));
const leastBurdened = (miners: readonly MinerRecord[], burden: Burden) =>
  miners.reduce((best, other) => (burden(other) < burden(best) ? other : best));

export interface Move {
  miner: MinerRecord;
  to: Crew;
}

/**
 * A run stands still while a stage has nobody who may work on it. The best staffed stage then gives the miner that loses
 * least by moving. One that is banned or at rest may not begin at once, and goes only for want of others, and only where
 * nobody waits for the end of a ban already. Null when no stage can spare one. A stage never gives its last, so that moves
 * made until there are none end.
 */
export function fillEmpty(crews: readonly Crew[], burden: Burden): Move | null {
  const empty = crews.filter(({ stage, staff }) => stage.phase !== 'complete' && staff === 0);
  if (empty.length === 0) return null;
  const spare = crews.map((crew) => (crew.staff > 1 ? present(crew) : []));
  const richest = largestOf(spare);
  if (richest.length < 2) return null;
  const awake = richest.filter((miner) => !miner.resting);
  const to = awake.length > 0 ? empty[0] : empty.find(({ size }) => size === 0);
  if (!to) return null;
  return { miner: leastBurdened(awake.length > 0 ? awake : richest, burden), to };
}

/**
 * What those that are here have done for so long may be all they ever do, under one name after the other: fetch it, rest, or take leases and
 * answer none. Who has a lease may be slow, and gets the time that the slowest has; but only once, or the next name would get it again.
 */
function isForsaken(crew: Crew, now: number): boolean {
  const { phase, attendedAt } = crew.stage;
  const since = now - attendedAt;
  if (phase === 'complete' || since < LIMITS.phaseDeadline) return false;
  return since >= LIMITS.phaseDeadline + LIMITS.maximumDeadline || !crew.isComputing;
}

/** Sends a stage where nobody works one that holds another where somebody does, of those that lose least by it. Null when none can be spared. */
export function relieve(crews: readonly Crew[], burden: Burden, now: number): Move | null {
  const to = crews.find((crew) => isForsaken(crew, now));
  if (!to) return null;
  const isHolder = ({ phase, resting }: MinerRecord) => phase === 'ready' && !resting;
  const holders = crews.map((crew) => (isForsaken(crew, now) ? [] : present(crew).filter(isHolder)));
  const richest = largestOf(holders);
  if (richest.length < 2) return null;
  return { miner: leastBurdened(richest, burden), to };
}

/** Whether another stage could give a miner to this one, so that its only one can be let go. */
export function couldStaff(crews: readonly Crew[], crew: Crew): boolean {
  return crews.some((other) => other !== crew && present(other).length > 1);
}

/**
 * The one move that helps the slowest stage most, or null when none is worth it: the least throughput of any stage must
 * be under `rebalanceGain` of what it would be after (Petals' rule: block_selection.py, balance quality). A miner's
 * speed on another stage is taken to be the same multiple of that stage's typical speed. It never empties a stage.
 */
export function rebalance(crews: readonly Crew[]): Move | null {
  const known = (miner: MinerRecord) => miner.samples >= LIMITS.rebalanceSamples;
  const unknown = typicalPace(crews);
  const rates = crews.map((crew) => throughput(crew, unknown));
  const least = Math.min(...rates);
  const to = crews[rates.indexOf(least)]!;
  if (to.stage.phase === 'complete' || !present(to).some(known)) return null;
  const medianPace = (crew: Crew) => typicalPace([crew]);
  let best: Move | null = null;
  let highest = least / LIMITS.rebalanceGain;
  crews.forEach((from, index) => {
    const members = present(from);
    if (from === to || members.length < 2) return;
    for (const miner of members) {
      if (!known(miner)) continue;
      const leaves = 1_000 / (unitsPerMicrobatch(from.stage) * miner.pace);
      const brings = 1_000 / (unitsPerMicrobatch(to.stage) * medianPace(to) * (miner.pace / medianPace(from)));
      const after = rates.map((rate, i) => (i === index ? rate - leaves : crews[i] === to ? rate + brings : rate));
      const slowest = Math.min(...after);
      if (slowest > highest) {
        best = { miner, to };
        highest = slowest;
      }
    }
  });
  return best;
}
