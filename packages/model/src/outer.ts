/**
 * The outer step of inner steps: miners of a stage train on their own for H steps, and what is merged is not a gradient but how far they came.
 * Plain IEEE-754 double arithmetic, rounded to float32 on store, in a fixed order, as in optimizer.ts: every replica gets the same bits.
 */

import type { InnerNumbers, OptimizerNumbers, Update } from '@starling/protocol';
import type { ParameterLayout } from './layout.ts';
import { applyAdamW, learningRateAt, type OptimizerConfig } from './optimizer.ts';

type Vector = Float32Array<ArrayBuffer>;

/** For the inner steps that make `version`, of `steps` each: the learning rate is that of the middle one. */
export function innerNumbersOf(config: OptimizerConfig, version: number, steps: number): InnerNumbers {
  const { beta1, beta2, epsilon, weightDecay, clipNorm } = config;
  const learningRate = learningRateAt(config, (version - 1) * steps + Math.ceil(steps / 2));
  return { learningRate, beta1, beta2, epsilon, weightDecay, clipNorm };
}

/** A miner's inner step number `taken` (1, 2, …), with a gradient of this norm over so many tokens. */
export function innerNumbers({ clipNorm, ...numbers }: InnerNumbers, taken: number, norm: number, tokens: number): OptimizerNumbers {
  return {
    ...numbers,
    biasCorrection1: 1 - numbers.beta1 ** taken,
    biasCorrection2: 1 - numbers.beta2 ** taken,
    gradientScale: (norm > clipNorm ? clipNorm / norm : 1) / tokens,
  };
}

export interface OuterConfig {
  learningRate: number;
  /** Of Nesterov's method; 0 is the plain step, which needs no momentum vector. */
  momentum: number;
}

/** DiLoCo's, arXiv:2311.08105. */
export const DILOCO: OuterConfig = { learningRate: 0.7, momentum: 0.9 };
/** SparseLoCo's, arXiv:2508.15706: error feedback takes the place of the momentum. */
export const SPARSE_LOCO: OuterConfig = { learningRate: 1, momentum: 0 };

export interface UpdatedVectors {
  parameters: Vector;
  /** AdamW's, or the outer step's momentum. */
  firstMoment: Vector;
  secondMoment: Vector;
}

/** What every replica does with a merged vector `[n]`, in place. */
export function applyUpdate(vectors: UpdatedVectors, merged: Vector, update: Update, layout: ParameterLayout): void {
  if (update.kind === 'none') return;
  if (update.kind === 'adamw') applyAdamW(vectors, merged, update, layout);
  else applyOuter(vectors.parameters, update.momentum > 0 ? vectors.firstMoment : null, merged, update);
}

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
