/**
 * What a stage computes: forward, loss, and the hand-written backward. A Llama-style layer is
 * x ← x + attention(norm(x)), x ← x + feedForward(norm(x)); stage 0 embeds first, the last stage ends with norm and head.
 *
 * Where the residual stream is a subspace's (squeeze.ts), x is made from its numbers before every norm; at a bottleneck, at a stage's ends.
 *
 * A backward starts from the stage's input and recomputes the forward, so between the two only the input is kept.
 * Gradients are of the *sum* of token losses.
 */
import type { AttentionShape, Definition, Operations, Tensor } from '@starling/kernels';
import { boundaryWidth, type ModelShape, type StageSpec } from '@starling/protocol';
import { layoutOf, type ParameterLayout } from './layout.ts';

type Named = Map<string, Tensor>;

/** The residual stream and what makes x of it. */
interface Stream {
  /** `[n, d]`, or `[n, rank]` in a subspace. */
  values: Tensor;
  /** Rows of the frozen embedding `[n, d]`; null where the stream is x. */
  fixed: Tensor | null;
  /** c·P `[n, d]` where the stream came through a bottleneck. */
  expanded: Tensor | null;
}

/** What a backward needs of its forward. What is quick to compute again is not among it. */
interface LayerSaved {
  /** x as the norms saw it. */
  input: Tensor;
  saved: Tensor[];
  attended: Tensor;
  middle: Tensor;
  gate: Tensor;
  up: Tensor;
}

/** What a program is given: the operations, which it writes down or computes, and its inputs. */
interface Given {
  kernels: Operations;
  inputs: Record<string, Tensor>;
}

/** What is on the device from one run to the next. */
export interface StageConstants {
  /** In layout order; asked for in every run. */
  parameters(): readonly Tensor[];
  /** In a subspace: U `[d, rank]` and E_f `[V, d]`. */
  frozen: { basis: Tensor; embedding: Tensor } | null;
  /** At a bottleneck: `[d, rank]`, the first places of a row. */
  places: Tensor | null;
}

export class StageGraph {
  readonly layout: ParameterLayout;
  private readonly shape: ModelShape;
  private readonly spec: StageSpec;
  private readonly rows: number;
  private readonly attention: AttentionShape;
  private readonly constants: StageConstants;

  constructor(shape: ModelShape, spec: StageSpec, sequences: number, constants: StageConstants) {
    const { width, heads, keyValueHeads, context } = shape;
    this.layout = layoutOf(shape, spec);
    this.shape = shape;
    this.spec = spec;
    this.rows = sequences * context;
    this.attention = { sequences, context, heads, keyValueHeads, headWidth: width / heads };
    this.constants = constants;
  }

  /** `forward`, or `loss` on the last stage, and `backward`. */
  definitions(): Record<string, Definition> {
    const { spec, shape, rows } = this;
    const ids = { shape: [rows], dtype: 'int32' } as const;
    const crossing = { shape: [rows, boundaryWidth(shape)], dtype: 'float32' } as const;
    const entering: Definition['inputs'] = spec.isFirst
      ? { tokens: ids }
      : this.constants.frozen
        ? { crossed: crossing, tokens: ids }
        : { crossed: crossing };
    const leaving: Definition['inputs'] = spec.isLast ? { targets: ids } : { upstream: crossing };
    const sorted: Definition['inputs'] = spec.isFirst ? { order: ids, starts: { shape: [shape.vocabulary + 1], dtype: 'int32' } } : {};
    const backward: Definition = {
      inputs: { ...entering, ...leaving, ...sorted },
      body: (kernels, inputs) => this.backwardBody({ kernels, inputs }),
    };
    const forward: Definition = {
      inputs: spec.isLast ? { ...entering, ...leaving } : entering,
      body: (kernels, inputs) => this.forwardBody({ kernels, inputs }),
    };
    return { [spec.isLast ? 'loss' : 'forward']: forward, backward };
  }

  private forwardBody(given: Given): { results: Record<string, Tensor> } {
    const { kernels, inputs } = given;
    let stream = this.enter(given);
    for (let layer = this.spec.firstLayer; layer < this.spec.firstLayer + this.spec.layers; layer++)
      stream = this.layer(given, layer, stream, null);
    if (!this.spec.isLast) return { results: { output: this.leave(given, stream.values) } };
    const { y } = kernels.rmsNorm(this.wide(given, stream), this.parameter('norm'));
    return { results: { lossSum: kernels.headLoss(y, this.parameter('head'), inputs.targets!) } };
  }

