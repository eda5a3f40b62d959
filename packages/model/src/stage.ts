/**
 * One stage of the model on a device: forward, loss, and the hand-written backward. A Llama-style layer is
 * x ← x + attention(norm(x)), x ← x + feedForward(norm(x)); stage 0 embeds first, the last stage ends with norm and head.
 *
 * Where the residual stream is a subspace's (squeeze.ts), x is made from its numbers before every norm; at a bottleneck, at a stage's ends.
 *
 * A backward starts from the stage's input and recomputes the forward, so between the two only the input is kept.
 * Gradients are of the *sum* of token losses.
 */
import type { AttentionShape, Kernels, Tensor } from '@starling/kernels';
import { boundaryWidth, type ModelShape, type StageSpec, SwarmError } from '@starling/protocol';
import { layoutOf, type ParameterLayout } from './layout.ts';
import { frozenOf } from './squeeze.ts';

/** Gradient of one microbatch: a tensor per parameter, in layout order. */
export type StageGradient = readonly Tensor[];

type Input = Float32Array | Int32Array;
type Named = Map<string, Tensor>;

/** How what leaves a stage is read back from the device, rows `[n,b]`. The tensor is freed afterwards. */
export type Reader<T> = (tensor: Tensor) => Promise<T>;

export interface BackwardResult<T = Float32Array<ArrayBuffer>> {
  /** `[B,T,b]`, b the boundary's width; null on the first stage. */
  inputGradient: T | null;
  /** Sum of token losses in nats; null on all but the last stage. */
  lossSum: number | null;
  gradient: StageGradient;
}

/** The residual stream and what makes x of it. */
interface Stream {
  /** `[n, d]`, or `[n, rank]` in a subspace. */
  values: Tensor;
  /** Rows of the frozen embedding `[n, d]`; null where the stream is x. */
  fixed: Tensor | null;
  /** c·P `[n, d]` where the stream came through a bottleneck. */
  expanded: Tensor | null;
}

interface LayerSaved {
  /** x as the norms saw it. */
  input: Tensor;
  attentionInverse: Tensor;
  attentionInput: Tensor;
  saved: Tensor[];
  attended: Tensor;
  middle: Tensor;
  feedInverse: Tensor;
  feedInput: Tensor;
  gate: Tensor;
  up: Tensor;
  activated: Tensor;
}

export class Stage {
  readonly layout: ParameterLayout;
  private readonly kernels: Kernels;
  private readonly shape: ModelShape;
  private readonly spec: StageSpec;
  private readonly rows: number;
  private readonly attention: AttentionShape;
  private parameters: Named = new Map();
  private sum: Tensor[] | null = null;
  /** In a subspace: U `[d, rank]` and E_f `[V, d]`. */
  private readonly frozen: { basis: Tensor; embedding: Tensor } | null;
  /** At a bottleneck: `[d, rank]`, the first places of a row. */
  private readonly places: Tensor | null;

  /** `sequences` per microbatch; every input has that many sequences of the model's context length. */
  constructor(kernels: Kernels, shape: ModelShape, spec: StageSpec, { sequences }: { sequences: number }) {
    const { width, heads, keyValueHeads, context } = shape;
    this.kernels = kernels;
    this.shape = shape;
    this.spec = spec;
    this.layout = layoutOf(shape, spec);
    this.rows = sequences * context;
    this.attention = { sequences, context, heads, keyValueHeads, headWidth: width / heads };
    const frozen = frozenOf(shape);
    this.frozen = frozen && {
      basis: kernels.upload(frozen.basis, [width, frozen.basis.length / width]),
      embedding: kernels.upload(frozen.embedding, [shape.vocabulary, width]),
    };
    const bottleneck = shape.squeeze?.kind === 'bottleneck' && !spec.isFirst ? shape.squeeze.rank : null;
    this.places = bottleneck === null ? null : kernels.upload(identity(width, bottleneck), [width, bottleneck]);
  }

  /** Puts the flat vector `[n]` on the device in place of the one before. Throws `TENSOR_SHAPE`. */
  load(parameters: Float32Array): void {
    if (parameters.length !== this.layout.size) {
      throw new SwarmError('TENSOR_SHAPE', `Stage ${this.spec.index} has ${this.layout.size} parameters, not ${parameters.length}.`);
    }
    this.kernels.dispose(...this.parameters.values());
    this.parameters = new Map(
      this.layout.entries.map(({ name, offset, size, shape }) => [
        name,
        this.kernels.upload(parameters.slice(offset, offset + size), shape),
      ]),
    );
  }

