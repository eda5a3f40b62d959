/** A WebGPU device of our own: buffers that are counted, pipelines that are made once, numbers read back. */
import { SwarmError } from '@starling/protocol';
import { ALIGNMENT } from './plan.ts';
import type { Binding, Shader } from './shader.ts';

export interface Bound {
  buffer: GPUBuffer;
  offset: number;
  size: number;
}

/** FLOP per ms of an integrated graphics unit: what is not known to be quicker is treated so. */
const SLOW = 50e6;

/** Read-back buffers that wait for their next use. */
const MOST_SPARE = 4;

export class Device {
  readonly gpu: GPUDevice;
  /** Computes on the processor: there barriers are dear and workgroup memory wins nothing. */
  readonly isSoftware: boolean;
  readonly name: string;
  /** Invocations can read from each other. */
  readonly hasSubgroups: boolean;
  /** FLOP per ms, as far as runs have shown; at first that of a slow one. */
  speed = SLOW;
  bytes = 0;
  buffers = 0;
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  private readonly pipelines = new Map<string, GPUComputePipeline | Promise<GPUComputePipeline>>();
  private readonly spare: GPUBuffer[] = [];

  constructor(gpu: GPUDevice, name: string, isSoftware: boolean) {
    this.gpu = gpu;
    this.name = name;
    this.isSoftware = isSoftware;
    this.hasSubgroups = gpu.features.has('subgroups');
    if (gpu.limits.minStorageBufferOffsetAlignment > ALIGNMENT)
      throw new SwarmError('BACKEND_FAILED', `This GPU wants bindings aligned to ${gpu.limits.minStorageBufferOffsetAlignment} bytes.`);
  }

  /** Bytes. */
  get largestBuffer(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.gpu.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  /** Zeros. Throws `MEMORY_SHORT` for more than the device has in one piece. */
  create(bytes: number, label: string): GPUBuffer {
    const size = Math.max(4, bytes);
    if (size > this.largestBuffer) {
      const [needed, most] = [size, this.largestBuffer].map((number) => (number / 1e6).toFixed(0));
      throw new SwarmError('MEMORY_SHORT', `${label} needs ${needed} MB in one piece; this device has ${most} MB at most.`);
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = this.gpu.createBuffer({ label, size, usage });
    this.bytes += size;
    this.buffers += 1;
    return buffer;
  }

  destroy(buffer: GPUBuffer): void {
    this.bytes -= buffer.size;
    this.buffers -= 1;
    buffer.destroy();
  }

  /** Runs `create`, and throws `MEMORY_SHORT` when the device has not as much as it makes. `bytes` in all, for the message. */
  async reserve<T>(bytes: number, what: string, create: () => T): Promise<T> {
    this.gpu.pushErrorScope('out-of-memory');
    const made = create();
    const error = await this.gpu.popErrorScope();
    if (error)
      throw new SwarmError('MEMORY_SHORT', `${what} needs ${(bytes / 1e6).toFixed(1)} MB, which the GPU does not have (${error.message}).`);
    return made;
  }

  pipelineNow({ code, bindings }: Shader): GPUComputePipeline {
    const known = this.pipelines.get(code);
    if (known && !(known instanceof Promise)) return known;
    const made = this.gpu.createComputePipeline(this.describe(code, bindings));
    this.pipelines.set(code, made);
    return made;
  }

  async pipeline({ code, bindings }: Shader): Promise<GPUComputePipeline> {
    const known = this.pipelines.get(code);
    if (known) return known;
    // A module that is not WGSL to this device's compiler is the scope's business, not the device's end.
    this.gpu.pushErrorScope('validation');
    const making = this.gpu.createComputePipelineAsync(this.describe(code, bindings));
    const fault = this.gpu.popErrorScope();
    this.pipelines.set(code, making);
    try {
      const made = await making;
      this.pipelines.set(code, made);
      return made;
    } catch (error) {
      this.pipelines.delete(code);
      throw new SwarmError('BACKEND_FAILED', (await fault)?.message ?? (error as Error).message);
    }
  }

  bindGroup({ bindings }: Shader, boundOf: (binding: Binding) => Bound): GPUBindGroup {
    return this.gpu.createBindGroup({
      layout: this.layoutOf(bindings),
      entries: bindings.map((binding, i) => ({ binding: i, resource: boundOf(binding) })),
    });
  }

  /** A copy of these parts, one after the other, enqueued with `encoder`; call the result once it is submitted. */
  readback(encoder: GPUCommandEncoder, parts: readonly Bound[]): () => Promise<ArrayBuffer[]> {
    const total = parts.reduce((sum, { size }) => sum + size, 0);
    const staging = this.takeStaging(total);
    let at = 0;
    for (const { buffer, offset, size } of parts) {
      encoder.copyBufferToBuffer(buffer, offset, staging, at, size);
      at += size;
    }
    return async () => {
      try {
        await staging.mapAsync(GPUMapMode.READ, 0, total);
      } catch (error) {
        throw new SwarmError('DEVICE_LOST', `The GPU gave nothing back (${(error as Error).message}).`);
      }
      const mapped = staging.getMappedRange(0, total);
      let from = 0;
      const copies = parts.map(({ size }) => {
        from += size;
        return mapped.slice(from - size, from);
      });
      staging.unmap();
      if (this.spare.length < MOST_SPARE) this.spare.push(staging);
      else staging.destroy();
      return copies;
    };
  }

  close(): void {
    for (const buffer of this.spare) buffer.destroy();
    this.spare.length = 0;
  }

  private takeStaging(bytes: number): GPUBuffer {
    const at = this.spare.findIndex(({ size }) => size >= bytes);
    if (at >= 0) return this.spare.splice(at, 1)[0]!;
    if (this.spare.length === MOST_SPARE) this.spare.shift()!.destroy(); // all are too small
    return this.gpu.createBuffer({ label: 'readback', size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  }

  private describe(code: string, bindings: readonly Binding[]): GPUComputePipelineDescriptor {
    return {
      layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [this.layoutOf(bindings)] }),
      compute: { module: this.gpu.createShaderModule({ code }) },
    };
  }

  private layoutOf(bindings: readonly Binding[]): GPUBindGroupLayout {
    const key = bindings.map(({ write }) => (write ? 'w' : 'r')).join('');
    const known = this.layouts.get(key);
    if (known) return known;
    const made = this.gpu.createBindGroupLayout({
      entries: bindings.map(({ write }, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: write ? 'storage' : 'read-only-storage' },
      })),
    });
    this.layouts.set(key, made);
    return made;
  }
}
