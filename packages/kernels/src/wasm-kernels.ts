/** The kernels on tfjs's wasm backend, which multiplies matrices at full speed, with programs of our own where it has only slow ones. */
import type { SwarmError } from '@starling/protocol';
import * as tf from '@tensorflow/tfjs-core';
import type { AttentionShape, Kernels, Precision, Tensor } from './kernels.ts';
import { rotaryAngles } from './tables.ts';
import { assertFills, TfjsKernels } from './tfjs.ts';
import { type AttentionProgram, attentionProgram } from './wasm/attention.ts';
import type { Heap } from './wasm/heap.ts';
import { type RowPrograms, rowPrograms } from './wasm/rows.ts';

interface Attention {
  program: AttentionProgram;
  angles: tf.Tensor;
}

export class WasmKernels extends TfjsKernels {
  private readonly heap: Heap;
  private readonly rows: RowPrograms;
  private readonly attentions = new Map<string, Attention>();

  constructor(heap: Heap, adapter: string, precision: Precision, lost: Promise<SwarmError>, release: () => void) {
    super('wasm', adapter, precision, lost, release);
    this.heap = heap;
    this.rows = rowPrograms(heap.memory, precision);
  }

  protected override made(precision: Precision): TfjsKernels {
    return new WasmKernels(this.heap, this.adapter, precision, this.lost, () => {});
  }

  override close(): void {
    for (const { angles } of this.attentions.values()) angles.dispose();
    this.attentions.clear();
    super.close();
  }

  /** Copied once, to where it lies; tfjs would copy it on the way. */
  override upload(data: Float32Array | Int32Array, shape: readonly number[]): Tensor {
    if (data instanceof Int32Array) return super.upload(data, shape);
    assertFills(data, shape);
    const tensor = this.heap.make(shape);
    this.heap.view(tensor).set(data);
    return tensor;
  }

  override async download(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    return tensor.dtype === 'float32' ? this.heap.view(tensor as tf.Tensor).slice() : super.download(tensor);
  }

  override rmsNorm(x: Tensor, gain: Tensor): ReturnType<Kernels['rmsNorm']> {
    const [rows, width] = x.shape as [number, number];
    const [y, inverse] = [this.heap.make(x.shape), this.heap.make([rows, 1])];
    this.rows.rmsNorm(...this.addresses(x, gain, y, inverse), rows, width);
    return { y, inverse };
  }

  override rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor, addend?: Tensor): ReturnType<Kernels['rmsNormBackward']> {
    const [rows, width] = x.shape as [number, number];
    const [dx, dgain] = [this.heap.make(x.shape), this.heap.make([width])];
    this.rows.rmsNormBackward(...this.addresses(x, gain, inverse, dy, dx, dgain), rows, width);
    if (!addend) return { dx, dgain };
    const sum = this.add(dx, addend);
    dx.dispose();
    return { dx: sum, dgain };
  }

  override swiglu(gate: Tensor, up: Tensor): Tensor {
    const y = this.heap.make(gate.shape);
    this.rows.swiglu(...this.addresses(gate, up, y), y.size);
    return y;
  }

  override swigluBackward(gate: Tensor, up: Tensor, dy: Tensor): ReturnType<Kernels['swigluBackward']> {
    const [dgate, dup] = [this.heap.make(gate.shape), this.heap.make(gate.shape)];
    this.rows.swigluBackward(...this.addresses(gate, up, dy, dgate, dup), dgate.size);
    return { dgate, dup };
  }

  override crossEntropy(logits: Tensor, targets: Tensor): ReturnType<Kernels['crossEntropy']> {
    const [rows, vocabulary] = logits.shape as [number, number];
    const [dlogits, sums] = [this.heap.make(logits.shape), this.heap.make([rows, 2])];
    this.rows.crossEntropy(...this.addresses(logits, targets, dlogits, sums), rows, vocabulary);
    const told = this.heap.view(sums);
    let lossSum = 0;
    for (let row = 0; row < rows; row++) lossSum += Math.log(told[2 * row]!) - told[2 * row + 1]!;
    sums.dispose();
    return { lossSum: tf.scalar(lossSum), dlogits };
  }

  protected override operand<T extends tf.Tensor>(x: T): T {
    if (this.precision === 'f32') return x;
    const y = this.heap.make(x.shape);
    this.rows.half(...this.addresses(x, y), x.size);
    return y as T;
  }

  protected override transposed<T extends tf.Tensor>(x: T): T {
    if (x.rank !== 2) return super.transposed(x);
    const [rows, columns] = x.shape as [number, number];
    const y = this.heap.make([columns, rows]);
    this.rows.transpose(...this.addresses(x, y), rows, columns);
    return y as T;
  }

  override attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape): ReturnType<Kernels['attention']> {
    const { heap } = this;
    const { program, angles } = this.attentionOf(shape);
    const output = heap.make(query.shape);
    const statistics = heap.make([program.statistics]);
    const scratch = heap.make([program.scratch / 4]);
    program.forward(...this.addresses(query, key, value, angles, output, statistics, scratch));
    scratch.dispose();
    // Handles of their own, so that `saved` may be freed apart from the output and the caller's tensors.
    const own = (tensor: Tensor) => tf.clone(tensor as tf.Tensor);
    return { output, saved: [own(query), own(key), own(value), own(output), statistics] };
  }

  override attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape): ReturnType<Kernels['attentionBackward']> {
    const { heap } = this;
    const { program, angles } = this.attentionOf(shape);
    const [query, key, value, output, statistics] = saved as readonly Tensor[] & { length: 5 };
    const [dquery, dkey, dvalue] = [heap.make(query!.shape), heap.make(key!.shape), heap.make(value!.shape)];
    const scratch = heap.make([program.scratch / 4]);
    program.backward(...this.addresses(query!, key!, value!, angles, output!, statistics!, doutput, dquery, dkey, dvalue, scratch));
    scratch.dispose();
    return { dquery, dkey, dvalue };
  }

  private addresses<T extends Tensor[]>(...tensors: T): { [K in keyof T]: number } {
    return tensors.map((tensor) => this.heap.address(tensor as tf.Tensor)) as { [K in keyof T]: number };
  }

  private attentionOf(shape: AttentionShape): Attention {
    const key = Object.values(shape).join();
    const known = this.attentions.get(key);
    if (known) return known;
    const { context, headWidth } = shape;
    const angles = tf.keep(tf.tensor2d(rotaryAngles(context, headWidth), [context, headWidth]));
    const made = { program: attentionProgram(shape, this.heap.memory, this.precision), angles };
    this.attentions.set(key, made);
    return made;
  }
}
