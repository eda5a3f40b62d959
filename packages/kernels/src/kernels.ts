/**
 * The tensor operations a stage needs, each with the backward that belongs to it. One interface, so that a stage is
 * written once and runs on tfjs (webgpu, wasm, cpu) or on kernels of our own.
 *
 * n is the number of rows: sequences × context, sequence after sequence. All tensors are float32 unless said otherwise; with the
 * precision `f16`, every operand of a product, in attention, too, and what SwiGLU is of, is first rounded to the nearest half. Sums stay float32, and so
 * does all else: the residual stream, norms, softmax, the loss, gradients of parameters.
 */
import type { Backend, Precision, SwarmError } from '@starling/protocol';

export type { Precision };

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

/** On WebAssembly: tfjs starts as many workers, whatever is asked for, and a thread without one would wait for ever. */
export const MOST_THREADS = 8;

/** Larger magnitudes round to it. */
export const LARGEST_HALF = 65_504;

/** How rows are written small. */
export type PackedFormat = 'f16' | 'int8' | 'int4';

/** Tokens, and how to find the rows of each: `sortTokens`. All int32. */
export interface TokenRows {
  /** `[n]` */
  tokens: Tensor;
  /** `[n]`: row numbers, those of token 0 first, each token's ascending. */
  order: Tensor;
  /** `[V+1]`: where in `order` each token's begin. */
  starts: Tensor;
}

/** What can be computed. Nothing of it waits for the device. */
export interface Operations {
  /** `a · b` of `[m,k]` and `[k,n]`, plus `addend [m,n]`; a flag says that the operand is stored transposed, not both. */
  matmul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean, addend?: Tensor): Tensor;
  /** `a · b` for each b, or `aᵀ · b`. */
  matmuls(a: Tensor, bs: readonly Tensor[], transposeA?: boolean): Tensor[];
  /** Sum of all `a · bᵀ`. */
  sumOfMatmuls(pairs: readonly (readonly [a: Tensor, b: Tensor])[]): Tensor;
  /** Equal shapes, element by element. */
  add(a: Tensor, b: Tensor): Tensor;

  /** y = x / √(mean(x²) + ε) · gain, rows `[n,d]`, gain `[d]` (arXiv:1910.07467). `inverse [n,1]` is 1/√(…). */
  rmsNorm(x: Tensor, gain: Tensor): { y: Tensor; inverse: Tensor };
  /** dx = r·(g·dy) − x·r³·mean(x·g·dy), plus `addend`; dgain = Σ rows dy·x·r, with r = `inverse`. */
  rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor, addend?: Tensor): { dx: Tensor; dgain: Tensor };

  /**
   * Causal attention with rotary positions (arXiv:2104.09864, halves rotated against each other) and grouped queries:
   * query `[n, heads·D]`, key and value `[n, keyValueHeads·D]` → output `[n, heads·D]`. Scores are scaled by 1/√D.
   * Query and key may be used up.
   */
  attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape): { output: Tensor; saved: Tensor[] };
  /** Gradients of the inputs of `attention`, from what it saved. */
  attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape): { dquery: Tensor; dkey: Tensor; dvalue: Tensor };

  /** gate·σ(gate)·up (arXiv:2002.05202), any shape. */
  swiglu(gate: Tensor, up: Tensor): Tensor;
  swigluBackward(gate: Tensor, up: Tensor, dy: Tensor): { dgate: Tensor; dup: Tensor };
  /** SwiGLU of gate = x·`toGate` and up = x·`toUp`. */
  gatedMatmul(x: Tensor, toGate: Tensor, toUp: Tensor): { gate: Tensor; up: Tensor; activated: Tensor };
  /** The same where no backward follows. */
  gatedMatmulOnly(x: Tensor, toGate: Tensor, toUp: Tensor): Tensor;
  /** `swigluBackward` at the gradient dy·`down`ᵀ. */
  gatedMatmulBackward(gate: Tensor, up: Tensor, dy: Tensor, down: Tensor): { dgate: Tensor; dup: Tensor };

  /** max(x, 0), any shape. */
  relu(x: Tensor): Tensor;
  /** dy where x > 0, else 0. */
  reluBackward(x: Tensor, dy: Tensor): Tensor;

  /** Rows of `table [V,d]` at int32 `tokens [n]`. */
  embedding(tokens: Tensor, table: Tensor): Tensor;
  /** `[V,d]`: sum of `dy [n,d]` over the rows of each token. */
  embeddingBackward(rows: TokenRows, dy: Tensor, vocabulary: number): Tensor;

  /**
   * Sum over rows of −log softmax(`logits [n,V]`)[target], in nats (scalar), and its gradient `[n,V]`. Targets are int32 `[n]`. The
   * logits may be used up.
   */
  crossEntropy(logits: Tensor, targets: Tensor): { lossSum: Tensor; dlogits: Tensor };
  /** The loss of the logits y·`head`. */
  headLoss(y: Tensor, head: Tensor, targets: Tensor): Tensor;
  /** The same with its gradients. */
  headLossBackward(y: Tensor, head: Tensor, targets: Tensor): { lossSum: Tensor; dy: Tensor; dhead: Tensor };
}

