/** Where each parameter of a stage lies in the stage's one flat vector. */
import type { ModelShape, StageSpec } from '@starling/protocol';
import { streamWidth } from './squeeze.ts';

export interface ParameterEntry {
  name: string;
  /** Index of the first element in the flat vector. */
  offset: number;
  /** Row-major; a matrix is `[in, out]`, used as `x · W`. */
  shape: readonly number[];
  size: number;
  /** Weight decay applies to matrices, not to norm gains. */
  decay: boolean;
  /** Nothing but an operand of products: matrices, but for the table that rows are taken from. */
  isOperand: boolean;
}

export interface ParameterLayout {
  entries: readonly ParameterEntry[];
  /** Elements of the whole vector. */
  size: number;
}

/** Names of one layer's parameters, in order. Names carry the layer's number in the uncut model. */
function layerParameters(shape: ModelShape, layer: number): [name: string, shape: number[]][] {
  const { width, heads, keyValueHeads, hidden } = shape;
  const stream = streamWidth(shape);
  const keyValueWidth = (width / heads) * keyValueHeads;
  return [
    [`layers.${layer}.attention.norm`, [width]],
    [`layers.${layer}.attention.query`, [width, width]],
    [`layers.${layer}.attention.key`, [width, keyValueWidth]],
    [`layers.${layer}.attention.value`, [width, keyValueWidth]],
    [`layers.${layer}.attention.output`, [width, stream]],
    [`layers.${layer}.feedForward.norm`, [width]],
    [`layers.${layer}.feedForward.gate`, [width, hidden]],
    [`layers.${layer}.feedForward.up`, [width, hidden]],
    [`layers.${layer}.feedForward.down`, [hidden, stream]],
  ];
}

/** Layouts of a cut, one after the other, are the layout of the uncut model, but for what a bottleneck adds at every cut. */
export function layoutOf(shape: ModelShape, { index, firstLayer, layers, isFirst, isLast }: StageSpec): ParameterLayout {
  const parameters: [name: string, shape: number[]][] = [];
  const bottleneck = shape.squeeze?.kind === 'bottleneck' ? shape.squeeze.rank : null;
  if (isFirst) parameters.push(['embedding', [shape.vocabulary, streamWidth(shape)]]);
  else if (bottleneck) parameters.push([`stages.${index}.boundary.expand`, [bottleneck, shape.width]]);
  for (let layer = firstLayer; layer < firstLayer + layers; layer++) parameters.push(...layerParameters(shape, layer));
  if (bottleneck && !isLast) parameters.push([`stages.${index}.boundary.squeeze`, [shape.width, bottleneck]]);
  if (isLast) parameters.push(['norm', [shape.width]], ['head', [shape.width, shape.vocabulary]]);
  let offset = 0;
  const entries = parameters.map(([name, dimensions]): ParameterEntry => {
    const size = dimensions.reduce((n, dimension) => n * dimension, 1);
    const isMatrix = dimensions.length > 1;
    const entry = { name, offset, shape: dimensions, size, decay: isMatrix, isOperand: isMatrix && name !== 'embedding' };
    offset += size;
    return entry;
  });
  return { entries, size: offset };
}
