/**
 * The update that every replica makes alike: sums, norms and AdamW in plain IEEE-754 double arithmetic (+ − × ÷ √ only),
 * rounded to float32 on store, in a fixed order. So all engines get the same bits. What needs `pow` or `cos` is computed
 * once by the orchestrator and served as numbers.
 */
import type { OptimizerNumbers } from '@starling/protocol';
import type { ParameterLayout } from './layout.ts';

type Vector = Float32Array<ArrayBuffer>;

export interface OptimizerConfig {
  peakLearningRate: number;
  minimumLearningRate: number;
  /** Steps of linear warm-up. */
  warmupSteps: number;
  /** Step at which the cosine reaches the minimum. */
  decaySteps: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** Largest norm of a stage's mean gradient; `Infinity` switches clipping off. */
  clipNorm: number;
}

/** Linear warm-up, then a cosine to the minimum (Loshchilov & Hutter, arXiv:1608.03983), then constant. `step` counts from 1. */
export function learningRateAt(config: OptimizerConfig, step: number): number {
  const { peakLearningRate: peak, minimumLearningRate: minimum, warmupSteps, decaySteps } = config;
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  if (step >= decaySteps) return minimum;
  const progress = (step - warmupSteps) / (decaySteps - warmupSteps);
  return minimum + 0.5 * (1 + Math.cos(Math.PI * progress)) * (peak - minimum);
}

/**
 * The numbers for the update to `version` (1, 2, …), given the norm of the mean gradient and the tokens in the sum.
 * The clip is by the norm of *one stage's* gradient: stages step independently, and a norm over all of them would be a
 * barrier.
 */
export function optimizerNumbers(config: OptimizerConfig, version: number, gradientNorm: number, tokens: number): OptimizerNumbers {
  const { beta1, beta2, epsilon, weightDecay, clipNorm } = config;
  const clip = gradientNorm > clipNorm ? clipNorm / gradientNorm : 1;
  return {
    learningRate: learningRateAt(config, version),
    beta1,
    beta2,
    epsilon,
    weightDecay,
    biasCorrection1: 1 - beta1 ** version,
    biasCorrection2: 1 - beta2 ** version,
    gradientScale: clip / tokens,
  };
}

/** Element by element over vectors `[n]` in the order given, in doubles, rounded once. */
export function sumGradients(gradients: readonly Vector[]): Vector {
  const sum = new Float32Array(gradients[0]!.length);
  for (let i = 0; i < sum.length; i++) {
    let total = 0;
    for (const gradient of gradients) total += gradient[i]!;
    sum[i] = total;
  }
  return sum;
}

/** Euclidean norm of the mean gradient `sum / tokens`, added up in index order. */
export function normOf(sum: Float32Array, tokens: number): number {
  let squares = 0;
  for (let i = 0; i < sum.length; i++) squares += sum[i]! * sum[i]!;
  return Math.sqrt(squares) / tokens;
}

/**
 * AdamW (arXiv:1711.05101, algorithm 2) in place, on vectors `[n]`:
 * m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − η·(m/c₁ / (√(v/c₂) + ε) + λp), g = gradientSum · gradientScale.
 */
export function applyAdamW(
  { parameters, firstMoment, secondMoment }: { parameters: Vector; firstMoment: Vector; secondMoment: Vector },
  gradientSum: Vector,
  numbers: OptimizerNumbers,
  layout: ParameterLayout,
): void {
  const { learningRate, beta1, beta2, epsilon, biasCorrection1, biasCorrection2, gradientScale } = numbers;
  for (const { offset, size, decay } of layout.entries) {
    const weightDecay = decay ? numbers.weightDecay : 0;
    for (let i = offset; i < offset + size; i++) {
      const gradient = gradientSum[i]! * gradientScale;
      const first = beta1 * firstMoment[i]! + (1 - beta1) * gradient;
      const second = beta2 * secondMoment[i]! + (1 - beta2) * (gradient * gradient);
      firstMoment[i] = first;
      secondMoment[i] = second;
      const direction = first / biasCorrection1 / (Math.sqrt(second / biasCorrection2) + epsilon);
      parameters[i] = parameters[i]! - learningRate * (direction + weightDecay * parameters[i]!);
    }
  }
}
