/** Bytes under their SHA-256, in memory: what is served at `/v1/blobs/:sha256`, and uploads nobody has claimed yet. */
import { SwarmError, sha256Hex } from '@starling/protocol';

/** Uploads of one miner that no message has named yet; the oldest goes first. It never needs more than two. */
const UNCLAIMED_PER_MINER = 4;

export class Blobs {
  private readonly served = new Map<string, Uint8Array>();
  /** Which stage and version keep a blob alive. */
  private readonly kept = new Map<string, { stage: number; version: number }[]>();
  private readonly uploads = new Map<string, Map<string, Uint8Array>>();

  /** Serves these bytes until `remove` or, once kept, until the last `release`. */
  async put(bytes: Uint8Array): Promise<string> {
    const hash = await sha256Hex(bytes);
    this.served.set(hash, bytes);
    return hash;
  }

  /** Throws `BLOB_NOT_FOUND`. */
  get(hash: string): Uint8Array {
    const bytes = this.served.get(hash);
    if (!bytes) throw new SwarmError('BLOB_NOT_FOUND', `No blob ${hash.slice(0, 12)}… here.`);
    return bytes;
  }

  remove(hash: string): void {
    this.served.delete(hash);
  }

  keep(hash: string, stage: number, version: number): void {
    this.kept.set(hash, [...(this.kept.get(hash) ?? []), { stage, version }]);
  }

  /** Forgets what only versions of `stage` before `version` needed. Equal bytes of two stages are one blob. */
  release(stage: number, version: number): void {
    for (const [hash, keepers] of this.kept) {
      const left = keepers.filter((keeper) => keeper.stage !== stage || keeper.version >= version);
      if (left.length > 0) {
        this.kept.set(hash, left);
      } else {
        this.kept.delete(hash);
        this.served.delete(hash);
      }
    }
  }

  /** Stores an upload until a message of the same miner claims it. Throws `BLOB_HASH_MISMATCH`. */
  async upload(minerId: string, hash: string, bytes: Uint8Array): Promise<void> {
    if ((await sha256Hex(bytes)) !== hash) {
      throw new SwarmError('BLOB_HASH_MISMATCH', `${bytes.byteLength} uploaded bytes do not hash to ${hash.slice(0, 12)}….`);
    }
    const own = this.uploads.get(minerId) ?? new Map<string, Uint8Array>();
    own.delete(hash);
    own.set(hash, bytes);
    if (own.size > UNCLAIMED_PER_MINER) own.delete(own.keys().next().value!);
    this.uploads.set(minerId, own);
  }

  /** Takes an upload of this miner. Throws `BLOB_NOT_FOUND`. */
  claim(minerId: string, hash: string): Uint8Array {
    const bytes = this.uploads.get(minerId)?.get(hash);
    if (!bytes) throw new SwarmError('BLOB_NOT_FOUND', `This miner has uploaded no blob ${hash.slice(0, 12)}….`);
    this.uploads.get(minerId)!.delete(hash);
    return bytes;
  }

  /** Drops what a miner uploaded and never named. */
  forget(minerId: string): void {
    this.uploads.delete(minerId);
  }

  get size(): number {
    return this.served.size;
  }
}
