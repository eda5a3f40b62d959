/** Bytes under their SHA-256, in memory: what is served at `/v1/blobs/:sha256`, and uploads nobody has claimed yet. */
import { SwarmError, sha256Hex } from '@starling/protocol';

/** Uploads of one miner that no message has named yet; the oldest goes first. It never needs more than two. */
const UNCLAIMED_PER_MINER = 4;

export class Blobs {
  /** A blob lives while it has an owner; equal bytes of two owners are one blob. */
  private readonly served = new Map<string, { bytes: Uint8Array; owners: Set<string> }>();
  private readonly owned = new Map<string, Set<string>>();
  private readonly uploads = new Map<string, Map<string, Uint8Array>>();

  /** Serves these bytes until `owner` is released. */
  async put(bytes: Uint8Array, owner: string): Promise<string> {
    const hash = await sha256Hex(bytes);
    this.add(hash, bytes, owner);
    return hash;
  }

  /** As `put`, for bytes whose hash is known. */
  add(hash: string, bytes: Uint8Array, owner: string): void {
    const blob = this.served.get(hash) ?? { bytes, owners: new Set() };
    this.served.set(hash, blob);
    blob.owners.add(owner);
    const hashes = this.owned.get(owner) ?? new Set();
    this.owned.set(owner, hashes.add(hash));
  }

  /** Throws `BLOB_NOT_FOUND`. */
  get(hash: string): Uint8Array {
    const blob = this.served.get(hash);
    if (!blob) throw new SwarmError('BLOB_NOT_FOUND', `No blob ${hash.slice(0, 12)}… here.`);
    return blob.bytes;
  }

  /** Forgets what only this owner kept. */
  release(owner: string): void {
    for (const hash of this.owned.get(owner) ?? []) {
      const { owners } = this.served.get(hash)!;
      owners.delete(owner);
      if (owners.size === 0) this.served.delete(hash);
    }
    this.owned.delete(owner);
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
}
