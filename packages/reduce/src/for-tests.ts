import type { Vector } from './codec.ts';
import { Draw } from './draw.ts';

/** A draw by a small number, spread over 128 bits (the finaliser of MurmurHash3). */
export const drawOf = (seed: number) => {
  const word = (i: number) => {
    let h = Math.imul(4 * seed + i + 1, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return ((h ^ (h >>> 16)) >>> 0).toString(16).padStart(8, '0');
  };
  return new Draw([0, 1, 2, 3].map(word).join(''));
};

/** Numbers that look like a gradient: sums of uniform ones, of magnitudes that differ by a thousand along the vector. `[length]`. */
export function gradientLike(draw: Draw, length: number, scale = 1): Vector {
  const uniform = () => draw.word() / 2 ** 31 - 1;
  return Float32Array.from({ length }, (_, i) => scale * 10 ** ((i % 7) - 4) * (uniform() + uniform() + uniform()));
}

export const normOf = (vector: ArrayLike<number>) => Math.sqrt(Array.from(vector).reduce((sum, value) => sum + value * value, 0));
