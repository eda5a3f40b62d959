/** One stage of the model on a device: its parameters, its programs, and the sum of its gradients. */
import {
  type Kept,
  type Kernels,
  type PackedFormat,
  type Programs,
  type StepTime,
  sortTokens,
  type Tensor,
  type Variables,
} from '@starling/kernels';
import { type ModelShape, type StageSpec, SwarmError } from '@starling/protocol';
import { layoutOf, type ParameterLayout } from './layout.ts';
import { frozenOf } from './squeeze.ts';
import { StageGraph } from './stage-graph.ts';

/** Gradient of one microbatch, on the device. */
export type StageGradient = Kept;

type Input = Float32Array | Int32Array;
type Vector = Float32Array<ArrayBuffer>;

/** What crosses to a neighbour, `[B,T,b]`, b the boundary's width: packed where that was asked for and the device does it, else numbers. */
export type Crossed = Vector | Uint8Array<ArrayBuffer>;

export interface BackwardResult<T = Vector> {
  /** Null on the first stage. */
  inputGradient: T | null;
  /** Sum of token losses in nats; null on all but the last stage. */
  lossSum: number | null;
  gradient: StageGradient;
}

export class Stage {
  readonly layout: ParameterLayout;
  private readonly kernels: Kernels;
  private readonly shape: ModelShape;
  private readonly spec: StageSpec;
  private readonly variables: Variables;
  private readonly programs: Programs;
  private sum: Kept | null = null;
  /** In a subspace: U `[d, rank]` and E_f `[V, d]`. */
  private readonly frozen: { basis: Tensor; embedding: Tensor } | null;
  /** At a bottleneck: `[d, rank]`, the first places of a row. */
  private readonly places: Tensor | null;

  /** `sequences` per microbatch; every input has that many sequences of the model's context length. */
  constructor(kernels: Kernels, shape: ModelShape, spec: StageSpec, { sequences }: { sequences: number }) {
    this.kernels = kernels;
    this.shape = shape;
    this.spec = spec;
    this.layout = layoutOf(shape, spec);
    const frozen = frozenOf(shape);
    this.frozen = frozen && {
      basis: kernels.upload(frozen.basis, [shape.width, frozen.basis.length / shape.width]),
      embedding: kernels.upload(frozen.embedding, [shape.vocabulary, shape.width]),
    };
    const bottleneck = shape.squeeze?.kind === 'bottleneck' && !spec.isFirst ? shape.squeeze.rank : null;
    this.places = bottleneck === null ? null : kernels.upload(identity(shape.width, bottleneck), [shape.width, bottleneck]);
    this.variables = kernels.variables(this.layout.entries);
    const { variables, frozen: fixed, places } = this;
    const graph = new StageGraph(shape, spec, sequences, { parameters: () => variables.tensors, frozen: fixed, places });
    this.programs = kernels.programs(graph.definitions());
  }

  /** Puts the flat vector `[n]` on the device in place of the one before. Throws `TENSOR_SHAPE`. */
  load(parameters: Float32Array): void {
    if (parameters.length !== this.layout.size) {
      throw new SwarmError('TENSOR_SHAPE', `Stage ${this.spec.index} has ${this.layout.size} parameters, not ${parameters.length}.`);
    }
    this.variables.write(parameters);
  }

  /** Bytes that its programs need besides parameters and gradients, and the most of them needed at one moment; 0 where that is not known. */
  get workspace(): { bytes: number; needed: number } {
    return this.programs.workspace;
  }

  /** How long the parts of a program, `forward`, `loss` or `backward`, take; null where nothing is recorded. */
  async profile(program: string): Promise<StepTime[] | null> {
    return (await this.programs.profile?.(program)) ?? null;
  }

  /** Makes all that runs need. They do it by themselves, too. */
  prepare(onProgress?: (done: number, of: number) => void): Promise<void> {
    return this.programs.prepare(onProgress);
  }

  /**
   * Tokens `[B·T]` (first stage) or activations `[B,T,b]` → activations `[B,T,b]`, b the boundary's width.
   * `tokens` `[B·T]`: of the microbatch, which later stages need in a subspace. Throws `TENSOR_SHAPE` where they are missing.
   */
  async forward(input: Input, tokens?: Int32Array): Promise<Vector> {
    return (await this.forwardAs(null, input, tokens)) as Vector;
  }

