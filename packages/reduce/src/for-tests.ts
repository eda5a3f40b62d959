import { createHash } from 'node:crypto';
import type { Vector } from './codec.ts';
import { Draw } from './draw.ts';

/** A draw by a small number. */
export const drawOf = (seed: number) => new Draw(createHash('sha256').update(`${seed}`).digest('hex'));

/** Numbers that look like a gradient: sums of uniform ones, of magnitudes that differ by a thousand along the vector. `[length]`. */
export function gradientLike(draw: Draw, length: number, scale = 1): Vector {
  const uniform = () => draw.word() / 2 ** 31 - 1;
  return Float32Array.from({ length }, (_, i) => scale * 10 ** ((i % 7) - 4) * (uniform() + uniform() + uniform()));
}

export const normOf = (vector: ArrayLike<number>) => Math.sqrt(Array.from(vector).reduce((sum, value) => sum + value * value, 0));