  private backwardBody(given: Given): { results: Record<string, Tensor>; kept: Tensor[] } {
    const { spec } = this;
    const { kernels, inputs } = given;
    const entered = this.enter(given);
    const saved: LayerSaved[] = [];
    let stream = entered;
    for (let layer = spec.firstLayer; layer < spec.firstLayer + spec.layers; layer++) stream = this.layer(given, layer, stream, saved);
    const gradients: Named = new Map();
    const results: Record<string, Tensor> = {};
    let doutput: Tensor;
    if (spec.isLast) {
      const exit = this.exitBackward(given, this.wide(given, stream), gradients);
      results.lossSum = exit.lossSum;
      doutput = this.narrow(given, exit.dx);
    } else doutput = this.leaveBackward(given, stream.values, inputs.upstream!, gradients);
    for (let layer = spec.firstLayer + spec.layers - 1; layer >= spec.firstLayer; layer--) {
      doutput = this.layerBackward(given, layer, saved.pop()!, doutput, gradients);
    }
    if (spec.isFirst) {
      const rows = { tokens: inputs.tokens!, order: inputs.order!, starts: inputs.starts! };
      gradients.set('embedding', kernels.embeddingBackward(rows, doutput, this.shape.vocabulary));
    } else results.inputGradient = this.enterBackward(given, entered, doutput, gradients);
    return { results, kept: this.layout.entries.map(({ name }) => gradients.get(name)!) };
  }

  private parameter(name: string): Tensor {
    return this.constants.parameters()[this.layout.entries.findIndex((entry) => entry.name === name)]!;
  }

  private enter({ kernels, inputs }: Given): Stream {
    const { spec } = this;
    const { frozen, places } = this.constants;
    const fixed = frozen && kernels.embedding(inputs.tokens!, frozen.embedding);
    if (spec.isFirst) return { values: kernels.embedding(inputs.tokens!, this.parameter('embedding')), fixed, expanded: null };
    const crossed = inputs.crossed!;
    if (!places) return { values: crossed, fixed, expanded: null };
    const expanded = kernels.matmul(crossed, this.boundary('expand'));
    return { values: kernels.matmul(crossed, places, false, true, kernels.relu(expanded)), fixed, expanded };
  }

  /** From the gradient of the stream to that of what crossed. */
  private enterBackward({ kernels, inputs }: Given, { expanded }: Stream, dvalues: Tensor, gradients: Named): Tensor {
    const { places } = this.constants;
    if (!places) return dvalues;
    const passed = kernels.reluBackward(expanded!, dvalues);
    gradients.set(this.boundaryName('expand'), kernels.matmul(inputs.crossed!, passed, true, false));
    return kernels.matmul(passed, this.boundary('expand'), false, true, kernels.matmul(dvalues, places));
  }

  /** What crosses to the next stage. */
  private leave({ kernels }: Given, values: Tensor): Tensor {
    return this.shape.squeeze?.kind === 'bottleneck' ? kernels.matmul(values, this.boundary('squeeze')) : values;
  }

  private leaveBackward({ kernels }: Given, values: Tensor, dcrossed: Tensor, gradients: Named): Tensor {
    if (this.shape.squeeze?.kind !== 'bottleneck') return dcrossed;
    gradients.set(this.boundaryName('squeeze'), kernels.matmul(values, dcrossed, true, false));
    return kernels.matmul(dcrossed, this.boundary('squeeze'), false, true);
  }

  private boundaryName(part: 'squeeze' | 'expand'): string {
    return `stages.${this.spec.index}.boundary.${part}`;
  }

  private boundary(part: 'squeeze' | 'expand'): Tensor {
    return this.parameter(this.boundaryName(part));
  }

  /** x `[n,d]` */
  private wide({ kernels }: Given, { values, fixed }: Stream): Tensor {
    return fixed && this.constants.frozen ? kernels.matmul(values, this.constants.frozen.basis, false, true, fixed) : values;
  }

  /** The gradient of the stream from that of x. */
  private narrow({ kernels }: Given, dx: Tensor): Tensor {
    return this.constants.frozen ? kernels.matmul(dx, this.constants.frozen.basis) : dx;
  }

