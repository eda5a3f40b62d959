/**
 * The same model as a tfjs programmer writes it: operations of tfjs with its autodiff and its Adam, nothing else. What our kernels are
 * measured against. Positions are learned instead of rotated, and tokens go in as one-hot rows, since wasm has no gradient of a gather.
 */

import { tf } from '@starling/kernels/reference';
import type { ModelShape } from '@starling/protocol';
import { plainShapes } from './plain-shapes.ts';

const EPSILON = 1e-5;
const MASKED = -1e9;

export class PlainGpt {
  private readonly shape: ModelShape;
  private readonly sequences: number;
  private readonly variables = new Map<string, tf.Variable>();
  private readonly mask: tf.Tensor;
  private readonly adam: tf.Optimizer;

  constructor(shape: ModelShape, sequences: number, learningRate: number) {
    const { context } = shape;
    this.shape = shape;
    this.sequences = sequences;
    for (const [name, sizes] of plainShapes(shape))
      this.variables.set(name, tf.variable(sizes.length === 1 ? tf.ones(sizes) : tf.randomNormal(sizes, 0, 0.02)));
    this.mask = tf.tidy(() => tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([context, context]), -1, 0)), MASKED));
    this.adam = tf.train.adam(learningRate, 0.9, 0.99, 1e-8);
  }

  /** One microbatch and one update; the mean loss before it. Tokens and targets `[B·T]`. */
  async step(tokens: Int32Array, targets: Int32Array): Promise<number> {
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => this.loss(tokens, targets));
      this.adam.applyGradients(grads);
      return value;
    });
    const [mean] = await loss.data();
    loss.dispose();
    return mean!;
  }

  dispose(): void {
    for (const variable of this.variables.values()) variable.dispose();
    this.mask.dispose();
    this.adam.dispose();
  }

  private of(name: string): tf.Tensor2D {
    return this.variables.get(name) as unknown as tf.Tensor2D;
  }

  private loss(tokens: Int32Array, targets: Int32Array): tf.Scalar {
    const { shape, sequences } = this;
    const { width, context, layers, vocabulary } = shape;
    const rows = sequences * context;
    const oneHot = (ids: Int32Array) => tf.cast(tf.oneHot(tf.tensor1d(ids, 'int32'), vocabulary), 'float32') as tf.Tensor2D;
    const embedded = tf.reshape(tf.matMul(oneHot(tokens), this.of('embedding')), [sequences, context, width]);
    let x = tf.reshape(tf.add(embedded, this.of('positions')), [rows, width]) as tf.Tensor2D;
    for (let layer = 0; layer < layers; layer++) {
      const attended = this.attention(layer, this.norm(x, `${layer}.attention`));
      x = tf.add(x, tf.matMul(attended, this.of(`${layer}.output`)));
      const y = this.norm(x, `${layer}.feed`);
      const gate = tf.matMul(y, this.of(`${layer}.gate`));
      const activated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.matMul(y, this.of(`${layer}.up`))) as tf.Tensor2D;
      x = tf.add(x, tf.matMul(activated, this.of(`${layer}.down`)));
    }
    const logits = tf.matMul(this.norm(x, 'norm'), this.of('head'));
    return tf.losses.softmaxCrossEntropy(oneHot(targets), logits) as tf.Scalar;
  }

  private norm(x: tf.Tensor2D, name: string): tf.Tensor2D {
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), EPSILON));
    return tf.mul(tf.mul(x, inverse), this.of(name));
  }

  private attention(layer: number, x: tf.Tensor2D): tf.Tensor2D {
    const { width, context, heads, keyValueHeads } = this.shape;
    const { sequences } = this;
    const headWidth = width / heads;
    const split = (name: string, count: number) =>
      tf.transpose(tf.reshape(tf.matMul(x, this.of(`${layer}.${name}`)), [sequences, context, count, headWidth]), [0, 2, 1, 3]);
    const repeated = (y: tf.Tensor) =>
      heads === keyValueHeads
        ? y
        : tf.reshape(tf.tile(tf.reshape(y, [sequences * keyValueHeads, 1, context * headWidth]), [1, heads / keyValueHeads, 1]), [
            sequences,
            heads,
            context,
            headWidth,
          ]);
    const scores = tf.mul(tf.matMul(split('query', heads), repeated(split('key', keyValueHeads)), false, true), 1 / Math.sqrt(headWidth));
    const weights = tf.softmax(tf.add(scores, this.mask));
    const attended = tf.matMul(weights, repeated(split('value', keyValueHeads)));
    return tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [sequences * context, width]);
  }
}
