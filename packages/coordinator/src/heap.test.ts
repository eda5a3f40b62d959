import { describe, expect, it } from 'vitest';
import { Dice } from './for-tests.ts';
import { Heap } from './heap.ts';

interface Item {
  order: number;
}
const items = (n: number): Item[] => Array.from({ length: n }, (_, order) => ({ order }));
const newHeap = () => new Heap<Item>(({ order }) => order);

/** The same, as slowly as it gets. */
class Sorted {
  private readonly keys = new Map<Item, number>();

  set(item: Item, key: number): void {
    this.keys.set(item, key);
  }

  delete(item: Item): void {
    this.keys.delete(item);
  }

  get all(): Item[] {
    return [...this.keys].sort(([a, x], [b, y]) => x - y || a.order - b.order).map(([item]) => item);
  }

  first(except: Item | null): Item | undefined {
    return this.all.find((item) => item !== except);
  }

  keyOf(item: Item): number | undefined {
    return this.keys.get(item);
  }
}

describe('a heap', () => {
  it('agrees with a sorted array over 20,000 random operations, with many equal keys', () => {
    const dice = new Dice(1);
    const heap = newHeap();
    const sorted = new Sorted();
    const pool = items(40);
    for (let i = 0; i < 20_000; i++) {
      const item = dice.pick(pool)!;
      // Few different keys, so that ties are the rule; now and then all but empty.
      if (dice.chance(i % 4_000 < 500 ? 0.9 : 0.45)) {
        heap.delete(item);
        sorted.delete(item);
      } else {
        const key = dice.chance(0.05) ? Number.POSITIVE_INFINITY : dice.below(12) - 3;
        heap.set(item, key);
        sorted.set(item, key);
      }
      const { all } = sorted;
      const except = dice.chance(0.5) ? (all[0] ?? null) : dice.pick(pool)!;
      expect(heap.size).toBe(all.length);
      expect(heap.first()).toBe(all[0]);
      expect(heap.first(except)).toBe(sorted.first(except));
      expect(heap.has(item)).toBe(all.includes(item));
      expect(heap.keyOf(item)).toBe(sorted.keyOf(item));
    }
  });

  it('gives its items up in the order of their keys, whatever the order they came in', () => {
    const dice = new Dice(2);
    for (let round = 0; round < 50; round++) {
      const heap = newHeap();
      const keys = new Map(items(dice.below(60)).map((item) => [item, dice.below(20)]));
      for (const [item, key] of [...keys].sort(() => dice.next() - 0.5)) heap.set(item, key);
      const given: Item[] = [];
      for (let item = heap.first(); item; item = heap.first()) {
        given.push(item);
        heap.delete(item);
      }
      expect(given).toEqual([...keys].sort(([a, x], [b, y]) => x - y || a.order - b.order).map(([item]) => item));
    }
  });

  it('breaks ties by order, whatever happened before', () => {
    const [a, b, c] = items(3) as [Item, Item, Item];
    const heap = newHeap();
    for (const item of [c, b, a]) heap.set(item, 7);
    expect([heap.first(), heap.first(a)]).toEqual([a, b]);
    heap.set(a, 8);
    heap.set(a, 7);
    expect(heap.first()).toBe(a);
    heap.delete(a);
    heap.set(a, 7);
    expect([heap.first(), heap.first(a), heap.first(c)]).toEqual([a, b, a]);
  });

  it('has nobody to offer when it is empty, or when its only item is the one that is not wanted', () => {
    const [a] = items(1) as [Item];
    const heap = newHeap();
    expect([heap.first(), heap.first(a), heap.size]).toEqual([undefined, undefined, 0]);
    heap.set(a, 1);
    expect([heap.first(), heap.first(a)]).toEqual([a, undefined]);
  });

  it('takes the deletion of an item that is not there', () => {
    const [a, b] = items(2) as [Item, Item];
    const heap = newHeap();
    heap.set(a, 1);
    heap.delete(b);
    expect(heap.first()).toBe(a);
    heap.delete(a);
    heap.delete(a);
    expect(heap.size).toBe(0);
  });
});
