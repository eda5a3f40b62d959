/**
 * What a lease costs, in floating-point operations: the unit in which work is credited. Matrix products and attention only,
 * a multiplication and an addition each; norms, rotations and lookups are left out (Kaplan et al., arXiv:2001.08361, table 1).
 */
import type { LeaseKind, ModelShape, StageSpec } from '@starling/protocol';
import { streamWidth } from './squeeze.ts';

/** A backward lease computes its forward again, and then two products for each of its one. */
const BACKWARD = 3;

/** Operations of one lease of this kind on a microbatch of so many sequences. */
export function flopsOf(shape: ModelShape, { layers, isFirst, isLast }: StageSpec, sequences: number, kind: LeaseKind): number {
  const { width, heads, keyValueHeads, hidden, vocabulary, context } = shape;
  const keyValueWidth = (width / heads) * keyValueHeads;
  const stream = streamWidth(shape);
  const projections = width * width + 2 * width * keyValueWidth + width * stream;
  const attention = 2 * context * width;
  // In a subspace the stream is widened before every norm.
  const widenings = stream < width ? 2 * width * stream : 0;
  const layer = projections + 2 * width * hidden + hidden * stream + attention + widenings;
  const bottleneck = shape.squeeze?.kind === 'bottleneck' ? shape.squeeze.rank : 0;
  const cuts = Number(!isFirst) + Number(!isLast);
  const exit = isLast ? width * vocabulary + widenings / 2 : 0;
  const products = layers * layer + exit + cuts * bottleneck * width;
  const forward = 2 * products * sequences * context;
  return kind === 'backward' ? BACKWARD * forward : forward;
}