  /**
   * Tokens `[B·T]` (first stage) or activations `[B,T,b]` → activations `[B,T,b]`, b the boundary's width.
   * `tokens` `[B·T]`: of the microbatch, which later stages need in a subspace. Throws `TENSOR_SHAPE` where they are missing.
   */
  forward(input: Input, tokens?: Int32Array): Promise<Float32Array<ArrayBuffer>> {
    return this.forwardBy((tensor) => this.kernels.download(tensor), input, tokens);
  }

  /** `forward`, read back in another way. */
  async forwardBy<T>(read: Reader<T>, input: Input, tokens?: Int32Array): Promise<T> {
    return this.take(
      this.kernels.scope(() => this.leave(this.layers(this.enter(input, tokens)).output.values)),
      read,
    );
  }

  /** Last stage, forward only: sum of the token losses in nats against `targets [B·T]`. `tokens` as in `forward`. */
  async loss(input: Input, targets: Int32Array, tokens?: Int32Array): Promise<number> {
    const lossSum = this.kernels.scope(() => this.exit(this.wide(this.layers(this.enter(input, tokens)).output), targets).lossSum);
    return (await this.take(lossSum))[0]!;
  }

  /** `upstream` is the gradient of the output `[B,T,b]`, or on the last stage the targets `[B·T]`. `tokens` as in `forward`. */
  backward(input: Input, upstream: Input, tokens?: Int32Array): Promise<BackwardResult> {
    return this.backwardBy((tensor) => this.kernels.download(tensor), input, upstream, tokens);
  }

  /** `backward`, with the input gradient read back in another way. */
  async backwardBy<T>(read: Reader<T>, input: Input, upstream: Input, tokens?: Int32Array): Promise<BackwardResult<T>> {
    const { kernels, spec } = this;
    const result = kernels.scope(() => {
      const entered = this.enter(input, tokens);
      const { output, saved } = this.layers(entered);
      const gradients: Named = new Map();
      let doutput: Tensor;
      let lossSum: Tensor | null = null;
      if (spec.isLast) {
        const x = this.wide(output);
        const exit = this.exit(x, upstream as Int32Array);
        lossSum = exit.lossSum;
        doutput = this.narrow(this.exitBackward(x, exit, gradients));
      } else {
        doutput = this.leaveBackward(output.values, kernels.upload(upstream, [this.rows, boundaryWidth(this.shape)]), gradients);
      }
      for (let layer = spec.firstLayer + spec.layers - 1; layer >= spec.firstLayer; layer--) {
        doutput = this.layerBackward(layer, saved[layer - spec.firstLayer]!, doutput, gradients);
      }
      let inputGradient: Tensor | null = null;
      if (spec.isFirst) {
        const rows = kernels.upload(input, [this.rows]);
        gradients.set('embedding', kernels.embeddingBackward(rows, doutput, this.shape.vocabulary));
      } else {
        inputGradient = this.enterBackward(kernels.upload(input, [this.rows, boundaryWidth(this.shape)]), entered, doutput, gradients);
      }
      return { inputGradient, lossSum, gradient: this.layout.entries.map(({ name }) => gradients.get(name)!) };
    });
    // Both small results are read back together; the gradient stays on the device.
    const [inputGradient, loss] = await Promise.all([
      result.inputGradient && this.take(result.inputGradient, read),
      result.lossSum && this.take(result.lossSum),
    ]);
    return { inputGradient, lossSum: loss ? loss[0]! : null, gradient: result.gradient };
  }

  /** Adds a microbatch's gradient to the sum; the gradient is used up. */
  accumulate(gradient: StageGradient): void {
    const before = this.sum;
    if (!before) {
      this.sum = [...gradient];
      return;
    }
    this.sum = gradient.map((tensor, i) => this.kernels.add(before[i]!, tensor));
    this.kernels.dispose(...before, ...gradient);
  }

  discard(gradient: StageGradient): void {
    this.kernels.dispose(...gradient);
  }

  /** The gradient sum as a flat vector `[n]`, zero if nothing was accumulated; the sum starts anew. */
  async takeGradient(): Promise<Float32Array<ArrayBuffer>> {
    const flat = new Float32Array(this.layout.size);
    const { sum } = this;
    this.sum = null;
    if (!sum) return flat;
    await Promise.all(sum.map(async (tensor, i) => flat.set(await this.take(tensor), this.layout.entries[i]!.offset)));
    return flat;
  }

