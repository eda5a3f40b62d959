/**
 * Who reduces which shard. Every pair of members gets one shard if there are enough, and however many there are, the numbers
 * of shards of two members differ by one at most.
 */
import type { Draw } from './draw.ts';

export type Pair = readonly [number, number];

/**
 * All pairs of 0 … `members` − 1, once each, in such an order that after any number of them no member is more than one
 * ahead of another.
 */
export function balancedPairs(members: number): Pair[] {
  return members % 2 === 0 ? tournament(members) : cycles(members);
}

/** The circle method for an even number: every round, one after the other, is a perfect matching. */
function tournament(members: number): Pair[] {
  const circle = members - 1;
  const pairs: Pair[] = [];
  for (let round = 0; round < circle; round++) {
    pairs.push([circle, round]);
    for (let k = 1; k < members / 2; k++) pairs.push([(round + k) % circle, (round - k + circle) % circle]);
  }
  return pairs;
}

/**
 * An odd number has no perfect matching. Walecki (Lucas, Récréations mathématiques, 1883): all pairs are (members − 1)/2 cycles
 * through everybody. Each is taken so: every second edge, then the two edges at the member that was left over, then the rest.
 */
function cycles(members: number): Pair[] {
  const around = members - 1;
  const pairs: Pair[] = [];
  for (let start = 0; start < around / 2; start++) {
    const cycle = [around];
    for (let k = 0; k < around; k++) {
      const step = k % 2 === 1 ? (k + 1) / 2 : -k / 2;
      cycle.push((start + step + around) % around);
    }
    const edge = (at: number) => pairs.push([cycle[at]!, cycle[(at + 1) % members]!]);
    for (let at = 0; at <= members - 3; at += 2) edge(at);
    edge(members - 2);
    edge(members - 1);
    for (let at = 1; at <= members - 4; at += 2) edge(at);
  }
  return pairs;
}

export interface Assignment {
  /** Members in an order drawn: who comes first when several could be drawn later. */
  order: number[];
  /** Of each shard: two different members, or the only one, or nobody. */
  pairs: number[][];
}

/** Draws the reducers of every shard. Shards that are longer than others must come first. */
export function drawPairs(draw: Draw, members: readonly number[], shards: number): Assignment {
  const order = draw.order(members.length).map((index) => members[index]!);
  if (order.length < 2) return { order, pairs: Array.from({ length: shards }, () => [...order]) };
  const all = balancedPairs(order.length);
  const pairs = Array.from({ length: shards }, (_, shard) => all[shard % all.length]!.map((place) => order[place]!));
  return { order, pairs };
}