  /** `forward`, packed in this format where the device does that. */
  async forwardAs(format: PackedFormat | null, input: Input, tokens?: Int32Array): Promise<Crossed> {
    const { results } = await this.programs.run('forward', this.inputs(input, tokens), { output: format });
    return results.output!;
  }

  /** Last stage, forward only: sum of the token losses in nats against `targets [B·T]`. `tokens` as in `forward`. */
  async loss(input: Input, targets: Int32Array, tokens?: Int32Array): Promise<number> {
    this.mustBeTokens(targets);
    const { results } = await this.programs.run('loss', { ...this.inputs(input, tokens), targets });
    return results.lossSum![0]!;
  }

  /** `upstream` is the gradient of the output `[B,T,b]`, or on the last stage the targets `[B·T]`. `tokens` as in `forward`. */
  async backward(input: Input, upstream: Input, tokens?: Int32Array): Promise<BackwardResult> {
    return (await this.backwardAs(null, input, upstream, tokens)) as BackwardResult;
  }

  /** `backward`, with the input gradient packed in this format where the device does that. */
  async backwardAs(format: PackedFormat | null, input: Input, upstream: Input, tokens?: Int32Array): Promise<BackwardResult<Crossed>> {
    const { spec } = this;
    if (spec.isLast) this.mustBeTokens(upstream);
    const inputs: Record<string, Input> = { ...this.inputs(input, tokens), [spec.isLast ? 'targets' : 'upstream']: upstream };
    if (spec.isFirst) Object.assign(inputs, sortTokens(input as Int32Array, this.shape.vocabulary));
    const { results, kept } = await this.programs.run('backward', inputs, spec.isFirst ? {} : { inputGradient: format });
    return { inputGradient: results.inputGradient ?? null, lossSum: results.lossSum?.[0] ?? null, gradient: kept! };
  }

  /** Adds a microbatch's gradient to the sum; the gradient is used up. */
  accumulate(gradient: StageGradient): void {
    if (this.sum) this.programs.accumulate(this.sum, gradient);
    else this.sum = gradient;
  }

  discard(gradient: StageGradient): void {
    this.programs.release(gradient);
  }

  /** The gradient sum as a flat vector `[n]`, zero if nothing was accumulated; the sum starts anew. */
  async takeGradient(): Promise<Vector> {
    const { sum } = this;
    this.sum = null;
    return sum ? this.programs.read(sum) : new Float32Array(this.layout.size);
  }

  /** The sum starts again at zero. */
  resetGradient(): void {
    if (this.sum) this.programs.release(this.sum);
    this.sum = null;
  }

  dispose(): void {
    this.resetGradient();
    this.programs.dispose();
    this.variables.dispose();
    if (this.frozen) this.kernels.dispose(this.frozen.basis, this.frozen.embedding);
    if (this.places) this.kernels.dispose(this.places);
  }

  /** A device reads beside its tables without a word. */
  private mustBeTokens(ids: Input): void {
    const { vocabulary } = this.shape;
    for (const id of ids)
      if (!(id >= 0 && id < vocabulary)) throw new SwarmError('TENSOR_SHAPE', `There is no token ${id} among ${vocabulary}.`);
  }

  /** What crossed and, where the stage needs them, the tokens, by the names that programs know them by. */
  private inputs(input: Input, tokens?: Int32Array): Record<string, Input> {
    for (const ids of [this.spec.isFirst ? input : null, tokens]) if (ids) this.mustBeTokens(ids);
    if (this.spec.isFirst) return { tokens: input };
    if (!this.frozen) return { crossed: input };
    if (!tokens) throw new SwarmError('TENSOR_SHAPE', `Stage ${this.spec.index} of a model in a subspace needs the tokens.`);
    return { crossed: input, tokens };
  }
}

/** `[rows, columns]` with ones on its diagonal. */
function identity(rows: number, columns: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(rows * columns);
  for (let i = 0; i < columns; i++) matrix[i * columns + i] = 1;
  return matrix;
}