  /** The sum starts again at zero. */
  resetGradient(): void {
    if (this.sum) this.kernels.dispose(...this.sum);
    this.sum = null;
  }

  dispose(): void {
    this.resetGradient();
    this.kernels.dispose(...this.parameters.values());
    this.parameters = new Map();
    if (this.frozen) this.kernels.dispose(this.frozen.basis, this.frozen.embedding);
    if (this.places) this.kernels.dispose(this.places);
  }

  /** Reads a tensor back and frees it, also when reading fails. */
  private async take(tensor: Tensor): Promise<Float32Array<ArrayBuffer>>;
  private async take<T>(tensor: Tensor, read: Reader<T>): Promise<T>;
  private async take(tensor: Tensor, read: Reader<unknown> = (values) => this.kernels.download(values)): Promise<unknown> {
    try {
      return await read(tensor);
    } finally {
      this.kernels.dispose(tensor);
    }
  }

  private parameter(name: string): Tensor {
    return this.parameters.get(name)!;
  }

  private enter(input: Input, tokens?: Int32Array): Stream {
    const { kernels, rows, spec, frozen, places } = this;
    const known = spec.isFirst ? (input as Int32Array) : tokens;
    if (frozen && !known) throw new SwarmError('TENSOR_SHAPE', `Stage ${spec.index} of a model in a subspace needs the tokens.`);
    const fixed = frozen && kernels.embedding(kernels.upload(known!, [rows]), frozen.embedding);
    if (spec.isFirst) {
      return { values: kernels.embedding(kernels.upload(input, [rows]), this.parameter('embedding')), fixed, expanded: null };
    }
    const crossed = kernels.upload(input, [rows, boundaryWidth(this.shape)]);
    if (!places) return { values: crossed, fixed, expanded: null };
    const expanded = kernels.matmul(crossed, this.boundary('expand'));
    return { values: kernels.add(kernels.relu(expanded), kernels.matmul(crossed, places, false, true)), fixed, expanded };
  }

  /** From the gradient of the stream to that of what crossed. */
  private enterBackward(crossed: Tensor, { expanded }: Stream, dvalues: Tensor, gradients: Named): Tensor {
    const { kernels, places } = this;
    if (!places) return dvalues;
    const passed = kernels.reluBackward(expanded!, dvalues);
    gradients.set(this.boundaryName('expand'), kernels.matmul(crossed, passed, true, false));
    return kernels.add(kernels.matmul(passed, this.boundary('expand'), false, true), kernels.matmul(dvalues, places));
  }

  /** What crosses to the next stage. */
  private leave(values: Tensor): Tensor {
    return this.shape.squeeze?.kind === 'bottleneck' ? this.kernels.matmul(values, this.boundary('squeeze')) : values;
  }

  private leaveBackward(values: Tensor, dcrossed: Tensor, gradients: Named): Tensor {
    if (this.shape.squeeze?.kind !== 'bottleneck') return dcrossed;
    gradients.set(this.boundaryName('squeeze'), this.kernels.matmul(values, dcrossed, true, false));
    return this.kernels.matmul(dcrossed, this.boundary('squeeze'), false, true);
  }

  private boundaryName(part: 'squeeze' | 'expand'): string {
    return `stages.${this.spec.index}.boundary.${part}`;
  }

  private boundary(part: 'squeeze' | 'expand'): Tensor {
    return this.parameter(this.boundaryName(part));
  }

  /** x `[n,d]` */
  private wide({ values, fixed }: Stream): Tensor {
    return fixed && this.frozen ? this.kernels.add(fixed, this.kernels.matmul(values, this.frozen.basis, false, true)) : values;
  }

  /** The gradient of the stream from that of x. */
  private narrow(dx: Tensor): Tensor {
    return this.frozen ? this.kernels.matmul(dx, this.frozen.basis) : dx;
  }

  private layers(input: Stream): { output: Stream; saved: LayerSaved[] } {
    const saved: LayerSaved[] = [];
    let stream = input;
    for (let layer = this.spec.firstLayer; layer < this.spec.firstLayer + this.spec.layers; layer++) {
      const { output, kept } = this.layer(layer, stream);
      saved.push(kept);
      stream = output;
    }
    return { output: stream, saved };
  }

