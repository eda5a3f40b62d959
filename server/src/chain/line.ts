/**
 * The line to the chain, which training never waits for: it is opened in the background, again and again while that fails, and
 * what is the matter is told once.
 */
import type { Chain } from '@starling/chain';
import { SwarmError } from '@starling/protocol';

/** A node that is down, or of another chain, is tried again after so long. */
const RETRY_MS = 30_000;

export interface LinePorts {
  open(onTrouble: (error: SwarmError | null) => void): Promise<Chain>;
  /** Does `task` after so many ms, unless what it returns is called before. */
  after(ms: number, task: () => void): () => void;
  /** Something is the matter (an error), or not any more (null). */
  tell(trouble: SwarmError | null): void;
}

export class ChainLine {
  /** Null until it was reached for the first time. */
  chain: Chain | null = null;
  trouble: SwarmError | null = null;
  readonly #ports: LinePorts;
  readonly #waiting = new Set<(chain: Chain) => void>();
  #stopWaiting = () => {};
  #closed = false;

  constructor(ports: LinePorts) {
    this.#ports = ports;
  }

  /** Calls `task` with the chain as soon as there is one. */
  whenOpen(task: (chain: Chain) => void): void {
    if (this.chain) task(this.chain);
    else this.#waiting.add(task);
  }

  /** One attempt; the next ones come by themselves. Never throws. */
  async open(): Promise<void> {
    try {
      const chain = await this.#ports.open((error) => this.report(error));
      if (this.#closed) {
        await chain.close();
        return;
      }
      this.chain = chain;
      this.report(null);
      for (const task of this.#waiting) task(chain);
      this.#waiting.clear();
    } catch (error) {
      this.report(SwarmError.from(error, 'CHAIN_UNREACHABLE'));
      if (!this.#closed) this.#stopWaiting = this.#ports.after(RETRY_MS, () => void this.open());
    }
  }

  /** The same again is not told again. */
  report(error: SwarmError | null): void {
    const before = this.trouble?.message;
    this.trouble = error;
    if (before !== error?.message) this.#ports.tell(error);
  }

  /** Throws `CHAIN_UNREACHABLE` before the chain was reached for the first time. */
  get opened(): Chain {
    if (!this.chain) throw this.trouble ?? new SwarmError('CHAIN_UNREACHABLE', 'The chain was not reached yet.');
    return this.chain;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopWaiting();
    await this.chain?.close();
  }
}
