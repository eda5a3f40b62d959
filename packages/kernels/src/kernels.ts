/**
 * The tensor operations a stage needs, each with the backward that belongs to it. One interface, so that a stage is
 * written once and runs on tfjs (webgpu, wasm, cpu) or on kernels of our own.
 *
 * n is the number of rows: sequences × context, sequence after sequence. All tensors are float32 unless said otherwise.
 */
import type { Backend, SwarmError } from '@starling/protocol';

/** A tensor on the device. Opaque: only the kernels that made it can read it. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** How rows are grouped into sequences and columns into heads. */
export interface AttentionShape {
  sequences: number;
  context: number;
  heads: number;
  /** Keys and values have this many heads; each serves `heads / keyValueHeads` query heads. */
  keyValueHeads: number;
  /** Width of one head; even. */
  headWidth: number;
}

/** How rows are written small. */
export type PackedFormat = 'f16' | 'int8' | 'int4';

export interface Kernels {
  readonly backend: Backend;
  /** The device in words, as a page shows it. */
  readonly adapter: string;
  /** Resolves with `DEVICE_LOST` when the device is gone; never on wasm and cpu. */
  readonly lost: Promise<SwarmError>;

  upload(data: Float32Array | Int32Array, shape: readonly number[]): Tensor;
  /** The tensor's elements, row-major. The tensor stays. */
  download(tensor: Tensor): Promise<Float32Array<ArrayBuffer>>;
  /**
   * Rows `[n,w]` as packages/codecs writes them in this format, made on the device so that only that is read back; null where this
   * device, or this width, is not for it. Numbers that cannot be said come back as NaN.
   */
  pack(rows: Tensor, format: PackedFormat): Promise<Uint8Array<ArrayBuffer>> | null;
  dispose(...tensors: Tensor[]): void;
  /** Runs `work` and frees every tensor it made but those in its (possibly nested) result. Not for async work. */
  scope<T>(work: () => T): T;
  memory(): { tensors: number; bytes: number };
  /** Frees what belongs to the kernels themselves. */
  close(): void;

  /** `a · b` of `[m,k]` and `[k,n]`; a flag says that the operand is stored transposed. */
  matmul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  /** Equal shapes, element by element. */
  add(a: Tensor, b: Tensor): Tensor;

  /** y = x / √(mean(x²) + ε) · gain, rows `[n,d]`, gain `[d]` (arXiv:1910.07467). `inverse [n,1]` is 1/√(…). */
  rmsNorm(x: Tensor, gain: Tensor): { y: Tensor; inverse: Tensor };
  /** dx = r·(g·dy) − x·r³·mean(x·g·dy), dgain = Σ rows dy·x·r, with r = `inverse`. */
  rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor): { dx: Tensor; dgain: Tensor };

  /**
   * Causal attention with rotary positions (arXiv:2104.09864, halves rotated against each other) and grouped queries:
   * query `[n, heads·D]`, key and value `[n, keyValueHeads·D]` → output `[n, heads·D]`. Scores are scaled by 1/√D.
   */
  attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape): { output: Tensor; saved: Tensor[] };
  /** Gradients of the inputs of `attention`, from what it saved. */
  attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape): { dquery: Tensor; dkey: Tensor; dvalue: Tensor };

  /** gate·σ(gate)·up (arXiv:2002.05202), any shape. */
  swiglu(gate: Tensor, up: Tensor): Tensor;
  swigluBackward(gate: Tensor, up: Tensor, dy: Tensor): { dgate: Tensor; dup: Tensor };

  /** max(x, 0), any shape. */
  relu(x: Tensor): Tensor;
  /** dy where x > 0, else 0. */
  reluBackward(x: Tensor, dy: Tensor): Tensor;

  /** Rows of `table [V,d]` at int32 `tokens [n]`. */
  embedding(tokens: Tensor, table: Tensor): Tensor;
  /** `[V,d]`: sum of `dy [n,d]` over the rows of each token. */
  embeddingBackward(tokens: Tensor, dy: Tensor, vocabulary: number): Tensor;

  /** Sum over rows of −log softmax(`logits [n,V]`)[target], in nats (scalar), and its gradient `[n,V]`. Targets are int32 `[n]`. */
  crossEntropy(logits: Tensor, targets: Tensor): { lossSum: Tensor; dlogits: Tensor };
}

/** Llama's. */
export const NORM_EPSILON = 1e-5;
/** Base of the rotary frequencies, as in Llama 2. */
export const ROTARY_BASE = 10_000;
/** Added to scores of positions to come. Finite, so that no NaN can arise; far below any real score. */
export const MASKED = -1e9;
