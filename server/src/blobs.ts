/**
 * Bytes under their SHA-256: what is served at `/v1/blobs/:sha256`, and uploads nobody has claimed yet. All of it is in
 * memory; what must outlast the process is on disk as well, before anybody is told that it is there.
 */
import { SwarmError, sha256Hex } from '@starling/protocol';
import { DurableFiles, type FileSystem } from './durable-files.ts';

/** Uploads of one miner that no message has named yet, at most; the oldest go first. */
export interface Unclaimed {
  uploads: number;
  bytes: number;
}

export class Blobs {
  /** A blob lives while it has an owner; equal bytes of two owners are one blob. */
  private readonly served = new Map<string, { bytes: Uint8Array; owners: Set<string> }>();
  private readonly owned = new Map<string, Set<string>>();
  private readonly uploads = new Map<string, Map<string, Uint8Array>>();
  private readonly files: DurableFiles;
  private readonly folder: string;
  private readonly onDisk = new Set<string>();
  /** What is under way on disk, by name: one thing at a time. */
  private readonly busy = new Map<string, Promise<unknown>>();

  private readonly unclaimed: Unclaimed;

  private constructor(files: DurableFiles, folder: string, unclaimed: Unclaimed) {
    this.files = files;
    this.folder = folder;
    this.unclaimed = unclaimed;
  }

  /** `folder` holds the durable ones, `temporary` those being written. Throws `STORE_FAILED` when they cannot be used. */
  static async open(folder: string, temporary: string, unclaimed: Unclaimed, fs?: FileSystem): Promise<Blobs> {
    const files = new DurableFiles(temporary, fs);
    try {
      await files.open(folder);
      const blobs = new Blobs(files, folder, unclaimed);
      for (const name of await files.list(folder)) blobs.onDisk.add(name);
      return blobs;
    } catch (error) {
      throw failed(`The folder ${folder} cannot be used`, error);
    }
  }

  /** Serves these bytes until `owner` is released. */
  async put(bytes: Uint8Array, owner: string): Promise<string> {
    const hash = await sha256Hex(bytes);
    this.add(hash, bytes, owner);
    return hash;
  }

