/** A model with a narrow residual stream, as the ordinary Llama that computes the same. */
import { type ModelShape, SwarmError } from '@starling/protocol';
import { layoutOf } from './layout.ts';
import { cutStages } from './presets.ts';
import { frozenOf, widened } from './squeeze.ts';

export interface Model {
  shape: ModelShape;
  /** The stages' flat vectors one after the other. */
  parameters: Float32Array;
}

const writesStream = (name: string) => name === 'embedding' || name.endsWith('.attention.output') || name.endsWith('.feedForward.down');

/**
 * In a subspace, W `[in, rank]` becomes W·Uᵀ `[in, width]`, and the embedding E_f + E·Uᵀ; all else stays.
 * Throws `TENSOR_SHAPE` when the parameters are not this model's, `MODEL_NOT_LLAMA` for one that was cut by bottlenecks.
 */
export function plainModel({ shape, parameters }: Model): Model {
  const { squeeze, ...plain } = shape;
  const from = layoutOf(shape, cutStages(shape, 1)[0]!);
  if (squeeze?.kind === 'bottleneck' && parameters.length > from.size) {
    throw new SwarmError('MODEL_NOT_LLAMA', 'A bottleneck at every cut is part of this model.');
  }
  if (parameters.length !== from.size)
    throw new SwarmError('TENSOR_SHAPE', `The model has ${from.size} parameters, not ${parameters.length}.`);
  const frozen = frozenOf(shape);
  if (!frozen) return { shape: plain, parameters };
  const to = layoutOf(plain, cutStages(plain, 1)[0]!);
  const wide = new Float32Array(to.size);
  for (const [i, { name, offset, size }] of from.entries.entries()) {
    const values = parameters.subarray(offset, offset + size);
    wide.set(writesStream(name) ? widened(values, frozen, squeeze!.rank) : values, to.entries[i]!.offset);
    if (name === 'embedding') for (let at = 0; at < frozen.embedding.length; at++) wide[at]! += frozen.embedding[at]!;
  }
  return { shape: plain, parameters: wide };
}
