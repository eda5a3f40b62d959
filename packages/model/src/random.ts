/** Seeded integers that every engine makes alike. */

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
