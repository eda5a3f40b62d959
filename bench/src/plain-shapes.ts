/** The parameters of the models that ours are measured against, with positions learned: matrices, and gains that begin as ones. */
import type { ModelShape } from '@starling/protocol';

/** By name, in order: `[rows, columns]`, or of a gain `[width]`. */
export function plainShapes({ width, heads, keyValueHeads, hidden, vocabulary, context, layers }: ModelShape): [string, number[]][] {
  const keys = (width / heads) * keyValueHeads;
  return [
    ['embedding', [vocabulary, width]],
    ['positions', [context, width]],
    ...Array.from({ length: layers }, (_, layer): [string, number[]][] => [
      [`${layer}.attention`, [width]],
      [`${layer}.query`, [width, width]],
      [`${layer}.key`, [width, keys]],
      [`${layer}.value`, [width, keys]],
      [`${layer}.output`, [width, width]],
      [`${layer}.feed`, [width]],
      [`${layer}.gate`, [width, hidden]],
      [`${layer}.up`, [width, hidden]],
      [`${layer}.down`, [hidden, width]],
    ]).flat(),
    ['norm', [width]],
    ['head', [width, vocabulary]],
  ];
}
