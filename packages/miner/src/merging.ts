/** A miner's part in the merges of one term: its gradient in shards, the shards it adds up for others, and what comes of them. */
import { type Reduce, SwarmError, sha256Hex } from '@starling/protocol';
import { type Bytes, type ErrorFeedback, type Formats, ShardedGradient, type Vector } from '@starling/reduce';
import type { BlobClient } from './blob-client.ts';
import type { HeldStage } from './held-stage.ts';

/** Requests on the wire at once: enough to fill a home line, few enough to leave other things a chance. */
const AT_ONCE = 4;

/** A gradient that is handed in. */
interface HandedIn {
  round: number;
  /** In the order they were added up. */
  microbatches: number[];
  /** Uploads all shards that are not there, and returns their names. */
  upload(): Promise<string[]>;
  /** It was not taken: what it said is still to be said. */
  takeBack(): void;
}

export class Merging {
  private readonly formats: Formats;
  private readonly held: HeldStage;
  private readonly blobs: BlobClient;
  private readonly signal: AbortSignal;
  private readonly feedback: ErrorFeedback | null;
  /** The newest gradient, in case the server asks again. */
  private handedIn: HandedIn | null = null;
  /** Bytes that are here, of this step's merge and the one before, by name: they need not be fetched. */
  private own = new Map<string, Uint8Array>();
  private older = new Map<string, Uint8Array>();

  constructor(formats: Formats, held: HeldStage, blobs: BlobClient, signal: AbortSignal, feedback: ErrorFeedback | null) {
    this.formats = formats;
    this.held = held;
    this.blobs = blobs;
    this.signal = signal;
    this.feedback = feedback;
  }

  /** The gradient of this round, in so many shards; the same when it is asked for again. Throws `CONTRIBUTION_MISMATCH`. */
  async gradientOf(round: number, count: number): Promise<HandedIn> {
    if (this.handedIn?.round === round) return this.handedIn;
    const taken = await this.held.takeGradient(round);
    if (!taken) throw new SwarmError('CONTRIBUTION_MISMATCH', `The gradient of round ${round} is not here.`);
    const { feedback } = this;
    const before = feedback?.residual.slice();
    const encoded = this.sharded(count).encode(taken.sum, feedback);
    this.handedIn = {
      round,
      microbatches: taken.microbatches,
      upload: () => this.upload(encoded),
      takeBack: () => before && feedback!.residual.set(before),
    };
    return this.handedIn;
  }

  /** Uploads the sum of a shard's contributions and returns its name; null when they are not to be had any more. */
  async reduce({ shard, shards, contributions }: Reduce): Promise<string | null> {
    const uploads = await this.fetch(contributions.map(({ hash }) => hash)).catch((error: unknown) => {
      if (error instanceof SwarmError && error.code === 'BLOB_NOT_FOUND') return null;
      throw error;
    });
    if (!uploads) return null;
    const sum = this.sharded(shards).reduce(
      shard,
      contributions.map(({ scale }, i) => ({ bytes: uploads[i]!, scale })),
    );
    const [hash] = await this.upload([sum]);
    return hash!;
  }

  /** The merged gradient `[n]` of these shards; afterwards a new step begins. */
  async merged(shards: readonly string[]): Promise<Vector> {
    const parts = await this.fetch(shards);
    this.older = this.own;
    this.own = new Map();
    return this.sharded(shards.length).assemble(parts);
  }

  /** True for the gradient that was asked for last. */
  holds(round: number): boolean {
    return this.handedIn?.round === round;
  }

  /** Has these ready for `merged`. Whatever does not come now will be asked for then. */
  prefetch(shards: readonly string[]): void {
    const { own } = this;
    inTurn(shards, async (hash) => {
      if (!this.here(hash)) own.set(hash, await this.blobs.get(hash, this.signal));
    }).catch(() => {});
  }

  private here(hash: string): Uint8Array | undefined {
    return this.own.get(hash) ?? this.older.get(hash);
  }

  private sharded(count: number): ShardedGradient {
    return new ShardedGradient(this.formats, this.held.layout.size, count);
  }

  private upload(shards: readonly Bytes[]): Promise<string[]> {
    return inTurn(shards, async (bytes) => {
      const hash = await sha256Hex(bytes);
      this.own.set(hash, bytes);
      return this.blobs.put(bytes, this.signal, hash);
    });
  }

  private fetch(hashes: readonly string[]): Promise<Uint8Array[]> {
    return inTurn(hashes, async (hash) => this.here(hash) ?? this.blobs.get(hash, this.signal));
  }
}

/** As `map`, a few at once. */
async function inTurn<T, U>(items: readonly T[], task: (item: T) => Promise<U>): Promise<U[]> {
  const results = new Array<U>(items.length);
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await task(items[at]!);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  return results;
}
