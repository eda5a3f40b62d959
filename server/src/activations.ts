/**
 * Tensors between stages, as the frames they arrived in: the input of every stage and the gradient of its output, for
 * each microbatch, kept until that stage has merged the step. So a lost miner costs one lease and never a microbatch.
 */
import { encodeFrame, INLINE_LIMIT, type Payload, sha256Hex, type TensorData } from '@starling/protocol';
import type { Blobs } from './blobs.ts';

export interface StoredTensor {
  payload: Payload;
  frame: Uint8Array;
  /** SHA-256 of the tensor's bytes, as receipts name it. */
  hash: string;
}

export type Purpose = 'train' | 'validate';
export type Slot = 'input' | 'outputGradient' | 'targets';

export class Activations {
  private readonly steps = new Map<string, Map<string, StoredTensor>>();
  private readonly blobs: Blobs;

  constructor(blobs: Blobs) {
    this.blobs = blobs;
  }

  /** Prepares a tensor for sending: small ones travel in the message, large ones as a blob. `put` then keeps it. */
  async prepare(frame: Uint8Array, hash: string): Promise<StoredTensor> {
    return { payload: frame.byteLength <= INLINE_LIMIT ? frame : { blob: await sha256Hex(frame) }, frame, hash };
  }

  async encode(data: TensorData, shape: readonly number[]): Promise<StoredTensor> {
    return this.prepare(await encodeFrame(data, shape), await sha256Hex(data));
  }

  put(stage: number, version: number, purpose: Purpose, microbatch: number, slot: Slot, tensor: StoredTensor): void {
    const key = `${stage}@${version}`;
    const step = this.steps.get(key) ?? new Map<string, StoredTensor>();
    step.set(`${purpose} ${microbatch} ${slot}`, tensor);
    this.steps.set(key, step);
    if ('blob' in tensor.payload) this.blobs.add(tensor.payload.blob, tensor.frame, `activations ${key}`);
  }

  get(stage: number, version: number, purpose: Purpose, microbatch: number, slot: Slot): StoredTensor | undefined {
    return this.steps.get(`${stage}@${version}`)?.get(`${purpose} ${microbatch} ${slot}`);
  }

  release(stage: number, version: number): void {
    const key = `${stage}@${version}`;
    this.blobs.release(`activations ${key}`);
    this.steps.delete(key);
  }
}
