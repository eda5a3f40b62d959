/**
 * The limits an honest replay stays under, as `npm run calibrate` measured them. One limit for all backends: which one a
 * miner used is only its own word, and a liar would name the loosest.
 */
import type { AuditQuantity, Distance, RunConfig } from '@starling/protocol';

export type Limits = Record<AuditQuantity, Distance>;

/** One row of what was measured: honest distances of one quantity between two backends. */
export interface Measured extends Distance {
  boundary: RunConfig['boundary'];
  quantity: AuditQuantity;
  /** Claimed by the first, computed again by the second. */
  pair: string;
  comparisons: number;
}

/** packages/audit/src/thresholds.json. */
export interface Thresholds {
  /** ISO date. */
  measured: string;
  procedure: string;
  environment: Record<string, string | number>;
  /** The distances in `pairs` are this percentile; the limits are the largest over all pairs times `margin`. */
  percentile: number;
  margin: number;
  limits: Record<RunConfig['boundary'], Limits>;
  pairs: Measured[];
  /** Of single kernels, on random numbers of a stage's sizes: relative L2. */
  kernels: { kernel: string; pair: string; comparisons: number; relativeL2: number }[];
}
