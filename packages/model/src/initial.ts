/**
 * Initial parameters from a seed, with the same bits in every engine: integer generators and exact arithmetic only,
 * since `Math.log` and `Math.cos` (Box–Muller) may differ in the last place between engines.
 */
import type { ModelShape, StageSpec } from '@starling/protocol';
import { layoutOf, type ParameterEntry } from './layout.ts';
import { normal, splitMix32 } from './random.ts';
import { streamWidth } from './squeeze.ts';

/** GPT-2's and Llama's usual standard deviation. */
const DEVIATION = 0.02;

/** FNV-1a, 32 bits: gives each parameter its own generator, so that a cut changes no value. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * Norm gains are 1; what writes to the residual stream is scaled down by √(2·layers), as in GPT-2, and up by √(width/rank) in a subspace, so that
 * W·Uᵀ has the deviation of a W that is not cut down. A bottleneck begins as what lets the first places through.
 */
function fill(target: Float32Array, { name, shape: dimensions }: ParameterEntry, shape: ModelShape, seed: number): void {
  if (dimensions.length === 1) {
    target.fill(1);
    return;
  }
  const next = splitMix32((hashOf(name) ^ Math.imul(seed, 0x9e3779b1)) >>> 0);
  const writesResidual = name.endsWith('attention.output') || name.endsWith('feedForward.down');
  const narrow = writesResidual || name === 'embedding' ? Math.sqrt(shape.width / streamWidth(shape)) : 1;
  const scale = (writesResidual ? DEVIATION / Math.sqrt(2 * shape.layers) : DEVIATION) * narrow;
  for (let i = 0; i < target.length; i++) target[i] = scale * normal(next);
  if (!name.endsWith('boundary.squeeze')) return;
  const rank = dimensions[1]!;
  for (let i = 0; i < rank; i++) target[i * rank + i]! += 1;
}

/** The stage's flat vector `[n]` at version 0. */
export function initialParameters(shape: ModelShape, stage: StageSpec, seed: number): Float32Array<ArrayBuffer> {
  const layout = layoutOf(shape, stage);
  const parameters = new Float32Array(layout.size);
  for (const entry of layout.entries) fill(parameters.subarray(entry.offset, entry.offset + entry.size), entry, shape, seed);
  return parameters;
}
