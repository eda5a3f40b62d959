/** Seeded integers that every engine makes alike. */

/** Sum of twelve uniforms less six: mean 0, variance 1, close to normal (Irwin–Hall). Exact in doubles. */
export function normal(next: () => number): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += next() / 2 ** 32;
  return sum;
}

/** SplitMix32 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014, in 32 bits): each state once per period. */
export function splitMix32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
}
