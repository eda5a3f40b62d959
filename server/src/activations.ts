/**
 * Tensors between stages, as the frames they arrived in: the input of every stage and the gradient of its output, for
 * each microbatch, kept until that stage has merged the step. So a lost miner costs one lease and never a microbatch.
 * What receipts brought is also in the store, so that a killed server costs nothing either.
 */
import { encodeFrame, INLINE_LIMIT, type Payload, sha256Hex, type TensorData } from '@starling/protocol';
import type { StoredTensor as Row } from '@starling/store';
import type { Blobs } from './blobs.ts';

export interface StoredTensor {
  payload: Payload;
  frame: Uint8Array;
  /** SHA-256 of the tensor's bytes, as receipts name it. */
  hash: string;
}

export type Purpose = 'train' | 'validate';
export type Slot = 'input' | 'outputGradient' | 'targets' | 'tokens';

/** Which tensor. */
export interface Key {
  stage: number;
  version: number;
  purpose: Purpose;
  microbatch: number;
  slot: Slot;
}

export const scopeOf = (stage: number, version: number) => `${stage}@${version}`;
const nameOf = ({ purpose, microbatch, slot }: Key) => `${purpose} ${microbatch} ${slot}`;
const ownerOf = (scope: string) => `activations ${scope}`;

export class Activations {
  private readonly scopes = new Map<string, Map<string, StoredTensor>>();
  private readonly blobs: Blobs;

  constructor(blobs: Blobs) {
    this.blobs = blobs;
  }

  /** Takes what the store has kept. Throws `BLOB_NOT_FOUND`. */
  async restore(rows: readonly Row[]): Promise<void> {
    for (const { scope, name, hash, frame, blob } of rows) {
      const bytes = blob === null ? frame! : await this.blobs.restore(blob, ownerOf(scope));
      this.scopeAt(scope).set(name, { payload: blob === null ? bytes : { blob }, frame: bytes, hash });
    }
  }

  /** Makes a tensor for sending: small ones travel in the message, large ones as a blob. `put` then keeps it. */
  async encode(data: TensorData, shape: readonly number[]): Promise<StoredTensor> {
    const frame = await encodeFrame(data, shape);
    const hash = await sha256Hex(data);
    return { payload: frame.byteLength <= INLINE_LIMIT ? frame : { blob: await sha256Hex(frame) }, frame, hash };
  }

  put(key: Key, tensor: StoredTensor): void {
    const scope = scopeOf(key.stage, key.version);
    this.scopeAt(scope).set(nameOf(key), tensor);
    if ('blob' in tensor.payload) this.blobs.add(tensor.payload.blob, tensor.frame, ownerOf(scope));
  }

  /** As the store keeps it. */
  row(key: Key, { payload, frame, hash }: StoredTensor): Row {
    const blob = 'blob' in payload ? payload.blob : null;
    return { scope: scopeOf(key.stage, key.version), name: nameOf(key), hash, frame: blob === null ? frame : null, blob };
  }

  get(key: Key): StoredTensor | undefined {
    return this.scopes.get(scopeOf(key.stage, key.version))?.get(nameOf(key));
  }

  release(stage: number, version: number): void {
    const scope = scopeOf(stage, version);
    this.blobs.release(ownerOf(scope));
    this.scopes.delete(scope);
  }

  private scopeAt(scope: string): Map<string, StoredTensor> {
    const known = this.scopes.get(scope);
    if (known) return known;
    const made = new Map<string, StoredTensor>();
    this.scopes.set(scope, made);
    return made;
  }
}
