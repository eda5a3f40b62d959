/**
 * What a miner sent and the gateway could not even hand to the coordinator: counted and written into the miner's history
 * like every other refusal, so that its page shows it.
 */
import type { ErrorCode, SwarmError } from '@starling/protocol';
import { Allowance } from './allowance.ts';
import { Refusal, type Run } from './run.ts';

/** Something the miner sent was wrong. Everything else is the server's trouble, or nobody's. */
const OF_THE_MINER: ReadonlySet<ErrorCode> = new Set([
  'BAD_MESSAGE',
  'FRAME_MALFORMED',
  'FRAME_HASH_MISMATCH',
  'TENSOR_SHAPE',
  'BLOB_NOT_FOUND',
  'BLOB_HASH_MISMATCH',
  'BLOB_TOO_LARGE',
  'RECEIPT_INPUT',
  'SIGNATURE_INVALID',
]);

/**
 * So many at once, and one more a second: all of it is answered, but a flood must not fill the log. A broken miner
 * makes one or two a lease.
 */
const BURST = 20;
const EVERY_MS = 1_000;

export class Refusals {
  private readonly run: Run;
  /** To be written about, by miner. */
  private readonly allowance = new Allowance(BURST, EVERY_MS);

  constructor(run: Run) {
    this.run = run;
  }

  /** Resolves when it is durable, or at once when it is not to be written. Never throws. */
  async record(minerId: string, error: SwarmError, leaseId: string | null): Promise<void> {
    if (error instanceof Refusal || !OF_THE_MINER.has(error.code) || !this.run.coordinator.miner(minerId)) return;
    const now = performance.now();
    if (!this.allowance.has(minerId, now)) return;
    this.allowance.use(minerId, now);
    const { code, message } = error;
    await this.run.submit({ type: 'refused', minerId, code, message, leaseId }).catch(() => {}); // thrown by design, like every refusal
  }
}
