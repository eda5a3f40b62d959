/** The kernels on a WebGPU device of our own: programs recorded once, and the same operations one by one. */
import { SwarmError } from '@starling/protocol';
import { asHalves, fromHalves } from '../halves.ts';
import type {
  AttentionShape,
  Definition,
  Kernels,
  PackedFormat,
  Precision,
  Programs,
  Tensor,
  TokenRows,
  VariableKind,
  Variables,
} from '../kernels.ts';
import { rotaryAngles } from '../tables.ts';
import { type Bound, Device } from './device.ts';
import { halfFormatOf } from './half-format.ts';
import { PACKABLE, packSteps } from './pack.ts';
import { flatOf, variableFormat } from './plan.ts';
import { RecordedPrograms } from './programs.ts';
import type { Step } from './shader.ts';
import { Tracer } from './tracer.ts';
import { Tuner, type TuningOptions } from './tuner.ts';
import { bytesEach, type HalfFormat, type Storage, temporary, Value } from './value.ts';

export interface WebGpuOptions {
  adapter: string;
  isSoftware: boolean;
  lost: Promise<SwarmError>;
  tuning: TuningOptions | null;
  precision: Precision;
  release(): void;
}

/** Throws `DEVICE_WRONG` where the device cannot round as others do. */
export async function createWebGpuKernels(gpu: GPUDevice, options: WebGpuOptions): Promise<Kernels> {
  try {
    const device = new Device(gpu, options.adapter, options.isSoftware);
    return new WebGpuKernels(device, options, options.precision === 'f16' ? await halfFormatOf(device) : null);
  } catch (error) {
    options.release();
    throw error;
  }
}

type Saved = ReturnType<Kernels['attention']>;

class WebGpuKernels implements Kernels {
  readonly backend = 'webgpu';
  readonly adapter: string;
  readonly software: boolean;
  readonly lost: Promise<SwarmError>;
  private readonly options: WebGpuOptions;
  /** How operands of products lie, which are then rounded to halves; null: nothing is rounded. */
  readonly halves: HalfFormat | null;
  /** With the other precision. */
  private other: WebGpuKernels | null = null;
  private readonly device: Device;
  private readonly tuner: Tuner;
  private readonly angles = new Map<string, Value>();
  /** Storages that operations made, and nobody disposed of, by the scope that they were made in. */
  private readonly scopes: Set<Storage>[] = [new Set()];

  constructor(device: Device, options: WebGpuOptions, halves: HalfFormat | null) {
    this.adapter = options.adapter;
    this.software = options.isSoftware;
    this.lost = options.lost;
    this.options = options;
    this.halves = halves;
    this.device = device;
    this.tuner = new Tuner(device, options.tuning, halves);
  }

  get precision(): Precision {
    return this.halves ? 'f16' : 'f32';
  }

  async withPrecision(precision: Precision): Promise<Kernels> {
    if (precision === this.precision) return this;
    this.other ??= await this.made(precision);
    return this.other;
  }

  private async made(precision: Precision): Promise<WebGpuKernels> {
    const halves = precision === 'f16' ? await halfFormatOf(this.device) : null;
    return new WebGpuKernels(this.device, { ...this.options, release: () => {} }, halves);
  }

  // ── tensors ───────────────────────────────────────────────────────────────────────────────────

  upload(data: Float32Array | Int32Array, shape: readonly number[]): Value {
    const value = temporary(shape, data instanceof Float32Array ? 'float32' : 'int32');
    if (value.size !== data.length) throw new SwarmError('TENSOR_SHAPE', `${data.length} elements do not fill the shape [${shape}].`);
    this.device.gpu.queue.writeBuffer(this.place(value.storage), 0, data as Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>);
    return value;
  }

  async download(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    const value = tensor as Value;
    const copy = await this.read(value);
    if (value.storage.halves) return fromHalves(new Uint16Array(copy));
    return value.dtype === 'float32' ? new Float32Array(copy) : Float32Array.from(new Int32Array(copy));
  }

  pack(rows: Tensor, format: PackedFormat): Promise<Uint8Array<ArrayBuffer>> | null {
    if (rows.shape.at(-1)! % PACKABLE[format] !== 0) return null;
    const words = this.compute((tracer) => {
      const packed = packSteps(rows as Value, format);
      tracer.steps.push(...packed.steps);
      return packed.words;
    });
    const reading = this.read(words);
    this.dispose(words);
    return reading.then((copy) => new Uint8Array(copy));
  }

