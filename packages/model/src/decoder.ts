/**
 * The uncut model, one token at a time, in plain JavaScript with a cache of keys and values: to read what a run has learned,
 * on any machine and beside a miner that has the GPU. For training there is `Stage`.
 */
import { NORM_EPSILON, ROTARY_BASE } from '@starling/kernels/constants';
import type { ModelShape } from '@starling/protocol';
import { layoutOf } from './layout.ts';
import { type Model, plainModel } from './plain.ts';
import { cutStages } from './presets.ts';

interface Layer {
  attentionNorm: Float32Array;
  query: Float32Array;
  key: Float32Array;
  value: Float32Array;
  output: Float32Array;
  feedNorm: Float32Array;
  gate: Float32Array;
  up: Float32Array;
  down: Float32Array;
  /** Rotated keys and values `[context, keyValueHeads · headWidth]` of the positions so far. */
  keys: Float32Array;
  values: Float32Array;
}

export class Decoder {
  readonly shape: ModelShape;
  private readonly embedding: Float32Array;
  private readonly norm: Float32Array;
  private readonly head: Float32Array;
  private readonly layers: Layer[];
  /** cos and sin `[context, headWidth / 2]`. */
  private readonly cos: Float64Array;
  private readonly sin: Float64Array;
  /** What the model sees: never more than its context. */
  private window: number[] = [];
  /** Positions that are in the caches. */
  private cached = 0;

  /** Throws as `plainModel`. */
  constructor(model: Model) {
    const { shape, parameters } = plainModel(model);
    const { entries } = layoutOf(shape, cutStages(shape, 1)[0]!);
    const named = new Map(entries.map(({ name, offset, size: length }) => [name, parameters.subarray(offset, offset + length)]));
    const of = (name: string) => named.get(name)!;
    const headWidth = shape.width / shape.heads;
    const cache = () => new Float32Array(shape.context * headWidth * shape.keyValueHeads);
    this.shape = shape;
    this.embedding = of('embedding');
    this.norm = of('norm');
    this.head = of('head');
    this.layers = Array.from({ length: shape.layers }, (_, layer) => ({
      attentionNorm: of(`layers.${layer}.attention.norm`),
      query: of(`layers.${layer}.attention.query`),
      key: of(`layers.${layer}.attention.key`),
      value: of(`layers.${layer}.attention.value`),
      output: of(`layers.${layer}.attention.output`),
      feedNorm: of(`layers.${layer}.feedForward.norm`),
      gate: of(`layers.${layer}.feedForward.gate`),
      up: of(`layers.${layer}.feedForward.up`),
      down: of(`layers.${layer}.feedForward.down`),
      keys: cache(),
      values: cache(),
    }));
    const half = headWidth / 2;
    const angle = (i: number) => Math.floor(i / half) * ROTARY_BASE ** (-(i % half) / half);
    this.cos = Float64Array.from({ length: shape.context * half }, (_, i) => Math.cos(angle(i)));
    this.sin = Float64Array.from({ length: shape.context * half }, (_, i) => Math.sin(angle(i)));
  }

  /** Forgets the text so far. */
  reset(): void {
    this.window = [];
    this.cached = 0;
  }

  /**
   * Appends a token and returns the logits `[vocabulary]` of what follows. When the context is full its older half is
   * forgotten and the rest read again from position 0: the model was never trained on anything longer.
   */
  next(token: number): Float64Array {
    if (this.window.length === this.shape.context) {
      this.window = this.window.slice(Math.ceil(this.shape.context / 2));
      this.cached = 0;
    }
    this.window.push(token);
    let state = this.read(this.window[this.cached]!);
    while (this.cached < this.window.length) state = this.read(this.window[this.cached]!);
    return product(normed(state, this.norm), this.head, this.shape.vocabulary);
  }

