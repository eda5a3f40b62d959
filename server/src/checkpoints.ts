/**
 * Checkpoints on disk: all that is needed to go on after a crash, or nothing at all.
 *
 * ```
 * DIR/blobs/<sha256>                  one tensor frame each, named by the hash of its bytes
 * DIR/manifests/<version, 12 digits>.json   sizes and hashes of all of it, and a checksum of itself
 * DIR/temporary/                      files being written; emptied at every start
 * ```
 *
 * A checkpoint exists once its manifest does, and the manifest is written last. Every file is written aside,
 * flushed, renamed, and its folder flushed, so after a power cut `latest()` finds the previous checkpoint or the
 * new one, whole. Nothing old is removed before the new manifest is durable. A lost checkpoint costs the steps
 * since the one before, nothing else.
 */
import { createHash } from 'node:crypto';
import * as nodeFileSystem from 'node:fs/promises';
import { join } from 'node:path';
import { SwarmError } from '@starling/protocol';

/** Bytes (a tensor frame) and their SHA-256 in hex. */
export interface StoredBlob {
  sha256: string;
  bytes: Uint8Array;
}

export interface StageBlobs {
  parameters: StoredBlob;
  firstMoment: StoredBlob;
  secondMoment: StoredBlob;
}

export interface Checkpoint {
  /** Parameter version of all stages. */
  version: number;
  /** Number of the next training microbatch. */
  cursor: number;
  /** Tokens trained on so far. */
  tokens: number;
  /** The coordinator's state and whatever else the server keeps; anything JSON can hold. */
  run: unknown;
  stages: StageBlobs[];
}

export interface Checkpoints {
  /**
   * Writes a checkpoint, then removes all but the newest three; calls queue up. Throws `CHECKPOINT_FAILED` with
   * the cause; what was stored before is then untouched.
   */
  save(checkpoint: Checkpoint): Promise<void>;
  /** The newest checkpoint that is whole, or null. Damaged ones are passed over and reported to `onWarning`. */
  latest(): Promise<Checkpoint | null>;
}

/** What the store asks of a disk: a part of `node:fs/promises`, so that tests can make it fail. */
export interface FileSystem {
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  readdir(path: string): Promise<string[]>;
  readFile(path: string): Promise<Uint8Array>;
  open(
    path: string,
    flags: 'r' | 'w',
  ): Promise<{ writeFile(data: Uint8Array): Promise<void>; sync(): Promise<void>; close(): Promise<void> }>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
}

interface StoreOptions {
  fs?: FileSystem;
  onWarning?: (warning: SwarmError) => void;
}

const KEEP = 3;
const TENSORS = ['parameters', 'firstMoment', 'secondMoment'] as const;
type BlobName = { sha256: string; size: number };
interface Manifest extends Omit<Checkpoint, 'stages'> {
  stages: Record<(typeof TENSORS)[number], BlobName>[];
}

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
const blobNames = (manifest: Manifest) => manifest.stages.flatMap((stage) => TENSORS.map((tensor) => stage[tensor].sha256));
const fileName = (version: number) => `${String(version).padStart(12, '0')}.json`;

function encodeManifest({ version, cursor, tokens, run, stages }: Manifest): Uint8Array {
  const body = { version, cursor, tokens, run, stages };
  return Buffer.from(`${JSON.stringify({ ...body, checksum: sha256(JSON.stringify(body)) })}\n`);
}

/** Throws when the text is cut short or altered. */
function decodeManifest(bytes: Uint8Array): Manifest {
  const { checksum, ...body } = JSON.parse(Buffer.from(bytes).toString());
  if (sha256(JSON.stringify(body)) !== checksum) throw new Error('its checksum does not match');
  return body;
}

/** Opens (and makes) the store in `dir`. Throws `CHECKPOINT_FAILED` when the folder cannot be used. */
export async function openCheckpoints(dir: string, options: StoreOptions = {}): Promise<Checkpoints> {
  const store = new Store(dir, options.fs ?? nodeFileSystem, options.onWarning ?? (() => {}));
  try {
    await store.open();
  } catch (error) {
    throw failed(`The checkpoint folder ${dir} cannot be used`, error);
  }
  return store;
}

class Store implements Checkpoints {
  readonly #fs: FileSystem;
  readonly #warn: (warning: SwarmError) => void;
  readonly #blobs: string;
  readonly #manifests: string;
  readonly #temporary: string;
  /** Checkpoints that `latest` may return, by version. */
  readonly #index = new Map<number, Manifest>();
  /** Blobs this process wrote or read back whole: the only ones that need not be written again. */
  readonly #whole = new Set<string>();
  #queue: Promise<void> = Promise.resolve();

  constructor(dir: string, fs: FileSystem, warn: (warning: SwarmError) => void) {
    this.#fs = fs;
    this.#warn = warn;
    this.#blobs = join(dir, 'blobs');
    this.#manifests = join(dir, 'manifests');
    this.#temporary = join(dir, 'temporary');
  }