  /** As `put`, and on disk when it resolves. Throws `STORE_FAILED`. */
  async putDurably(bytes: Uint8Array, owner: string): Promise<string> {
    const hash = await this.put(bytes, owner);
    try {
      await this.write(hash, bytes);
    } catch (error) {
      this.disown(hash, owner);
      throw error;
    }
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

  /** Serves what a process before this one put on disk. Throws `BLOB_NOT_FOUND` when it is not there, or not whole. */
  async restore(hash: string, owner: string): Promise<Uint8Array> {
    const known = this.served.get(hash);
    const bytes = known?.bytes ?? (await this.read(hash));
    this.add(hash, bytes, owner);
    return bytes;
  }

  /** Throws `BLOB_NOT_FOUND`. */
  get(hash: string): Uint8Array {
    const blob = this.served.get(hash);
    if (!blob) throw new SwarmError('BLOB_NOT_FOUND', `No blob ${hash.slice(0, 12)}… here.`);
    return blob.bytes;
  }

  /** Who keeps it; nobody where it is not served. */
  ownersOf(hash: string): string[] {
    return [...(this.served.get(hash)?.owners ?? [])];
  }

  /** Forgets what only this owner kept. */
  release(owner: string): void {
    for (const hash of [...(this.owned.get(owner) ?? [])]) this.disown(hash, owner);
  }

  /** Removes from disk what nobody owns: what a process before this one left. */
  async removeUnowned(): Promise<void> {
    for (const hash of [...this.onDisk]) await this.tidy(hash);
  }

  /** Stores an upload until a message of the same miner claims it; it is on disk then. Throws `BLOB_HASH_MISMATCH`, `STORE_FAILED`. */
  async upload(minerId: string, hash: string, bytes: Uint8Array): Promise<void> {
    if ((await sha256Hex(bytes)) !== hash) {
      throw new SwarmError('BLOB_HASH_MISMATCH', `${bytes.byteLength} uploaded bytes do not hash to ${hash.slice(0, 12)}….`);
    }
    const own = this.uploads.get(minerId) ?? new Map<string, Uint8Array>();
    own.delete(hash);
    own.set(hash, bytes);
    this.uploads.set(minerId, own);
    this.dropOldest(minerId, own);
    await this.write(hash, bytes);
  }

  /** But never the newest: what is too large by itself is refused before its bytes are read. */
  private dropOldest(minerId: string, own: ReadonlyMap<string, Uint8Array>): void {
    let bytes = 0;
    for (const upload of own.values()) bytes += upload.byteLength;
    for (const [hash, upload] of own) {
      if (own.size === 1 || (own.size <= this.unclaimed.uploads && bytes <= this.unclaimed.bytes)) return;
      bytes -= upload.byteLength;
      this.dropUpload(minerId, hash);
    }
  }

  /** An upload of this miner, which stays until it is adopted or dropped. Throws `BLOB_NOT_FOUND`. */
  uploaded(minerId: string, hash: string): Uint8Array {
    const bytes = this.uploads.get(minerId)?.get(hash);
    if (!bytes) throw new SwarmError('BLOB_NOT_FOUND', `This miner has uploaded no blob ${hash.slice(0, 12)}….`);
    return bytes;
  }

  /** Serves an upload until `owner` is released. */
  adopt(minerId: string, hash: string, owner: string): void {
    this.add(hash, this.uploaded(minerId, hash), owner);
    this.dropUpload(minerId, hash);
  }

  dropUpload(minerId: string, hash: string): void {
    const own = this.uploads.get(minerId);
    if (!own?.delete(hash)) return;
    if (own.size === 0) this.uploads.delete(minerId);
    void this.tidy(hash);
  }

  /** Drops what a miner uploaded and never named. */
  forget(minerId: string): void {
    for (const hash of [...(this.uploads.get(minerId)?.keys() ?? [])]) this.dropUpload(minerId, hash);
  }

  // ── disk ──────────────────────────────────────────────────────────────────────────────────────

  private async write(hash: string, bytes: Uint8Array): Promise<void> {
    await this.alone(hash, async () => {
      if (this.onDisk.has(hash)) return;
      try {
        await this.files.write(this.folder, hash, bytes);
        await this.files.flush(this.folder);
      } catch (error) {
        throw failed(`${bytes.byteLength} bytes could not be stored`, error);
      }
      this.onDisk.add(hash);
    });
    void this.tidy(hash); // whoever wanted it may have gone meanwhile
  }

  private async read(hash: string): Promise<Uint8Array> {
    try {
      const bytes = await this.files.read(this.folder, hash);
      if ((await sha256Hex(bytes)) === hash) return bytes;
    } catch {}
    throw new SwarmError('BLOB_NOT_FOUND', `Blob ${hash.slice(0, 12)}… is not in ${this.folder}, or is damaged.`);
  }

  private disown(hash: string, owner: string): void {
    const hashes = this.owned.get(owner);
    hashes?.delete(hash);
    if (hashes?.size === 0) this.owned.delete(owner);
    const blob = this.served.get(hash);
    blob?.owners.delete(owner);
    if (blob?.owners.size === 0) this.served.delete(hash);
    void this.tidy(hash);
  }

  /** Removes it from disk when nobody has it any more. A file that stays is found at the next start. */
  private async tidy(hash: string): Promise<void> {
    if (!this.onDisk.has(hash) || this.isWanted(hash)) return;
    await this.alone(hash, async () => {
      if (!this.onDisk.has(hash) || this.isWanted(hash)) return;
      this.onDisk.delete(hash);
      await this.files.remove(this.folder, hash);
    }).catch(() => {});
  }

  private isWanted(hash: string): boolean {
    if (this.served.has(hash)) return true;
    for (const own of this.uploads.values()) if (own.has(hash)) return true;
    return false;
  }

  private async alone(hash: string, task: () => Promise<void>): Promise<void> {
    const before = this.busy.get(hash) ?? Promise.resolve();
    const done = before.then(task, task);
    this.busy.set(hash, done);
    try {
      await done;
    } finally {
      if (this.busy.get(hash) === done) this.busy.delete(hash);
    }
  }
}

const failed = (what: string, cause: unknown) =>
  new SwarmError('STORE_FAILED', `${what}: ${cause instanceof Error ? cause.message : cause}.`, { cause });
