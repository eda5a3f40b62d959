/**
 * One stage of the model on a device: forward, loss, and the hand-written backward. A Llama-style layer is
 * x ← x + attention(norm(x)), x ← x + feedForward(norm(x)); stage 0 embeds first, the last stage ends with norm and head.
 *
 * A backward starts from the stage's input and recomputes the forward, so between the two only the input is kept.
 * Gradients are of the *sum* of token losses.
 */
import type { AttentionShape, Kernels, Tensor } from '@starling/kernels';
import { type ModelShape, type StageSpec, SwarmError } from '@starling/protocol';
import { layoutOf, type ParameterLayout } from './layout.ts';

/** Gradient of one microbatch: a tensor per parameter, in layout order. */
export type StageGradient = readonly Tensor[];

type Input = Float32Array | Int32Array;
type Named = Map<string, Tensor>;

export interface BackwardResult {
  /** `[B,T,d]`; null on the first stage. */
  inputGradient: Float32Array<ArrayBuffer> | null;
  /** Sum of token losses in nats; null on all but the last stage. */
  lossSum: number | null;
  gradient: StageGradient;
}

interface LayerSaved {
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

  /** `sequences` per microbatch; every input has that many sequences of the model's context length. */
  constructor(kernels: Kernels, shape: ModelShape, spec: StageSpec, { sequences }: { sequences: number }) {
    const { width, heads, keyValueHeads, context } = shape;
    this.kernels = kernels;
    this.shape = shape;
    this.spec = spec;
    this.layout = layoutOf(shape, spec);
    this.rows = sequences * context;
    this.attention = { sequences, context, heads, keyValueHeads, headWidth: width / heads };
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

  /** Tokens `[B·T]` (first stage) or activations `[B,T,d]` → activations `[B,T,d]`. */
  async forward(input: Input): Promise<Float32Array<ArrayBuffer>> {
    const output = this.kernels.scope(() => this.layers(this.enter(input)).output);
    return this.take(output);
  }

  /** Last stage, forward only: sum of the token losses in nats against `targets [B·T]`. */
  async loss(input: Input, targets: Int32Array): Promise<number> {
    const lossSum = this.kernels.scope(() => this.exit(this.layers(this.enter(input)).output, targets).lossSum);
    return (await this.take(lossSum))[0]!;
  }

  /** `upstream` is the gradient of the output `[B,T,d]`, or on the last stage the targets `[B·T]`. */
  async backward(input: Input, upstream: Input): Promise<BackwardResult> {
    const { kernels, spec } = this;
    const result = kernels.scope(() => {
      const entered = this.enter(input);
      const { output, saved } = this.layers(entered);
      const gradients: Named = new Map();
      let doutput: Tensor;
      let lossSum: Tensor | null = null;
      if (spec.isLast) {
        const exit = this.exit(output, upstream as Int32Array);
        lossSum = exit.lossSum;
        doutput = this.exitBackward(output, exit, gradients);
      } else {
        doutput = kernels.upload(upstream, [this.rows, this.shape.width]);
      }
      for (let layer = spec.firstLayer + spec.layers - 1; layer >= spec.firstLayer; layer--) {
        doutput = this.layerBackward(layer, saved[layer - spec.firstLayer]!, doutput, gradients);
      }
      let inputGradient: Tensor | null = doutput;
      if (spec.isFirst) {
        const tokens = kernels.upload(input, [this.rows]);
        gradients.set('embedding', kernels.embeddingBackward(tokens, doutput, this.shape.vocabulary));
        inputGradient = null;
      }
      return { inputGradient, lossSum, gradient: this.layout.entries.map(({ name }) => gradients.get(name)!) };
    });
    // Both small results are read back together; the gradient stays on the device.
    const [inputGradient, loss] = await Promise.all([
      result.inputGradient && this.take(result.inputGradient),
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
  }

  /** Reads a tensor back and frees it, also when reading fails. */
  private async take(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    try {
      return await this.kernels.download(tensor);
    } finally {
      this.kernels.dispose(tensor);
    }
  }

  private parameter(name: string): Tensor {
    return this.parameters.get(name)!;
  }

  /** → `[n,d]` */
  private enter(input: Input): Tensor {
    const { kernels, rows } = this;
    if (!this.spec.isFirst) return kernels.upload(input, [rows, this.shape.width]);
    return kernels.embedding(kernels.upload(input, [rows]), this.parameter('embedding'));
  }

  private layers(input: Tensor): { output: Tensor; saved: LayerSaved[] } {
    const saved: LayerSaved[] = [];
    let x = input;
    for (let layer = this.spec.firstLayer; layer < this.spec.firstLayer + this.spec.layers; layer++) {
      const { output, kept } = this.layer(layer, x);
      saved.push(kept);
      x = output;
    }
    return { output: x, saved };
  }

  private layer(layer: number, input: Tensor): { output: Tensor; kept: LayerSaved } {
    const { kernels } = this;
    const p = (name: string) => this.parameter(`layers.${layer}.${name}`);
    const { y: attentionInput, inverse: attentionInverse } = kernels.rmsNorm(input, p('attention.norm'));
    const { output: attended, saved } = kernels.attention(
      kernels.matmul(attentionInput, p('attention.query')),
      kernels.matmul(attentionInput, p('attention.key')),
      kernels.matmul(attentionInput, p('attention.value')),
      this.attention,
    );
    const middle = kernels.add(input, kernels.matmul(attended, p('attention.output')));
    const { y: feedInput, inverse: feedInverse } = kernels.rmsNorm(middle, p('feedForward.norm'));
    const gate = kernels.matmul(feedInput, p('feedForward.gate'));
    const up = kernels.matmul(feedInput, p('feedForward.up'));
    const activated = kernels.swiglu(gate, up);
    const output = kernels.add(middle, kernels.matmul(activated, p('feedForward.down')));
    return {
      output,
      kept: { input, attentionInverse, attentionInput, saved, attended, middle, feedInverse, feedInput, gate, up, activated },
    };
  }

  /** Gradient of the layer's input; the layer's parameter gradients go into `gradients`. */
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
    const dmiddle = kernels.add(doutput, norm('feedForward.norm', kept.middle, kept.feedInverse, dfeed));
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
    return kernels.add(dmiddle, norm('attention.norm', kept.input, kept.attentionInverse, dnormed));
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
