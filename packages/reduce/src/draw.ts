/** Chance that follows from a hash: xoshiro128** (Blackman & Vigna, arXiv:1805.01407), integers only, so alike in all engines. */
export class Draw {
  private readonly state: Uint32Array;

  /** `seed`: a hash in hex, of which the first 128 bits count. They must not all be zero. */
  constructor(seed: string) {
    this.state = Uint32Array.from({ length: 4 }, (_, i) => Number.parseInt(seed.slice(8 * i, 8 * i + 8), 16));
  }

  /** A whole number in [0, 2³²). */
  word(): number {
    const s = this.state;
    const rotate = (x: number, by: number) => (x << by) | (x >>> (32 - by));
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  }

  /** A whole number in [0, `limit`), each equally likely. */
  below(limit: number): number {
    const fair = 2 ** 32 - (2 ** 32 % limit);
    for (;;) {
      const word = this.word();
      if (word < fair) return word % limit;
    }
  }

  chance(probability: number): boolean {
    return this.word() < probability * 2 ** 32;
  }

  /** 0 … `size` − 1 in an order drawn (Fisher–Yates). */
  order(size: number): number[] {
    const items = Array.from({ length: size }, (_, i) => i);
    for (let i = size - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }
}
