/**
 * The kernels on tfjs operations: the same code on its webgpu, wasm and cpu backends. Gradients are written out by hand;
 * nothing here uses the tape.
 */
import { type Backend, SwarmError } from '@starling/protocol';
import * as tf from '@tensorflow/tfjs-core';
import { EagerPrograms, EagerVariables } from './eager.ts';
import {
  type AttentionShape,
  type Definition,
  type Kernels,
  LARGEST_HALF,
  NORM_EPSILON,
  type PackedFormat,
  type Precision,
  type Programs,
  type Tensor,
  type TokenRows,
  type VariableKind,
  type Variables,
} from './kernels.ts';
import { causalMask, quarterTurn, rotaryTables } from './tables.ts';

const t = (tensor: Tensor) => tensor as tf.Tensor;
const t2 = (tensor: Tensor) => tensor as tf.Tensor2D;
const rows = (x: tf.Tensor) => x.shape[0]!;

/** Throws `TENSOR_SHAPE`. */
export function assertFills({ length }: ArrayLike<number>, shape: readonly number[]): void {
  if (shape.reduce((n, size) => n * size, 1) !== length)
    throw new SwarmError('TENSOR_SHAPE', `${length} elements do not fill the shape [${shape}].`);
}

interface AttentionTables {
  queryCos: tf.Tensor2D;
  querySin: tf.Tensor2D;
  keyCos: tf.Tensor2D;
  keySin: tf.Tensor2D;
  turn: tf.Tensor2D;
  mask: tf.Tensor2D;
}

export class TfjsKernels implements Kernels {
  readonly backend: Backend;
  readonly precision: Precision;
  readonly adapter: string;
  readonly software: boolean;
  readonly lost: Promise<SwarmError>;
  private readonly tables = new Map<string, AttentionTables>();
  private readonly release: () => void;
  /** With the other precision. */
  private other: TfjsKernels | null = null;

  constructor(backend: Backend, adapter: string, precision: Precision, lost: Promise<SwarmError>, release: () => void) {
    this.backend = backend;
    this.precision = precision;
    this.adapter = adapter;
    this.software = backend !== 'webgpu';
    this.lost = lost;
    this.release = release;
  }

  async withPrecision(precision: Precision): Promise<Kernels> {
    if (precision === this.precision) return this;
    this.other ??= this.made(precision);
    return this.other;
  }

  protected made(precision: Precision): TfjsKernels {
    return new TfjsKernels(this.backend, this.adapter, precision, this.lost, () => {});
  }

  upload(data: Float32Array | Int32Array, shape: readonly number[]): Tensor {
    assertFills(data, shape);
    // A copy: the cpu backend goes on using the memory it is given, and webgpu reads it at the first use only.
    return tf.tensor(data.slice(), [...shape], data instanceof Float32Array ? 'float32' : 'int32');
  }

  async download(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    // A copy: on cpu tfjs hands out the memory it goes on using.
    return new Float32Array(await t(tensor).data());
  }

  pack(_rows: Tensor, _format: PackedFormat): Promise<Uint8Array<ArrayBuffer>> | null {
    return null;
  }

  dispose(...tensors: Tensor[]): void {
    for (const tensor of tensors) t(tensor).dispose();
  }

  scope<T>(work: () => T): T {
    return tf.tidy(work as () => tf.TensorContainer) as T;
  }

  memory() {
    const { numTensors, numBytes } = tf.memory();
    return { tensors: numTensors, bytes: numBytes };
  }

  close(): void {
    for (const table of this.tables.values()) tf.dispose({ ...table });
    this.tables.clear();
    this.other?.close();
    this.release();
  }

  variables(kinds: readonly VariableKind[]): Variables {
    return new EagerVariables(
      this,
      kinds.map(({ shape }) => shape),
    );
  }

  programs(definitions: Readonly<Record<string, Definition>>): Programs {
    return new EagerPrograms(this, definitions);
  }

  matmul(a: Tensor, b: Tensor, transposeA = false, transposeB = false, addend?: Tensor): Tensor {
    return this.scope(() => {
      const product = this.product(this.operand(t2(a)), this.operand(t2(b)), transposeA, transposeB);
      return addend ? this.add(product, addend) : product;
    });
  }