export interface VariableKind {
  shape: readonly number[];
  /** Nothing but an operand of products, so that a device may hold it as it is rounded for them. */
  isOperand: boolean;
}

/** Tensors that are written again and again, one after the other in a flat vector. */
export interface Variables {
  readonly tensors: readonly Tensor[];
  /** All of them `[n]`. */
  write(values: Float32Array): void;
  dispose(): void;
}

/** What is computed from what: the same shapes in every run. */
export interface Definition {
  inputs: Record<string, { shape: readonly number[]; dtype: 'float32' | 'int32' }>;
  /** Called once or in every run, so it must do the same each time. `results` are read back; `kept` stay on the device. */
  body(operations: Operations, inputs: Record<string, Tensor>): { results: Record<string, Tensor>; kept?: readonly Tensor[] };
}

/** Tensors that a run left on the device, to be accumulated, read or released by the programs it is of. */
export interface Kept {
  /** Numbers in all of them. */
  readonly size: number;
}

export interface Run {
  /** As bytes where a format was asked for and this device, and the result's width, are for it. */
  results: Record<string, Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>;
  /** Null where the program keeps nothing. */
  kept: Kept | null;
}

export interface StepTime {
  /** Operation and sizes, and how it is computed. */
  label: string;
  count: number;
  /** Of all of them. */
  ms: number;
  /** Of one; 0 where it only moves numbers. */
  flops: number;
}

/** Some computations of fixed shapes that share what memory they need on the way, since one runs at a time. */
export interface Programs {
  /** Bytes on the device besides variables and what is kept, and the most of them needed at one moment; 0 where that is not known. */
  readonly workspace: { bytes: number; needed: number };
  /** Compiles them. `run` does what is not done yet. */
  prepare(onProgress?: (done: number, of: number) => void): Promise<void>;
  /** Enqueued when this returns, in the order of the calls. Inputs are copied. */
  run(name: string, inputs: Record<string, Float32Array | Int32Array>, formats?: Record<string, PackedFormat | null>): Promise<Run>;
  /** How long each kind of step of a program takes by itself, and how many there are; absent where nothing is recorded. */
  profile?(name: string): Promise<StepTime[]>;
  /** Adds `more` to `sum`, which is used up. */
  accumulate(sum: Kept, more: Kept): void;
  /** One flat vector of all of them, which are used up. */
  read(kept: Kept): Promise<Float32Array<ArrayBuffer>>;
  release(kept: Kept): void;
  dispose(): void;
}

export interface Kernels extends Operations {
  readonly backend: Backend;
  readonly precision: Precision;
  /** The device in words, as a page shows it. */
  readonly adapter: string;
  /** It computes on the processor. */
  readonly software: boolean;
  /** Resolves with `DEVICE_LOST` when the device is gone, or `MEMORY_SHORT` when it had too little; never on wasm and cpu. */
  readonly lost: Promise<SwarmError>;

  /** These, or others on the same device, until these are closed. Throws `DEVICE_WRONG` where the device cannot round as others do. */
  withPrecision(precision: Precision): Promise<Kernels>;

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

  variables(kinds: readonly VariableKind[]): Variables;
  programs(definitions: Readonly<Record<string, Definition>>): Programs;
}

/** Llama's. */
export const NORM_EPSILON = 1e-5;
/** Base of the rotary frequencies, as in Llama 2. */
export const ROTARY_BASE = 10_000;
/** Added to scores of positions to come. Finite, so that no NaN can arise; far below any real score. */
export const MASKED = -1e9;
