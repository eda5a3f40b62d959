import { describe, expect, it } from 'vitest';
import { drawOf } from './for-tests.ts';
import { balancedPairs, drawPairs } from './pairs.ts';
import { cutShards, pairsOf, shardCount } from './shards.ts';

const MEMBERS = Array.from({ length: 49 }, (_, i) => i + 2);

describe.each(MEMBERS)('of %i members', (members) => {
  it('every pair comes once, and after any number of pairs nobody is more than one ahead', () => {
    const pairs = balancedPairs(members);
    expect(new Set(pairs.map((pair) => `${pair.toSorted((a, b) => a - b)}`)).size).toBe((members * (members - 1)) / 2);
    expect(pairs).toHaveLength((members * (members - 1)) / 2);
    const counts = new Array<number>(members).fill(0);
    for (const [a, b] of pairs) {
      expect(a).not.toBe(b);
      counts[a]! += 1;
      counts[b]! += 1;
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });

  it('everybody reduces the same, up to a block: with a shard for every pair, and with fewer', () => {
    for (const blocks of [1, 2, members, 3 * members, 2000]) {
      const shards = cutShards(blocks * 256, pairsOf(members), 256);
      const { pairs } = drawPairs(drawOf(members), [...new Array(members).keys()], shards.length);
      const load = new Array<number>(members).fill(0);
      pairs.forEach((pair, shard) => {
        for (const member of pair) load[member]! += shards[shard]!.length;
      });
      expect(Math.max(...load) - Math.min(...load)).toBeLessThanOrEqual(256);
    }
  });

  it('when some of them are missing, the others share all shards, up to one shard and a block', () => {
    const shards = cutShards(500 * 64, pairsOf(members), 64);
    const present = [...new Array(Math.ceil(members / 2)).keys()].map((i) => 2 * i);
    const { pairs } = drawPairs(drawOf(members), present, shards.length);
    const load = new Map(present.map((member) => [member, 0]));
    pairs.forEach((pair, shard) => {
      expect(new Set(pair).size).toBe(Math.min(2, present.length));
      for (const member of pair) load.set(member, load.get(member)! + shards[shard]!.length);
    });
    const loads = [...load.values()];
    expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(shards[0]!.length + 64);
  });
});

describe('the draw', () => {
  it('is the same for the same seed, another for another, and gives nobody a partner of choice', () => {
    const together = new Array<number>(10).fill(0);
    for (let seed = 0; seed < 9000; seed++) {
      const { pairs } = drawPairs(drawOf(seed), [...together.keys()], 1);
      if (pairs[0]!.includes(0)) together[pairs[0]!.find((member) => member !== 0)!]! += 1;
    }
    // 1,800 of 9,000 draws have member 0; each partner in 200 of them, give or take five standard deviations.
    for (const count of together.slice(1)) expect(Math.abs(count - 200)).toBeLessThan(70);
    const drawn = (seed: number) => drawPairs(drawOf(seed), [...together.keys()], 45);
    expect(drawn(1)).toEqual(drawn(1));
    expect(drawn(1)).not.toEqual(drawn(2));
  });

  it('of one member is that member', () => {
    expect(drawPairs(drawOf(1), [7], 2)).toEqual({ order: [7], pairs: [[7], [7]] });
  });
});

describe('shards', () => {
  it.each([1, 2, 3, 4, 5, 10, 49, 50])('cover a vector without gap for %i members, cut between blocks', (members) => {
    for (const length of [1, 255, 256, 257, 5000, 1_000_003]) {
      for (const align of [1, 256, 4096]) {
        const shards = cutShards(length, pairsOf(members), align);
        const blocks = Math.ceil(length / align);
        expect(shards).toHaveLength(Math.max(1, Math.min((members * (members - 1)) / 2, blocks)));
        let next = 0;
        for (const { offset, length } of shards) {
          expect(offset).toBe(next);
          expect(offset % align).toBe(0);
          expect(length).toBeGreaterThan(0);
          next += length;
        }
        expect(next).toBe(length);
        const sizes = shards.map((shard) => Math.ceil(shard.length / align));
        expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
        expect(sizes[0]! - sizes.at(-1)!).toBeLessThanOrEqual(1);
      }
    }
  });

  it('are one for every pair, but never of more than a mebibyte nor of a handful of numbers', () => {
    expect([1, 2, 3, 5, 50].map((members) => shardCount(1_000_000, members))).toEqual([4, 4, 4, 10, 244]);
    expect([1, 2, 3, 50].map((members) => shardCount(5_000, members))).toEqual([1, 1, 1, 1]);
    expect(shardCount(250_000_000, 4)).toBe(954);
  });

  it('of nothing, or for nobody, are refused', () => {
    for (const [length, count] of [[0, 2] as const, [5, 0] as const, [Number.NaN, 2] as const]) {
      expect(() => cutShards(length, count, 1)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    }
  });
});