  matmuls(a: Tensor, bs: readonly Tensor[], transposeA = false): Tensor[] {
    return this.scope(() => {
      const left = this.operand(t2(a));
      const turned = transposeA && this.backend !== 'webgpu' ? this.transposed(left) : null;
      return bs.map((b) => {
        const right = this.operand(t2(b));
        return turned ? tf.matMul(turned, right) : this.product(left, right, transposeA);
      });
    });
  }

  sumOfMatmuls(pairs: readonly (readonly [a: Tensor, b: Tensor])[]): Tensor {
    return this.scope(() => pairs.map(([a, b]) => this.matmul(a, b, false, true)).reduce((x, y) => this.add(x, y)));
  }

  add(a: Tensor, b: Tensor): Tensor {
    return tf.add(t(a), t(b));
  }

  rmsNorm(x: Tensor, gain: Tensor): ReturnType<Kernels['rmsNorm']> {
    const inverse = tf.rsqrt(tf.add(rowMean(tf.square(t2(x))), NORM_EPSILON));
    return { y: tf.mul(tf.mul(t(x), inverse), t(gain)), inverse };
  }

  rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor, addend?: Tensor): ReturnType<Kernels['rmsNormBackward']> {
    const normalised = tf.mul(t2(x), t(inverse)) as tf.Tensor2D;
    const dnormalised = tf.mul(t2(dy), t(gain)) as tf.Tensor2D;
    const along = rowMean(tf.mul(normalised, dnormalised));
    const dx = tf.mul(tf.sub(dnormalised, tf.mul(normalised, along)), t(inverse));
    return { dx: addend ? tf.add(dx, t(addend)) : dx, dgain: columnSum(tf.mul(t2(dy), normalised)) };
  }

  attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape): ReturnType<Kernels['attention']> {
    const tables = this.tablesOf(shape);
    const q = this.scaled(this.operand(rotate(toHeads(t(query), shape, true), tables.queryCos, tables.querySin, tables.turn)), shape);
    const k = this.operand(rotate(toHeads(t(key), shape, false), tables.keyCos, tables.keySin, tables.turn));
    const v = this.operand(toHeads(t(value), shape, false));
    const probabilities = tf.softmax(tf.add(this.product(q, k, false, true), tables.mask)) as tf.Tensor3D;
    const output = this.product(probabilities, v);
    // In float32 the backward makes Σ gradient·output of the probabilities; here it is of the output as its readers round it.
    const saved = [q, k, v, probabilities, ...(this.precision === 'f16' ? [this.operand(output)] : [])];
    return { output: fromHeads(output, shape, true), saved };
  }

  attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape): ReturnType<Kernels['attentionBackward']> {
    const [q, k, v, probabilities, output] = saved as unknown as tf.Tensor3D[] & { length: 5 };
    const tables = this.tablesOf(shape);
    const d = this.operand(toHeads(t(doutput), shape, true));
    const dprobabilities = this.product(d, v!, false, true);
    const along = tf.sum(output ? tf.mul(d, output) : tf.mul(dprobabilities, probabilities!), -1, true);
    const dscores = tf.mul(probabilities!, tf.sub(dprobabilities, along)) as tf.Tensor3D;
    const dq = rotateBack(this.scaled(this.product(dscores, k!), shape), tables.queryCos, tables.querySin, tables.turn);
    const dk = rotateBack(this.product(dscores, q!, true, false), tables.keyCos, tables.keySin, tables.turn);
    return {
      dquery: fromHeads(dq, shape, true),
      dkey: fromHeads(dk, shape, false),
      dvalue: fromHeads(this.product(probabilities!, d, true, false), shape, false),
    };
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    const [g, u] = [this.operand(t(gate)), this.operand(t(up))];
    return tf.mul(tf.mul(g, tf.sigmoid(g)), u);
  }

  swigluBackward(gate: Tensor, up: Tensor, dy: Tensor): ReturnType<Kernels['swigluBackward']> {
    const [g, u] = [this.operand(t(gate)), this.operand(t(up))];
    const sigma = tf.sigmoid(g);
    const silu = tf.mul(g, sigma);
    // silu' = σ + silu·(1 − σ)
    const slope = tf.add(sigma, tf.sub(silu, tf.mul(silu, sigma)));
    return { dgate: tf.mul(tf.mul(t(dy), u), slope), dup: tf.mul(t(dy), silu) };
  }

  gatedMatmul(x: Tensor, toGate: Tensor, toUp: Tensor): ReturnType<Kernels['gatedMatmul']> {
    const [gate, up] = this.matmuls(x, [toGate, toUp]) as [Tensor, Tensor];
    return { gate, up, activated: this.swiglu(gate, up) };
  }

  gatedMatmulOnly(x: Tensor, toGate: Tensor, toUp: Tensor): Tensor {
    return this.scope(() => this.gatedMatmul(x, toGate, toUp).activated);
  }

  gatedMatmulBackward(gate: Tensor, up: Tensor, dy: Tensor, down: Tensor): ReturnType<Kernels['gatedMatmulBackward']> {
    return this.scope(() => this.swigluBackward(gate, up, this.matmul(dy, down, false, true)));
  }

  relu(x: Tensor): Tensor {
    return tf.relu(t(x));
  }

  reluBackward(x: Tensor, dy: Tensor): Tensor {
    return tf.mul(t(dy), tf.cast(tf.greater(t(x), 0), 'float32'));
  }

  embedding(tokens: Tensor, table: Tensor): Tensor {
    return tf.gather(t(table), t(tokens) as tf.Tensor1D);
  }

  /** As a product with one-hot rows: no backend needs a scatter, and the sum has a fixed order. Right for byte vocabularies. */
  embeddingBackward({ tokens }: TokenRows, dy: Tensor, vocabulary: number): Tensor {
    return this.product(oneHot(tokens, vocabulary), t2(dy), true, false);
  }

  crossEntropy(logits: Tensor, targets: Tensor): ReturnType<Kernels['crossEntropy']> {
    const vocabulary = t(logits).shape[1]!;
    const chosenOnly = oneHot(targets, vocabulary);
    const shifted = tf.sub(t(logits), tf.max(t(logits), -1, true));
    const exponentials = tf.exp(shifted);
    const total = tf.sum(exponentials, -1, true);
    const chosen = tf.sum(tf.mul(shifted, chosenOnly), -1, true);
    return { lossSum: tf.sum(tf.sub(tf.log(total), chosen)), dlogits: tf.sub(tf.div(exponentials, total), chosenOnly) };
  }

  headLoss(y: Tensor, head: Tensor, targets: Tensor): Tensor {
    return this.scope(() => this.crossEntropy(this.matmul(y, head), targets).lossSum);
  }

  headLossBackward(y: Tensor, head: Tensor, targets: Tensor): ReturnType<Kernels['headLossBackward']> {
    return this.scope(() => {
      const { lossSum, dlogits } = this.crossEntropy(this.matmul(y, head), targets);
      return { lossSum, dy: this.matmul(dlogits, head, false, true), dhead: this.matmul(y, dlogits, true, false) };
    });
  }

  /** As products, and SwiGLU, take it. */
  protected operand<T extends tf.Tensor>(x: T): T {
    return this.precision === 'f16' ? (tf.tidy(() => nearestHalf(x)) as T) : x;
  }

  /** Queries, or their gradient, times the scale of the scores, where that does not go with the rotation: what is rounded is not scaled yet. */
  private scaled<T extends tf.Tensor>(x: T, { headWidth }: AttentionShape): T {
    return this.precision === 'f16' ? tf.mul(x, 1 / Math.sqrt(headWidth)) : x;
  }

  /** Matrices, or stacks of them. XNNPACK multiplies ten times slower when it has to transpose by itself. */
  private product<T extends tf.Tensor>(a: T, b: T, transposeA = false, transposeB = false): T {
    if (this.backend === 'webgpu') return tf.matMul(a, b, transposeA, transposeB);
    return tf.matMul(transposeA ? this.transposed(a) : a, transposeB ? this.transposed(b) : b);
  }

  /** Of the last two axes. */
  protected transposed<T extends tf.Tensor>(x: T): T {
    return tf.transpose(x, x.rank === 2 ? [1, 0] : [0, 2, 1]);
  }

  private tablesOf(shape: AttentionShape): AttentionTables {
    const key = Object.values(shape).join();
    const known = this.tables.get(key);
    if (known) return known;
    const { context, headWidth, heads, keyValueHeads } = shape;
    const group = heads / keyValueHeads;
    const query = rotaryTables(shape, group, this.precision === 'f16' ? 1 : 1 / Math.sqrt(headWidth)); // the scores' scale goes with the queries
    const keys = rotaryTables(shape, 1, 1);
    const matrix = (data: Float32Array, height: number, width: number) => tf.keep(tf.tensor2d(data, [height, width]));
    const tables: AttentionTables = {
      queryCos: matrix(query.cos, group * context, headWidth),
      querySin: matrix(query.sin, group * context, headWidth),
      keyCos: matrix(keys.cos, context, headWidth),
      keySin: matrix(keys.sin, context, headWidth),
      turn: matrix(quarterTurn(headWidth), headWidth, headWidth),
      mask: matrix(causalMask(shape, group), group * context, context),
    };
    this.tables.set(key, tables);
    return tables;
  }
}