  async open(): Promise<void> {
    for (const folder of [this.#blobs, this.#manifests, this.#temporary]) await this.#fs.mkdir(folder, { recursive: true });
    await this.#removeAllBut(this.#temporary, new Set());
    for (const name of await this.#fs.readdir(this.#manifests)) {
      try {
        const manifest = decodeManifest(await this.#fs.readFile(join(this.#manifests, name)));
        this.#index.set(manifest.version, manifest);
      } catch (error) {
        this.#warn(corrupt(name, error));
      }
    }
  }

  async latest(): Promise<Checkpoint | null> {
    for (const version of [...this.#index.keys()].sort((a, b) => b - a)) {
      const manifest = this.#index.get(version)!;
      try {
        const stages = [];
        for (const stage of manifest.stages) {
          const blobs = {} as StageBlobs;
          for (const tensor of TENSORS) blobs[tensor] = await this.#readBlob(stage[tensor]);
          stages.push(blobs);
        }
        return { ...manifest, stages };
      } catch (error) {
        this.#index.delete(version);
        this.#warn(corrupt(fileName(version), error));
      }
    }
    return null;
  }

  save(checkpoint: Checkpoint): Promise<void> {
    const saved = this.#queue.then(() => this.#save(checkpoint));
    this.#queue = saved.catch(() => {});
    return saved;
  }

  async #save(checkpoint: Checkpoint): Promise<void> {
    const name = (blob: StoredBlob): BlobName => ({ sha256: blob.sha256, size: blob.bytes.length });
    const manifest: Manifest = {
      ...checkpoint,
      stages: checkpoint.stages.map((stage) => ({
        parameters: name(stage.parameters),
        firstMoment: name(stage.firstMoment),
        secondMoment: name(stage.secondMoment),
      })),
    };
    const written: string[] = [];
    try {
      for (const stage of checkpoint.stages) {
        for (const tensor of TENSORS) {
          const blob = stage[tensor];
          if (this.#whole.has(blob.sha256)) continue;
          await this.#write(this.#blobs, blob.sha256, blob.bytes);
          this.#whole.add(blob.sha256);
          written.push(blob.sha256);
        }
      }
      await this.#flushFolder(this.#blobs);
      await this.#write(this.#manifests, fileName(checkpoint.version), encodeManifest(manifest));
    } catch (error) {
      await this.#forget(written);
      throw failed(`Checkpoint ${checkpoint.version} could not be written`, error);
    }
    try {
      await this.#flushFolder(this.#manifests);
    } catch (error) {
      // The manifest may or may not survive a power cut: its blobs stay until the next save replaces them.
      throw failed(`Checkpoint ${checkpoint.version} may not be durable`, error);
    }
    this.#index.set(checkpoint.version, manifest);
    await this.#prune(checkpoint.version);
  }

  /** Keeps the newest three up to `newest`; newer ones were passed over as damaged and are replaced by now. */
  async #prune(newest: number): Promise<void> {
    const versions = [...this.#index.keys()].filter((version) => version <= newest).sort((a, b) => b - a);
    const kept = new Set(versions.slice(0, KEEP));
    for (const version of this.#index.keys()) if (!kept.has(version)) this.#index.delete(version);
    const blobs = new Set([...this.#index.values()].flatMap(blobNames));
    for (const blob of this.#whole) if (!blobs.has(blob)) this.#whole.delete(blob);
    try {
      await this.#removeAllBut(this.#manifests, new Set([...kept].map(fileName)));
      await this.#flushFolder(this.#manifests);
      await this.#removeAllBut(this.#blobs, blobs);
      await this.#removeAllBut(this.#temporary, new Set());
    } catch (error) {
      this.#warn(failed(`Checkpoint ${newest} is stored, but older ones could not be removed`, error));
    }
  }

  /** After a failed save: removes what it wrote, unless an older checkpoint has the same blob. */
  async #forget(written: string[]): Promise<void> {
    const used = new Set([...this.#index.values()].flatMap(blobNames));
    for (const blob of written.filter((name) => !used.has(name))) {
      this.#whole.delete(blob);
      await this.#fs.unlink(join(this.#blobs, blob)).catch(() => {});
    }
  }

  /** Puts a whole file under its name or changes nothing. Durable once the folder is flushed, too. */
  async #write(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    const aside = join(this.#temporary, name);
    try {
      const file = await this.#fs.open(aside, 'w');
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#fs.rename(aside, join(folder, name));
    } catch (error) {
      await this.#fs.unlink(aside).catch(() => {});
      throw error;
    }
  }

  async #flushFolder(folder: string): Promise<void> {
    if (process.platform === 'win32') return; // Windows opens no folders; NTFS journals its names by itself
    const handle = await this.#fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async #readBlob({ sha256: name, size }: BlobName): Promise<StoredBlob> {
    const bytes = await this.#fs.readFile(join(this.#blobs, name));
    if (bytes.length !== size || sha256(bytes) !== name) throw new Error(`blob ${name} is damaged`);
    this.#whole.add(name);
    return { sha256: name, bytes };
  }

  async #removeAllBut(folder: string, kept: ReadonlySet<string>): Promise<void> {
    for (const name of await this.#fs.readdir(folder)) {
      if (!kept.has(name)) await this.#fs.unlink(join(folder, name));
    }
  }
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));
const failed = (what: string, cause: unknown) => new SwarmError('CHECKPOINT_FAILED', `${what}: ${reason(cause)}.`, { cause });
const corrupt = (file: string, cause: unknown) => new SwarmError('CHECKPOINT_CORRUPT', `Checkpoint ${file}: ${reason(cause)}.`, { cause });