  /** Runs one token through all layers at the next position; returns the residual stream `[width]`. */
  private read(token: number): Float64Array {
    const { width, hidden } = this.shape;
    const position = this.cached;
    this.cached += 1;
    const x = Float64Array.from(this.embedding.subarray(token * width, (token + 1) * width));
    for (const layer of this.layers) {
      add(x, product(this.attend(layer, normed(x, layer.attentionNorm), position), layer.output, width));
      const entered = normed(x, layer.feedNorm);
      const gate = product(entered, layer.gate, hidden);
      const up = product(entered, layer.up, hidden);
      for (let i = 0; i < hidden; i++) gate[i] = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
      add(x, product(gate, layer.down, width));
    }
    return x;
  }

  /** Causal attention of one position over those cached, heads side by side `[width]`. */
  private attend(layer: Layer, x: Float64Array, position: number): Float64Array {
    const { width, heads, keyValueHeads } = this.shape;
    const headWidth = width / heads;
    const stride = headWidth * keyValueHeads;
    const query = product(x, layer.query, width);
    const key = product(x, layer.key, stride);
    this.rotate(query, position, headWidth);
    this.rotate(key, position, headWidth);
    layer.keys.set(key, position * stride);
    layer.values.set(product(x, layer.value, stride), position * stride);
    const output = new Float64Array(width);
    const scores = new Float64Array(position + 1);
    for (let head = 0; head < heads; head++) {
      const own = head * headWidth;
      const shared = Math.floor((head * keyValueHeads) / heads) * headWidth;
      let largest = -Infinity;
      for (let at = 0; at <= position; at++) {
        let score = 0;
        const start = at * stride + shared;
        for (let i = 0; i < headWidth; i++) score += query[own + i]! * layer.keys[start + i]!;
        scores[at] = score / Math.sqrt(headWidth);
        largest = Math.max(largest, scores[at]!);
      }
      let total = 0;
      for (let at = 0; at <= position; at++) {
        scores[at] = Math.exp(scores[at]! - largest);
        total += scores[at]!;
      }
      for (let at = 0; at <= position; at++) {
        const share = scores[at]! / total;
        const start = at * stride + shared;
        for (let i = 0; i < headWidth; i++) output[own + i] = output[own + i]! + share * layer.values[start + i]!;
      }
    }
    return output;
  }

  /** Rotary positions (arXiv:2104.09864), in place: halves of every head against each other, as Hugging Face's Llama has them. */
  private rotate(heads: Float64Array, position: number, headWidth: number): void {
    const half = headWidth / 2;
    for (let start = 0; start < heads.length; start += headWidth) {
      for (let i = 0; i < half; i++) {
        const cos = this.cos[position * half + i]!;
        const sin = this.sin[position * half + i]!;
        const first = heads[start + i]!;
        const second = heads[start + half + i]!;
        heads[start + i] = first * cos - second * sin;
        heads[start + half + i] = second * cos + first * sin;
      }
    }
  }
}

/** x `[m]` · W `[m,n]` → `[n]`: rows as they lie in memory, four at a time, so that `y` is read and written a quarter as often. */
function product(x: Float64Array, weights: Float32Array, columns: number): Float64Array {
  const y = new Float64Array(columns);
  let row = 0;
  for (; row + 4 <= x.length; row += 4) {
    const [a, b, c, d] = [x[row]!, x[row + 1]!, x[row + 2]!, x[row + 3]!];
    const first = row * columns;
    const second = first + columns;
    const third = second + columns;
    const fourth = third + columns;
    for (let i = 0; i < columns; i++) {
      y[i] = y[i]! + (a * weights[first + i]! + b * weights[second + i]! + c * weights[third + i]! + d * weights[fourth + i]!);
    }
  }
  for (; row < x.length; row++) {
    for (let i = 0; i < columns; i++) y[i] = y[i]! + x[row]! * weights[row * columns + i]!;
  }
  return y;
}

/** x / √(mean(x²) + ε) · gain (arXiv:1910.07467). */
function normed(x: Float64Array, gain: Float32Array): Float64Array {
  let squares = 0;
  for (const value of x) squares += value * value;
  const inverse = 1 / Math.sqrt(squares / x.length + NORM_EPSILON);
  return x.map((value, i) => value * inverse * gain[i]!);
}

function add(x: Float64Array, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i] = x[i]! + y[i]!;
}