  private layer(layer: number, stream: Stream): { output: Stream; kept: LayerSaved } {
    const { kernels } = this;
    const p = (name: string) => this.parameter(`layers.${layer}.${name}`);
    const input = this.wide(stream);
    const { y: attentionInput, inverse: attentionInverse } = kernels.rmsNorm(input, p('attention.norm'));
    const { output: attended, saved } = kernels.attention(
      kernels.matmul(attentionInput, p('attention.query')),
      kernels.matmul(attentionInput, p('attention.key')),
      kernels.matmul(attentionInput, p('attention.value')),
      this.attention,
    );
    const between = { ...stream, values: kernels.add(stream.values, kernels.matmul(attended, p('attention.output'))) };
    const middle = this.wide(between);
    const { y: feedInput, inverse: feedInverse } = kernels.rmsNorm(middle, p('feedForward.norm'));
    const gate = kernels.matmul(feedInput, p('feedForward.gate'));
    const up = kernels.matmul(feedInput, p('feedForward.up'));
    const activated = kernels.swiglu(gate, up);
    const output = { ...stream, values: kernels.add(between.values, kernels.matmul(activated, p('feedForward.down'))) };
    return {
      output,
      kept: { input, attentionInverse, attentionInput, saved, attended, middle, feedInverse, feedInput, gate, up, activated },
    };
  }

  /** Gradient of the stream before the layer; the layer's parameter gradients go into `gradients`. */
  private layerBackward(layer: number, kept: LayerSaved, doutput: Tensor, gradients: Named): Tensor {
    const { kernels } = this;
    const p = (name: string) => this.parameter(`layers.${layer}.${name}`);
    /** y = x·W: notes dW = xᵀ·dy and gives dx = dy·Wᵀ. */
    const linear = (name: string, x: Tensor, dy: Tensor) => {
      gradients.set(`layers.${layer}.${name}`, kernels.matmul(x, dy, true, false));
      return kernels.matmul(dy, p(name), false, true);
    };
    const norm = (name: string, x: Tensor, inverse: Tensor, dy: Tensor) => {
      const { dx, dgain } = kernels.rmsNormBackward(x, p(name), inverse, dy);
      gradients.set(`layers.${layer}.${name}`, dgain);
      return dx;
    };
    const { dgate, dup } = kernels.swigluBackward(kept.gate, kept.up, linear('feedForward.down', kept.activated, doutput));
    const dfeed = kernels.add(linear('feedForward.gate', kept.feedInput, dgate), linear('feedForward.up', kept.feedInput, dup));
    const dmiddle = kernels.add(doutput, this.narrow(norm('feedForward.norm', kept.middle, kept.feedInverse, dfeed)));
    const { dquery, dkey, dvalue } = kernels.attentionBackward(
      kept.saved,
      linear('attention.output', kept.attended, dmiddle),
      this.attention,
    );
    const dnormed = [
      linear('attention.query', kept.attentionInput, dquery),
      linear('attention.key', kept.attentionInput, dkey),
      linear('attention.value', kept.attentionInput, dvalue),
    ].reduce((a, b) => kernels.add(a, b));
    return kernels.add(dmiddle, this.narrow(norm('attention.norm', kept.input, kept.attentionInverse, dnormed)));
  }

  private exit(x: Tensor, targets: Int32Array) {
    const { kernels } = this;
    const { y, inverse } = kernels.rmsNorm(x, this.parameter('norm'));
    const logits = kernels.matmul(y, this.parameter('head'));
    return { y, inverse, ...kernels.crossEntropy(logits, kernels.upload(targets, [this.rows])) };
  }

  private exitBackward(x: Tensor, { y, inverse, dlogits }: ReturnType<Stage['exit']>, gradients: Named): Tensor {
    const { kernels } = this;
    gradients.set('head', kernels.matmul(y, dlogits, true, false));
    const dy = kernels.matmul(dlogits, this.parameter('head'), false, true);
    const { dx, dgain } = kernels.rmsNormBackward(x, this.parameter('norm'), inverse, dy);
    gradients.set('norm', dgain);
    return dx;
  }
}

/** `[rows, columns]` with ones on its diagonal. */
function identity(rows: number, columns: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(rows * columns);
  for (let i = 0; i < columns; i++) matrix[i * columns + i] = 1;
  return matrix;
}
