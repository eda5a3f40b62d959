/** What a stage needs on the device, before it is loaded: counted from the shapes that `Stage` keeps. */
import { boundaryWidth, type ModelShape, type StageSpec } from '@starling/protocol';
import { layoutOf } from './layout.ts';

/** Bytes. */
export interface StageMemory {
  parameters: number;
  /** A microbatch's, and the sum. */
  gradients: number;
  /** What a forward keeps for its backward. */
  stash: number;
  /** What its backward makes on the way. */
  workspace: number;
  total: number;
}

const FLOAT = 4;

export function stageMemory(shape: ModelShape, spec: StageSpec, sequences: number): StageMemory {
  const { width, context, heads, keyValueHeads, hidden, vocabulary } = shape;
  const rows = sequences * context;
  const keys = (width / heads) * keyValueHeads;
  const parameters = FLOAT * layoutOf(shape, spec).size;
  const gradients = 2 * parameters;
  // Of a layer: the stream, its norm, 1/√(…), query, key and value as they are and rotated, log-sum-exp, what was attended, its product;
  // and the same of the feed-forward.
  const layer = 9 * width + 4 * keys + heads + 3 * hidden + 2;
  const exit = spec.isLast ? 2 * vocabulary + width + 1 : 0;
  const stash = FLOAT * rows * (spec.layers * layer + exit + boundaryWidth(shape));
  // Gradients of all of that and sums of them, which live until the microbatch is done.
  const workspace = FLOAT * rows * (spec.layers * (24 * width + 4 * keys + 3 * hidden) + (spec.isLast ? 2 * width : 0));
  return { parameters, gradients, stash, workspace, total: parameters + gradients + stash + workspace };
}
