/**
 * What a lease costs, in floating-point operations: the unit in which work is credited. Matrix products and attention only,
 * a multiplication and an addition each; norms, rotations and lookups are left out (Kaplan et al., arXiv:2001.08361, table 1).
 */
import type { LeaseKind, ModelShape, StageSpec } from '@starling/protocol';

/** A backward lease computes its forward again, and then two products for each of its one. */
const BACKWARD = 3;

/** Operations of one lease of this kind on a microbatch of so many sequences. */
export function flopsOf(shape: ModelShape, { layers, isLast }: StageSpec, sequences: number, kind: LeaseKind): number {
  const { width, heads, keyValueHeads, hidden, vocabulary, context } = shape;
  const keyValueWidth = (width / heads) * keyValueHeads;
  const projections = 2 * width * width + 2 * width * keyValueWidth;
  const attention = 2 * context * width;
  const layer = projections + 3 * width * hidden + attention;
  const products = layers * layer + (isLast ? width * vocabulary : 0);
  const forward = 2 * products * sequences * context;
  return kind === 'backward' ? BACKWARD * forward : forward;
}