/**
 * The nearest half of each number, as `asHalves` has it. Of float32's 24 bits Veltkamp's splitting leaves the 11 nearest (Dekker, Numerische
 * Mathematik 18, 1971; that of ties it takes the even one is seen in halves.test.ts); under 2^-14 float32's own rounding beside 3/4 cuts at multiples
 * of 2^-24.
 */
function nearestHalf(x: tf.Tensor): tf.Tensor {
  const bounded = tf.clipByValue(x, -LARGEST_HALF, LARGEST_HALF);
  const spread = tf.mul(bounded, 2 ** 13 + 1);
  const large = tf.sub(spread, tf.sub(spread, bounded));
  const small = tf.sub(tf.add(bounded, 0.75), 0.75);
  const rounded = tf.where(tf.less(tf.abs(bounded), 2 ** -14), small, large);
  // 0, but NaN where twice the number is none.
  return tf.add(rounded, tf.mul(tf.mul(x, 2), 0));
}

/** Mean of each row `[n, 1]`. */
function rowMean(x: tf.Tensor2D): tf.Tensor2D {
  return tf.mean(x, 1, true);
}

/** `[n,V]`. Made as integers and converted: tfjs wasm writes integer bits whatever type is asked for. */
function oneHot(tokens: Tensor, vocabulary: number): tf.Tensor2D {
  return tf.cast(tf.oneHot(t(tokens) as tf.Tensor1D, vocabulary), 'float32') as tf.Tensor2D;
}

