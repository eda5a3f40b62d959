/**
 * The kernels on WebGPU: our own shaders (`wgsl/`), run through the tfjs backend, which keeps buffers, pipelines and the
 * command queue. Its own products are slow where barriers are (software adapters), and may sum in another order each time.
 */
import type { SwarmError } from '@starling/protocol';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type { AttentionShape, PackedFormat, Tensor } from './kernels.ts';
import { rotaryAngles } from './tables.ts';
import { TfjsKernels } from './tfjs.ts';
import * as attention from './wgsl/attention.ts';
import { matmulShader } from './wgsl/matmul.ts';
import * as norm from './wgsl/norm.ts';
import * as packing from './wgsl/pack.ts';
import * as rows from './wgsl/rows.ts';
import { programOf, type Shader } from './wgsl/shader.ts';

export class WebGpuKernels extends TfjsKernels {
  private readonly gpu: WebGPUBackend;
  private readonly angles = new Map<string, tf.Tensor>();

  constructor(gpu: WebGPUBackend, adapter: string, lost: Promise<SwarmError>, release: () => void) {
    super('webgpu', adapter, lost, release);
    this.gpu = gpu;
  }

  override close(): void {
    for (const table of this.angles.values()) table.dispose();
    this.angles.clear();
    super.close();
  }

  override pack(rows: Tensor, format: PackedFormat): Promise<Uint8Array<ArrayBuffer>> | null {
    const [n, width] = rows.shape;
    if (width % packing.PACKABLE[format] !== 0) return null;
    const words = this.scope(() => {
      if (format === 'f16') return this.dispatchWords(packing.f16Shader(n, width), rows);
      const scales = this.dispatchWords(packing.scaleShader(n, width, format), rows);
      const shader = format === 'int8' ? packing.int8Shader(n, width) : packing.int4Shader(n, width);
      return this.dispatchWords(shader, rows, scales);
    });
    return this.takeBytes(words);
  }

  private async takeBytes(words: Tensor): Promise<Uint8Array<ArrayBuffer>> {
    try {
      const data = await (words as tf.Tensor).data<'int32'>();
      return new Uint8Array(Int32Array.from(data).buffer);
    } finally {
      this.dispose(words);
    }
  }

  override matmul(a: Tensor, b: Tensor, transposeA = false, transposeB = false): Tensor {
    const [m, l] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
    return this.dispatch(matmulShader({ m, n: b.shape[transposeB ? 0 : 1], l }, transposeA, transposeB), a, b);
  }

  override add(a: Tensor, b: Tensor): Tensor {
    return this.dispatch(rows.addShader(a.shape), a, b);
  }

  override rmsNorm(x: Tensor, gain: Tensor) {
    const [n, width] = x.shape;
    const inverse = this.dispatch(norm.inverseRmsShader(n, width), x);
    return { y: this.dispatch(norm.rmsNormShader(n, width), x, inverse, gain), inverse };
  }

