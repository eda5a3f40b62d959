/**
 * The limits an honest replay stays under, as `npm run calibrate` measured them. One limit for all backends: which one a
 * miner used is only its own word, and a liar would name the loosest.
 */
import { type AuditQuantity, type Distance, type Precision, precisionOf, type RunConfig } from '@starling/protocol';

export type Limits = Record<AuditQuantity, Distance>;

/** How a gradient may be written and still be compared: what is held back by the others no validator knows. */
export const GRADIENT_CODECS = ['f32', 'bf16', 'int8'] as const;
export type AuditedGradient = (typeof GRADIENT_CODECS)[number];

/** One row of what was measured: honest distances of one quantity between two backends. */
export interface Measured extends Distance {
  /** Of the run; or `gradient CODEC`: of a gradient sum as that writes it. */
  boundary: RunConfig['boundary'] | `gradient ${AuditedGradient}`;
  precision: Precision;
  quantity: AuditQuantity;
  /** Claimed by the first, computed again by the second. */
  pair: string;
  comparisons: number;
}

/** Of runs in one precision. */
export interface PrecisionLimits {
  limits: Record<RunConfig['boundary'], Limits>;
  /** Of gradient sums, by how they are handed in. */
  gradients: Record<AuditedGradient, Distance>;
}

/** packages/audit/src/thresholds.json. */
export interface Thresholds {
  /** ISO date. */
  measured: string;
  procedure: string;
  environment: Record<string, string | number>;
  /** The distances in `pairs` are this percentile; the limits are the largest over all pairs times `margin`, of cosines times its square. */
  percentile: number;
  margin: number;
  precisions: Record<Precision, PrecisionLimits>;
  pairs: Measured[];
  /** Of single kernels, on random numbers of a stage's sizes: relative L2. */
  kernels: { kernel: string; pair: string; comparisons: number; relativeL2: number }[];
}

/** For a run whose tensors and gradients are written so. A gradient that cannot be compared has no limit, and is not compared. */
export function limitsFor(
  { precisions }: Pick<Thresholds, 'precisions'>,
  run: Pick<RunConfig, 'boundary' | 'precision' | 'gradient'>,
): Limits {
  const { boundary, gradient } = run;
  const { limits, gradients } = precisions[precisionOf(run)];
  return { ...limits[boundary], gradient: isComparable(gradient) ? gradients[gradient] : limits[boundary].gradient };
}

export const isComparable = (gradient: RunConfig['gradient']): gradient is AuditedGradient =>
  GRADIENT_CODECS.some((codec) => codec === gradient);
