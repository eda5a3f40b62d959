/**
 * What a miner computes with: a backend on its device, which is built anew when the device is lost. Where `auto` leaves the
 * choice, wasm takes the place of a GPU that is not there or does not come back.
 */
import type { Kernels } from '@starling/kernels';
import { selfTest } from '@starling/model';
import { type Backend, explain, type Precision, SwarmError } from '@starling/protocol';
import type { Status } from './status.ts';

export interface ComputePorts {
  /** Throws SwarmError WEBGPU_UNAVAILABLE, BACKEND_FAILED or CODE_MISSING. */
  create(backend: 'webgpu' | 'wasm'): Promise<Kernels>;
  /** There is no device until `back`; what was there is gone. */
  gone(error: SwarmError): void;
  back(): void;
  /** Built anew, it would be the same: mining ends. */
  fails(error: SwarmError): void;
  /** Then nothing is built anew. */
  isStopped(): boolean;
}

const LONGEST_PAUSE_MS = 60_000;
/** A GPU driver that was reset is back within seconds; what was built so often in vain, `auto` does without. */
const GPU_TRIES = 4;

export class Compute {
  private readonly wanted: 'auto' | 'webgpu' | 'wasm';
  private readonly status: Status;
  private readonly ports: ComputePorts;
  private current: Kernels | null = null;
  /** Since the device last worked. */
  private rebuilds = 0;
  /** Why wasm is used although WebGPU was wanted. */
  private fallback: SwarmError | null = null;
  /** What computes as every other device does. */
  private readonly tested = new WeakSet<Kernels>();

  constructor(wanted: 'auto' | 'webgpu' | 'wasm', status: Status, ports: ComputePorts) {
    this.wanted = wanted;
    this.status = status;
    this.ports = ports;
  }

  /** Null while there is no device. */
  get kernels(): Kernels | null {
    return this.current;
  }

  /** It computed something that counts. */
  works(): void {
    this.rebuilds = 0;
  }

  /** Throws what makes computing impossible here. */
  async build(): Promise<void> {
    const kernels = await this.create();
    this.current = kernels;
    const made: Backend = kernels.backend;
    this.status.update({ backend: made, adapter: kernels.adapter, fallback: this.fallback?.toWire() ?? null });
    void kernels.lost.then((error) => {
      if (this.current !== kernels || this.ports.isStopped()) return;
      // Built anew, it would be given the same.
      if (error.code === 'MEMORY_SHORT') this.ports.fails(error);
      else void this.rebuild(error);
    });
  }

  private async create(): Promise<Kernels> {
    if (this.wanted === 'wasm' || this.fallback) return this.ports.create('wasm');
    let kernels: Kernels | null = null;
    try {
      kernels = await this.ports.create('webgpu');
      return await this.test(kernels);
    } catch (error) {
      kernels?.close();
      const fault = SwarmError.from(error, 'BACKEND_FAILED');
      // One that was there may come back: `rebuild` says for how long that is hoped for. What is missing says nothing of the GPU.
      if (this.wanted === 'webgpu' || this.rebuilds > 0 || fault.code === 'CODE_MISSING') throw fault;
      this.fallback = fault;
      return this.ports.create('wasm');
    }
  }

  /** These, when they compute as every other device does. Throws `DEVICE_WRONG`. */
  private async test(kernels: Kernels): Promise<Kernels> {
    // Software adapters are what every change is tested on, and compile for seconds.
    if (!kernels.software && !this.tested.has(kernels)) await selfTest(kernels);
    this.tested.add(kernels);
    return kernels;
  }

  /** The same device as a run of this precision computes on it, tested for that. Throws `DEVICE_WRONG`, which is for `refuse`. */
  async prepare(kernels: Kernels, precision: Precision): Promise<Kernels> {
    return this.test(await kernels.withPrecision(precision));
  }

  /** The device computes other numbers than it should, and would when built anew: `auto` does without. */
  refuse(error: SwarmError): void {
    if (this.wanted === 'auto' && !this.fallback) void this.rebuild(error);
    else this.ports.fails(error);
  }

  /** The device is gone or computes no more: it is built anew, after a pause that is longer each time. */
  async rebuild(error: SwarmError): Promise<void> {
    const old = this.current;
    this.current = null;
    this.ports.gone(error);
    old?.close();
    const isWrong = error.code === 'DEVICE_WRONG';
    const doWithout = this.wanted === 'auto' && !this.fallback && (isWrong || this.rebuilds >= GPU_TRIES);
    const tried = `${error.message} It was tried ${GPU_TRIES} times; the next Start tries again.`;
    if (doWithout) this.fallback = isWrong ? error : new SwarmError(error.code, tried);
    const wait = this.rebuilds === 0 || doWithout ? 0 : Math.min(LONGEST_PAUSE_MS, 1_000 * 2 ** this.rebuilds);
    this.rebuilds += 1;
    this.sayGone(error, wait);
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (this.ports.isStopped()) return;
    try {
      await this.build();
      this.status.update({ activity: 'connecting', reason: 'The device is there again; asking for a place.', waiting: null, error: null });
      this.ports.back();
    } catch (failure) {
      const fault = SwarmError.from(failure, 'BACKEND_FAILED');
      // Only a program that is loaded anew finds what is missing.
      if (fault.code === 'CODE_MISSING') this.ports.fails(fault);
      else void this.rebuild(fault);
    }
  }

  /** Says that there is no device, and when the next try is. */
  private sayGone(error: SwarmError, wait: number): void {
    const now = Date.now();
    const { waiting: before } = this.status.state;
    const since = before?.code === 'DEVICE' ? before.since : now;
    const waiting = { ...explain({ code: 'DEVICE', message: `${error.message} The device is built anew.` }), since, until: now + wait };
    this.status.act('waiting', waiting.message, waiting);
    this.status.update({ error: error.toWire() });
  }

  close(): void {
    this.current?.close();
  }
}
