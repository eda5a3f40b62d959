/**
 * The outer step of inner steps: miners of a stage train on their own for H steps, and what is merged is not a gradient but how far they came.
 * Plain IEEE-754 double arithmetic, rounded to float32 on store, in a fixed order, as in optimizer.ts: every replica gets the same bits.
 */

type Vector = Float32Array<ArrayBuffer>;

export interface OuterConfig {
  learningRate: number;
  /** Of Nesterov's method; 0 is the plain step, which needs no momentum vector. */
  momentum: number;
}

/** DiLoCo's, arXiv:2311.08105. */
export const DILOCO: OuterConfig = { learningRate: 0.7, momentum: 0.9 };
/** SparseLoCo's, arXiv:2508.15706: error feedback takes the place of the momentum. */
export const SPARSE_LOCO: OuterConfig = { learningRate: 1, momentum: 0 };

/**
 * In place on vectors `[n]`, with the change Δ `[n]` = mean over the miners of (parameters at the start − parameters after H steps):
 * b ← μ·b + Δ, p ← p − η·(Δ + μ·b). `parameters` are those at the start. `momentum` b may be null where μ = 0.
 */
export function applyOuter(parameters: Vector, momentum: Vector | null, change: Float32Array, config: OuterConfig): void {
  const { learningRate, momentum: decay } = config;
  for (let i = 0; i < parameters.length; i++) {
    let direction = change[i]!;
    if (momentum) {
      const kept = Math.fround(decay * momentum[i]! + direction);
      momentum[i] = kept;
      direction += decay * kept;
    }
    parameters[i] = parameters[i]! - learningRate * direction;
  }
}
