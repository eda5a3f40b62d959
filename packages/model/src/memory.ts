/** What a stage needs on the device, before it is loaded. */
import { type Precision, placeholder, plannedBytes, variableBytes } from '@starling/kernels';
import { type Backend, boundaryWidth, type ModelShape, type StageSpec } from '@starling/protocol';
import { layoutOf } from './layout.ts';
import { StageGraph } from './stage-graph.ts';

/** Bytes. */
export interface StageMemory {
  parameters: number;
  /** A microbatch's, and the sum. */
  gradients: number;
  /** What a forward keeps for its backward, and what both make on the way. */
  workspace: number;
  total: number;
}

const FLOAT = 4;

/** On WebGPU to the byte, from the plan that its programs follow; elsewhere counted from what they make. */
export function stageMemory(
  shape: ModelShape,
  spec: StageSpec,
  sequences: number,
  backend: Backend,
  precision: Precision = 'f32',
): StageMemory {
  const { entries, size } = layoutOf(shape, spec);
  // Elsewhere what is rounded to halves lies as float32, too.
  const held = backend === 'webgpu' ? precision : 'f32';
  const parameters = entries.reduce((sum, entry) => sum + variableBytes(entry, held), 0);
  const gradients = 2 * FLOAT * size;
  const workspace = backend === 'webgpu' ? planned(shape, spec, sequences, precision) : counted(shape, spec, sequences);
  return { parameters, gradients, workspace, total: parameters + gradients + workspace };
}

function planned(shape: ModelShape, spec: StageSpec, sequences: number, precision: Precision): number {
  const { squeeze, width, vocabulary } = shape;
  const parameters = layoutOf(shape, spec).entries.map((entry) => placeholder(entry.shape));
  const rank = squeeze?.rank ?? 0;
  const graph = new StageGraph(shape, spec, sequences, {
    parameters: () => parameters,
    frozen: squeeze?.kind === 'subspace' ? { basis: placeholder([width, rank]), embedding: placeholder([vocabulary, width]) } : null,
    places: squeeze?.kind === 'bottleneck' && !spec.isFirst ? placeholder([width, rank]) : null,
  });
  return plannedBytes(graph.definitions(), precision);
}

/** All that is made lives until the microbatch is done, but for what products need on the way. */
function counted(shape: ModelShape, spec: StageSpec, sequences: number): number {
  const { width, context, heads, keyValueHeads, hidden } = shape;
  const keys = (width / heads) * keyValueHeads;
  // Of a layer, forward: norms, query, key and value, what was attended, the stream twice, gate, up and SwiGLU; backward: the gradients of
  // all that, and norms and SwiGLU once more.
  const layer = 13 * width + 4 * keys + 6 * hidden + 2 * heads + 4;
  const exit = spec.isLast ? 3 * width : 0; // logits are gone by then
  return FLOAT * sequences * context * (spec.layers * layer + exit + 2 * boundaryWidth(shape));
}
