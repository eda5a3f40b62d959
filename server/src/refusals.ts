/**
 * What a miner sent and the gateway could not even hand to the coordinator: counted and written into the miner's history
 * like every other refusal, so that its page shows it.
 */
import type { ErrorCode, SwarmError } from '@starling/protocol';
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
  /** Until when each miner has used up its right to be written about. Those that have not are not in it. */
  private readonly spent = new Map<string, number>();

  constructor(run: Run) {
    this.run = run;
  }

  /** Resolves when it is durable, or at once when it is not to be written. Never throws. */
  async record(minerId: string, error: SwarmError, leaseId: string | null): Promise<void> {
    if (error instanceof Refusal || !OF_THE_MINER.has(error.code) || !this.run.coordinator.miner(minerId)) return;
    if (!this.take(minerId, performance.now())) return;
    const { code, message } = error;
    await this.run.submit({ type: 'refused', minerId, code, message, leaseId }).catch(() => {}); // thrown by design, like every refusal
  }

  private take(minerId: string, now: number): boolean {
    const spent = Math.max(now, this.spent.get(minerId) ?? now);
    if (spent - now > (BURST - 1) * EVERY_MS) return false;
    for (const [id, until] of this.spent) if (until <= now) this.spent.delete(id);
    this.spent.set(minerId, spent + EVERY_MS);
    return true;
  }
}
