/** A binary heap whose items can be looked up, moved and taken out: O(log n) each, O(1) for the first. */
export class Heap<T> {
  private readonly items: { item: T; key: number }[] = [];
  private readonly places = new Map<T, number>();
  private readonly order: (item: T) => number;

  /** `order` breaks ties between equal keys: with it the first item depends on keys and items alone, not on history. */
  constructor(order: (item: T) => number) {
    this.order = order;
  }

  get size(): number {
    return this.items.length;
  }

  has(item: T): boolean {
    return this.places.has(item);
  }

  keyOf(item: T): number | undefined {
    const place = this.places.get(item);
    return place === undefined ? undefined : this.items[place]!.key;
  }

  /** Puts it in, or at its new place. */
  set(item: T, key: number): void {
    const place = this.places.get(item);
    if (place === undefined) {
      this.items.push({ item, key });
      this.places.set(item, this.items.length - 1);
      this.rise(this.items.length - 1);
    } else {
      this.items[place]!.key = key;
      this.sink(this.rise(place));
    }
  }

  delete(item: T): void {
    const place = this.places.get(item);
    if (place === undefined) return;
    this.places.delete(item);
    const last = this.items.pop()!;
    if (place === this.items.length) return;
    this.items[place] = last;
    this.places.set(last.item, place);
    this.sink(this.rise(place));
  }

  /** The item with the smallest key that is not `except`. */
  first(except: T | null = null): T | undefined {
    const { items } = this;
    if (items.length === 0) return undefined;
    if (items[0]!.item !== except) return items[0]!.item;
    // The second smallest is one of the first's two children.
    const second = items.length > 2 && this.before(2, 1) ? 2 : 1;
    return items[second]?.item;
  }

  private before(a: number, b: number): boolean {
    const x = this.items[a]!;
    const y = this.items[b]!;
    return x.key !== y.key ? x.key < y.key : this.order(x.item) < this.order(y.item);
  }

  private swap(a: number, b: number): void {
    const { items, places } = this;
    [items[a], items[b]] = [items[b]!, items[a]!];
    places.set(items[a]!.item, a);
    places.set(items[b]!.item, b);
  }

  private rise(from: number): number {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.before(place, parent)) break;
      this.swap(place, parent);
      place = parent;
    }
    return place;
  }

  private sink(from: number): void {
    let place = from;
    for (;;) {
      const left = 2 * place + 1;
      if (left >= this.items.length) return;
      const child = left + 1 < this.items.length && this.before(left + 1, left) ? left + 1 : left;
      if (!this.before(child, place)) return;
      this.swap(child, place);
      place = child;
    }
  }
}