  dispose(...tensors: Tensor[]): void {
    for (const tensor of tensors) {
      const { storage } = tensor as Value;
      const scope = this.scopes.find((made) => made.delete(storage));
      if (scope && storage.place.kind === 'buffer') this.device.destroy(storage.place.buffer);
    }
  }

  scope<T>(work: () => T): T {
    const made = new Set<Storage>();
    this.scopes.push(made);
    let result: T | undefined;
    try {
      result = work();
      return result;
    } finally {
      this.scopes.pop();
      const survivors = new Set(valuesIn(result).map(({ storage }) => storage));
      for (const storage of made) {
        if (survivors.has(storage)) this.scopes.at(-1)!.add(storage);
        else if (storage.place.kind === 'buffer') this.device.destroy(storage.place.buffer);
      }
    }
  }

  memory() {
    return { tensors: this.device.buffers, bytes: this.device.bytes };
  }

  close(): void {
    this.device.close();
    this.options.release();
  }

  variables(kinds: readonly VariableKind[]): Variables {
    const { device } = this;
    const formats = kinds.map((kind) => variableFormat(kind, this.halves));
    const sizes = kinds.map(({ shape }) => shape.reduce((n, axis) => n * axis, 1));
    const { chunks, places } = flatOf(
      sizes.map((size, i) => bytesEach(formats[i]!) * size),
      device.largestBuffer,
    );
    const buffers = chunks.map((bytes, i) => device.create(bytes, `parameters ${i}`));
    return {
      tensors: kinds.map(({ shape }, i) => {
        const [{ chunk, offset }, halves] = [places[i]!, formats[i]!];
        const buffer = buffers[chunk]!;
        return new Value(shape, 'float32', { bytes: buffer.size, place: { kind: 'buffer', buffer }, halves }, offset / bytesEach(halves));
      }),
      write(values) {
        if (buffers.length === 0) return; // disposed of
        let at = 0;
        for (const [i, { chunk, offset }] of places.entries()) {
          const own = values.subarray(at, at + sizes[i]!) as Float32Array<ArrayBuffer>;
          device.gpu.queue.writeBuffer(buffers[chunk]!, offset, formats[i] ? asHalves(own) : own);
          at += sizes[i]!;
        }
      },
      dispose() {
        for (const buffer of buffers.splice(0)) device.destroy(buffer);
      },
    };
  }

  programs(definitions: Readonly<Record<string, Definition>>): Programs {
    return new RecordedPrograms(this.device, this.tuner, definitions, this);
  }

  // ── operations, one by one ────────────────────────────────────────────────────────────────────