  /** The stream after the layer. `saved`: gets what the layer's backward needs, where one follows. */
  private layer(given: Given, layer: number, stream: Stream, saved: LayerSaved[] | null): Stream {
    const { kernels } = given;
    const p = (name: string) => this.parameter(`layers.${layer}.${name}`);
    const input = this.wide(given, stream);
    const { y: normed } = kernels.rmsNorm(input, p('attention.norm'));
    const [query, key, value] = kernels.matmuls(normed, [p('attention.query'), p('attention.key'), p('attention.value')]) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const { output: attended, saved: kept } = kernels.attention(query, key, value, this.attention);
    const between = { ...stream, values: kernels.matmul(attended, p('attention.output'), false, false, stream.values) };
    const middle = this.wide(given, between);
    const { y: fed } = kernels.rmsNorm(middle, p('feedForward.norm'));
    let activated: Tensor;
    if (saved) {
      const gated = kernels.gatedMatmul(fed, p('feedForward.gate'), p('feedForward.up'));
      activated = gated.activated;
      saved.push({ input, saved: kept, attended, middle, gate: gated.gate, up: gated.up });
    } else activated = kernels.gatedMatmulOnly(fed, p('feedForward.gate'), p('feedForward.up'));
    return { ...stream, values: kernels.matmul(activated, p('feedForward.down'), false, false, between.values) };
  }

  /** Gradient of the stream before the layer; the layer's parameter gradients go into `gradients`. */
  private layerBackward(given: Given, layer: number, kept: LayerSaved, doutput: Tensor, gradients: Named): Tensor {
    const { kernels } = given;
    const p = (name: string) => this.parameter(`layers.${layer}.${name}`);
    const note = (name: string, gradient: Tensor) => gradients.set(`layers.${layer}.${name}`, gradient);
    /** Of y = x·W for each: dW = xᵀ·dy. */
    const noteAll = (names: readonly string[], x: Tensor, dys: readonly Tensor[]) => {
      for (const [i, gradient] of kernels.matmuls(x, dys, true).entries()) note(names[i]!, gradient);
    };
    /** Back through a norm, whose output was `dy`'s, and on to the stream, whose gradient beside it is `beside`. */
    const norm = (name: string, x: Tensor, inverse: Tensor, dy: Tensor, beside: Tensor): Tensor => {
      const { dx, dgain } = kernels.rmsNormBackward(x, p(name), inverse, dy, this.constants.frozen ? undefined : beside);
      note(name, dgain);
      return this.constants.frozen ? kernels.matmul(dx, this.constants.frozen.basis, false, false, beside) : dx;
    };

    const { gate, up } = kept;
    note('feedForward.down', kernels.matmul(kernels.swiglu(gate, up), doutput, true, false));
    const { dgate, dup } = kernels.gatedMatmulBackward(gate, up, doutput, p('feedForward.down'));
    const { y: fed, inverse: feedInverse } = kernels.rmsNorm(kept.middle, p('feedForward.norm'));
    noteAll(['feedForward.gate', 'feedForward.up'], fed, [dgate, dup]);
    const dfed = kernels.sumOfMatmuls([
      [dgate, p('feedForward.gate')],
      [dup, p('feedForward.up')],
    ]);
    const dmiddle = norm('feedForward.norm', kept.middle, feedInverse, dfed, doutput);

    note('attention.output', kernels.matmul(kept.attended, dmiddle, true, false));
    const dattended = kernels.matmul(dmiddle, p('attention.output'), false, true);
    const { dquery, dkey, dvalue } = kernels.attentionBackward(kept.saved, dattended, this.attention);
    const { y: normed, inverse } = kernels.rmsNorm(kept.input, p('attention.norm'));
    noteAll(['attention.query', 'attention.key', 'attention.value'], normed, [dquery, dkey, dvalue]);
    const dnormed = kernels.sumOfMatmuls([
      [dquery, p('attention.query')],
      [dkey, p('attention.key')],
      [dvalue, p('attention.value')],
    ]);
    return norm('attention.norm', kept.input, inverse, dnormed, dmiddle);
  }

  private exitBackward({ kernels, inputs }: Given, x: Tensor, gradients: Named): { lossSum: Tensor; dx: Tensor } {
    const { y, inverse } = kernels.rmsNorm(x, this.parameter('norm'));
    const { lossSum, dy, dhead } = kernels.headLossBackward(y, this.parameter('head'), inputs.targets!);
    gradients.set('head', dhead);
    const { dx, dgain } = kernels.rmsNormBackward(x, this.parameter('norm'), inverse, dy);
    gradients.set('norm', dgain);
    return { lossSum, dx };
  }
}
