/** Where each parameter of a stage lies in the stage's one flat vector. */
import type { ModelShape, StageSpec } from '@starling/protocol';

export interface ParameterEntry {
  name: string;
  /** Index of the first element in the flat vector. */
  offset: number;
  /** Row-major; a matrix is `[in, out]`, used as `x · W`. */
  shape: readonly number[];
  size: number;
  /** Weight decay applies to matrices, not to norm gains. */
  decay: boolean;
}

export interface ParameterLayout {
  entries: readonly ParameterEntry[];
  /** Elements of the whole vector. */
  size: number;
}

/** Names of one layer's parameters, in order. Names carry the layer's number in the uncut model. */
function layerParameters({ width, heads, keyValueHeads, hidden }: ModelShape, layer: number): [name: string, shape: number[]][] {
  const keyValueWidth = (width / heads) * keyValueHeads;
  return [
    [`layers.${layer}.attention.norm`, [width]],
    [`layers.${layer}.attention.query`, [width, width]],
    [`layers.${layer}.attention.key`, [width, keyValueWidth]],
    [`layers.${layer}.attention.value`, [width, keyValueWidth]],
    [`layers.${layer}.attention.output`, [width, width]],
    [`layers.${layer}.feedForward.norm`, [width]],
    [`layers.${layer}.feedForward.gate`, [width, hidden]],
    [`layers.${layer}.feedForward.up`, [width, hidden]],
    [`layers.${layer}.feedForward.down`, [hidden, width]],
  ];
}

/** Layouts of a cut, one after the other, are the layout of the uncut model. */
export function layoutOf(shape: ModelShape, { firstLayer, layers, isFirst, isLast }: StageSpec): ParameterLayout {
  const parameters: [name: string, shape: number[]][] = [];
  if (isFirst) parameters.push(['embedding', [shape.vocabulary, shape.width]]);
  for (let layer = firstLayer; layer < firstLayer + layers; layer++) parameters.push(...layerParameters(shape, layer));
  if (isLast) parameters.push(['norm', [shape.width]], ['head', [shape.width, shape.vocabulary]]);
  let offset = 0;
  const entries = parameters.map(([name, dimensions]): ParameterEntry => {
    const size = dimensions.reduce((n, dimension) => n * dimension, 1);
    const entry = { name, offset, shape: dimensions, size, decay: dimensions.length > 1 };
    offset += size;
    return entry;
  });
  return { entries, size: offset };
}