  matmul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean, addend?: Tensor): Tensor {
    return this.compute((tracer) => tracer.matmul(a, b, transposeA, transposeB, addend));
  }

  matmuls(a: Tensor, bs: readonly Tensor[], transposeA?: boolean): Tensor[] {
    return this.compute((tracer) => tracer.matmuls(a, bs, transposeA));
  }

  sumOfMatmuls(pairs: readonly (readonly [a: Tensor, b: Tensor])[]): Tensor {
    return this.compute((tracer) => tracer.sumOfMatmuls(pairs));
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.compute((tracer) => tracer.add(a, b));
  }

  rmsNorm(x: Tensor, gain: Tensor) {
    return this.compute((tracer) => tracer.rmsNorm(x, gain));
  }

  rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor, addend?: Tensor) {
    return this.compute((tracer) => tracer.rmsNormBackward(x, gain, inverse, dy, addend));
  }

  attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape): Saved {
    return this.compute((tracer) => tracer.attention(query, key, value, shape));
  }

  attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape) {
    return this.compute((tracer) => tracer.attentionBackward(saved, doutput, shape));
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    return this.compute((tracer) => tracer.swiglu(gate, up));
  }

  swigluBackward(gate: Tensor, up: Tensor, dy: Tensor) {
    return this.compute((tracer) => tracer.swigluBackward(gate, up, dy));
  }

  gatedMatmul(x: Tensor, toGate: Tensor, toUp: Tensor) {
    return this.compute((tracer) => tracer.gatedMatmul(x, toGate, toUp));
  }

  gatedMatmulOnly(x: Tensor, toGate: Tensor, toUp: Tensor): Tensor {
    return this.compute((tracer) => tracer.gatedMatmulOnly(x, toGate, toUp));
  }

  gatedMatmulBackward(gate: Tensor, up: Tensor, dy: Tensor, down: Tensor) {
    return this.compute((tracer) => tracer.gatedMatmulBackward(gate, up, dy, down));
  }

  relu(x: Tensor): Tensor {
    return this.compute((tracer) => tracer.relu(x));
  }

  reluBackward(x: Tensor, dy: Tensor): Tensor {
    return this.compute((tracer) => tracer.reluBackward(x, dy));
  }

  embedding(tokens: Tensor, table: Tensor): Tensor {
    return this.compute((tracer) => tracer.embedding(tokens, table));
  }

  embeddingBackward(rows: TokenRows, dy: Tensor, vocabulary: number): Tensor {
    return this.compute((tracer) => tracer.embeddingBackward(rows, dy, vocabulary));
  }

  crossEntropy(logits: Tensor, targets: Tensor) {
    return this.compute((tracer) => tracer.crossEntropy(logits, targets));
  }

  headLoss(y: Tensor, head: Tensor, targets: Tensor): Tensor {
    return this.compute((tracer) => tracer.headLoss(y, head, targets));
  }

  headLossBackward(y: Tensor, head: Tensor, targets: Tensor) {
    return this.compute((tracer) => tracer.headLossBackward(y, head, targets));
  }

  /** Enqueues what `work` writes down. What it made and does not return is freed. */
  private compute<T>(work: (tracer: Tracer) => T): T {
    const tracer = new Tracer(this.anglesOf, this.precision);
    return this.scope(() => {
      const result = work(tracer);
      const encoder = this.device.gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const step of tracer.steps) this.dispatch(pass, step);
      pass.end();
      this.device.gpu.queue.submit([encoder.finish()]);
      return result;
    });
  }

  private dispatch(pass: GPUComputePassEncoder, step: Step): void {
    const shader = this.tuner.choose(step).build();
    const bound = ({ storage, offset, bytes }: Value): Bound => ({ buffer: this.place(storage), offset, size: bytes });
    pass.setPipeline(this.device.pipelineNow(shader));
    pass.setBindGroup(
      0,
      this.device.bindGroup(shader, ({ value }) => bound(value)),
    );
    pass.dispatchWorkgroups(...shader.groups);
  }

  /** The storage's buffer; a new one where it has none yet. */
  private place(storage: Storage): GPUBuffer {
    if (storage.place.kind === 'buffer') return storage.place.buffer;
    const buffer = this.device.create(storage.bytes, 'tensor');
    storage.place = { kind: 'buffer', buffer };
    this.scopes.at(-1)!.add(storage);
    return buffer;
  }

  private async read({ storage, offset, bytes }: Value): Promise<ArrayBuffer> {
    const encoder = this.device.gpu.createCommandEncoder();
    const read = this.device.readback(encoder, [{ buffer: this.place(storage), offset, size: bytes }]);
    this.device.gpu.queue.submit([encoder.finish()]);
    return (await read())[0]!;
  }

  /** Rotary angles `[T, D]`, made once. */
  readonly anglesOf = ({ context, headWidth }: AttentionShape): Value => {
    const key = `${context} ${headWidth}`;
    const known = this.angles.get(key);
    if (known) return known;
    const data = rotaryAngles(context, headWidth);
    const buffer = this.device.create(data.byteLength, 'rotary angles');
    this.device.gpu.queue.writeBuffer(buffer, 0, data);
    const table = new Value([context, headWidth], 'float32', { bytes: data.byteLength, place: { kind: 'buffer', buffer }, halves: null });
    this.angles.set(key, table);
    return table;
  };
}

/** All values in a (possibly nested) result. */
function valuesIn(result: unknown): Value[] {
  if (result instanceof Value) return [result];
  if (typeof result !== 'object' || result === null || ArrayBuffer.isView(result)) return [];
  return Object.values(result).flatMap(valuesIn);
}
