/** The kernels on tfjs's wasm backend, which multiplies matrices at full speed, with programs of our own where it has only slow ones. */
import type { SwarmError } from '@starling/protocol';
import * as tf from '@tensorflow/tfjs-core';
import type { AttentionShape, Kernels, Tensor } from './kernels.ts';
import { rotaryAngles } from './tables.ts';
import { TfjsKernels } from './tfjs.ts';
import { type AttentionProgram, attentionProgram } from './wasm/attention.ts';
import type { Heap } from './wasm/heap.ts';

interface Attention {
  program: AttentionProgram;
  angles: tf.Tensor;
}

export class WasmKernels extends TfjsKernels {
  private readonly heap: Heap;
  private readonly attentions = new Map<string, Attention>();

  constructor(heap: Heap, adapter: string, lost: Promise<SwarmError>, release: () => void) {
    super('wasm', adapter, lost, release);
    this.heap = heap;
  }

  override close(): void {
    for (const { angles } of this.attentions.values()) angles.dispose();
    this.attentions.clear();
    super.close();
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
    const made = { program: attentionProgram(shape, this.heap.memory), angles };
    this.attentions.set(key, made);
    return made;
  }
}