  override rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor) {
    const [n, width] = x.shape;
    return this.scope(() => {
      const along = this.dispatch(norm.rmsNormAlongShader(n, width), x, gain, inverse, dy);
      const dx = this.dispatch(norm.rmsNormInputShader(n, width), x, gain, inverse, dy, along);
      const dgain = this.sumRows(this.dispatch(norm.rmsNormGainShader(n, width), x, inverse, dy));
      return { dx, dgain: tf.reshape(dgain as tf.Tensor, [width]) as Tensor };
    });
  }

  override attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape) {
    const table = this.anglesOf(shape);
    const q = this.dispatch(attention.rotaryShader(shape, shape.heads), query, table);
    const k = this.dispatch(attention.rotaryShader(shape, shape.keyValueHeads), key, table);
    const logSum = this.dispatch(attention.logSumShader(shape), q, k);
    const output = this.dispatch(attention.outputShader(shape), q, k, value, logSum);
    // Handles of their own, so that `saved` may be freed apart from the output and the caller's value.
    const own = (tensor: Tensor) => tf.clone(tensor as tf.Tensor) as Tensor;
    return { output, saved: [q, k, own(value), own(output), logSum] };
  }

  override attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape) {
    const [q, k, v, output, logSum] = saved;
    const table = this.anglesOf(shape);
    return this.scope(() => {
      const delta = this.dispatch(attention.deltaShader(shape), doutput, output);
      return {
        dquery: this.dispatch(attention.queryGradientShader(shape), doutput, q, k, v, logSum, delta, table),
        dkey: this.dispatch(attention.keyGradientShader(shape), doutput, q, k, v, logSum, delta, table),
        dvalue: this.dispatch(attention.valueGradientShader(shape), doutput, q, k, logSum),
      };
    });
  }

  override swiglu(gate: Tensor, up: Tensor): Tensor {
    return this.dispatch(rows.swigluShader(gate.shape), gate, up);
  }

  override swigluBackward(gate: Tensor, up: Tensor, dy: Tensor) {
    return {
      dgate: this.dispatch(rows.swigluGateShader(gate.shape), gate, up, dy),
      dup: this.dispatch(rows.swigluUpShader(gate.shape), gate, dy),
    };
  }

  override relu(x: Tensor): Tensor {
    return this.dispatch(rows.reluShader(x.shape), x);
  }

  override reluBackward(x: Tensor, dy: Tensor): Tensor {
    return this.dispatch(rows.reluBackwardShader(x.shape), x, dy);
  }

  override embedding(tokens: Tensor, table: Tensor): Tensor {
    return this.dispatch(rows.embeddingShader(tokens.shape[0], table.shape[1]), table, tokens);
  }

  override embeddingBackward(tokens: Tensor, dy: Tensor, vocabulary: number): Tensor {
    const [n, width] = dy.shape;
    return this.dispatch(rows.embeddingBackwardShader(n, width, vocabulary), dy, tokens);
  }

  override crossEntropy(logits: Tensor, targets: Tensor) {
    const [n, vocabulary] = logits.shape;
    return this.scope(() => {
      const logSum = this.dispatch(rows.logSumExpShader(n, vocabulary), logits);
      const losses = this.dispatch(rows.negativeLogLikelihoodShader(n, vocabulary), logits, logSum, targets);
      return {
        lossSum: tf.reshape(this.sumRows(losses) as tf.Tensor, []) as Tensor,
        dlogits: this.dispatch(rows.crossEntropyGradientShader(n, vocabulary), logits, logSum, targets),
      };
    });
  }

  /** `[n,w]` or `[n]` → `[1,w]`, by as many passes as it takes. Inside a scope. */
  private sumRows(x: Tensor): Tensor {
    const sum = this.dispatch(rows.columnSumShader(x.shape[0], x.shape[1] ?? 1), x);
    return sum.shape[0] > 1 ? this.sumRows(sum) : sum;
  }

  private anglesOf({ context, headWidth }: AttentionShape): Tensor {
    const key = `${context} ${headWidth}`;
    const known = this.angles.get(key);
    if (known) return known;
    const table = tf.keep(tf.tensor2d(rotaryAngles(context, headWidth), [context, headWidth]));
    this.angles.set(key, table);
    return table;
  }

  /** Enqueues one shader. */
  private dispatch(shader: Shader, ...inputs: Tensor[]): Tensor {
    return this.enqueue(shader, inputs, 'float32');
  }

  private dispatchWords(shader: Shader, ...inputs: Tensor[]): Tensor {
    return this.enqueue(shader, inputs, 'int32');
  }

  private enqueue(shader: Shader, inputs: Tensor[], type: 'float32' | 'int32'): Tensor {
    return tf.engine().makeTensorFromTensorInfo(this.gpu.runWebGPUProgram(programOf(shader), inputs as tf.Tensor[], type));
  }
}