function columnSum(x: tf.Tensor): tf.Tensor {
  return tf.sum(x, 0);
}

/**
 * `[n, heads·D]` → `[sequences·keyValueHeads, group·T, D]`. The query heads that share a key head lie one after the
 * other along the rows, so that keys and values need no copies.
 */
function toHeads(x: tf.Tensor, { sequences, context, heads, keyValueHeads, headWidth }: AttentionShape, isQuery: boolean): tf.Tensor3D {
  const group = isQuery ? heads / keyValueHeads : 1;
  const split = tf.reshape(x, [sequences, context, keyValueHeads, group, headWidth]);
  const moved =
    group === 1
      ? tf.transpose(tf.reshape(split, [sequences, context, keyValueHeads, headWidth]), [0, 2, 1, 3])
      : tf.transpose(split, [0, 2, 3, 1, 4]);
  return tf.reshape(moved, [sequences * keyValueHeads, group * context, headWidth]);
}

/** The inverse of `toHeads`. */
function fromHeads(x: tf.Tensor, { sequences, context, heads, keyValueHeads, headWidth }: AttentionShape, isQuery: boolean): tf.Tensor2D {
  const group = isQuery ? heads / keyValueHeads : 1;
  const moved =
    group === 1
      ? tf.transpose(tf.reshape(x, [sequences, keyValueHeads, context, headWidth]), [0, 2, 1, 3])
      : tf.transpose(tf.reshape(x, [sequences, keyValueHeads, group, context, headWidth]), [0, 3, 1, 2, 4]);
  return tf.reshape(moved, [sequences * context, keyValueHeads * group * headWidth]);
}

/** x·cos + (x·R)·sin, with R a quarter turn. */
function rotate(x: tf.Tensor3D, cos: tf.Tensor2D, sin: tf.Tensor2D, turn: tf.Tensor2D): tf.Tensor3D {
  const turned = tf.reshape(tf.matMul(tf.reshape(x, [-1, rows(turn)]) as tf.Tensor2D, turn), x.shape);
  return tf.add(tf.mul(x, cos), tf.mul(turned, sin));
}

/** The transpose of `rotate`: dx = dy·cos + (dy·sin)·Rᵀ. */
function rotateBack(dy: tf.Tensor3D, cos: tf.Tensor2D, sin: tf.Tensor2D, turn: tf.Tensor2D): tf.Tensor3D {
  const scaled = tf.reshape(tf.mul(dy, sin), [-1, rows(turn)]) as tf.Tensor2D;
  return tf.add(tf.mul(dy, cos), tf.reshape(tf.matMul(scaled, turn, false, true), dy.shape));
}
