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
import { join } from 'node:path';
import { SwarmError } from '@starling/protocol';
import { DurableFiles, type FileSystem } from './durable-files.ts';

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
  /** Versions that are kept, ascending. */
  versions(): number[];
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
  const store = new Store(dir, options.fs, options.onWarning ?? (() => {}));
  try {
    await store.open();
  } catch (error) {
    throw failed(`The checkpoint folder ${dir} cannot be used`, error);
  }
  return store;
}

class Store implements Checkpoints {
  readonly #files: DurableFiles;
  readonly #warn: (warning: SwarmError) => void;
  readonly #blobs: string;
  readonly #manifests: string;
  /** Checkpoints that `latest` may return, by version. */
  readonly #index = new Map<number, Manifest>();
  /** Blobs this process wrote or read back whole: the only ones that need not be written again. */
  readonly #whole = new Set<string>();
  #queue: Promise<void> = Promise.resolve();

  constructor(dir: string, fs: FileSystem | undefined, warn: (warning: SwarmError) => void) {
    this.#files = new DurableFiles(join(dir, 'temporary'), fs);
    this.#warn = warn;
    this.#blobs = join(dir, 'blobs');
    this.#manifests = join(dir, 'manifests');
  }

  async open(): Promise<void> {
    await this.#files.open(this.#blobs, this.#manifests);
    for (const name of await this.#files.list(this.#manifests)) {
      try {
        const manifest = decodeManifest(await this.#files.read(this.#manifests, name));
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

  versions(): number[] {
    return [...this.#index.keys()].sort((a, b) => a - b);
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
          await this.#files.write(this.#blobs, blob.sha256, blob.bytes);
          this.#whole.add(blob.sha256);
          written.push(blob.sha256);
        }
      }
      await this.#files.flush(this.#blobs);
      await this.#files.write(this.#manifests, fileName(checkpoint.version), encodeManifest(manifest));
    } catch (error) {
      await this.#forget(written);
      throw failed(`Checkpoint ${checkpoint.version} could not be written`, error);
    }
    try {
      await this.#files.flush(this.#manifests);
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
      await this.#files.removeAllBut(this.#manifests, new Set([...kept].map(fileName)));
      await this.#files.flush(this.#manifests);
      await this.#files.removeAllBut(this.#blobs, blobs);
      await this.#files.emptyTemporary();
    } catch (error) {
      this.#warn(failed(`Checkpoint ${newest} is stored, but older ones could not be removed`, error));
    }
  }

  /** After a failed save: removes what it wrote, unless an older checkpoint has the same blob. */
  async #forget(written: string[]): Promise<void> {
    const used = new Set([...this.#index.values()].flatMap(blobNames));
    for (const blob of written.filter((name) => !used.has(name))) {
      this.#whole.delete(blob);
      await this.#files.remove(this.#blobs, blob).catch(() => {});
    }
  }

  async #readBlob({ sha256: name, size }: BlobName): Promise<StoredBlob> {
    const bytes = await this.#files.read(this.#blobs, name);
    if (bytes.length !== size || sha256(bytes) !== name) throw new Error(`blob ${name} is damaged`);
    this.#whole.add(name);
    return { sha256: name, bytes };
  }
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));
const failed = (what: string, cause: unknown) => new SwarmError('CHECKPOINT_FAILED', `${what}: ${reason(cause)}.`, { cause });
const corrupt = (file: string, cause: unknown) => new SwarmError('CHECKPOINT_CORRUPT', `Checkpoint ${file}: ${reason(cause)}.`, { cause });
