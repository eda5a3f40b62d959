/**
 * The thread in which `@polkadot/api` talks to a node. The library throws where nobody can catch it when a node does not speak
 * JSON-RPC, keeps what it does not know, and writes on the console: here that costs a thread at worst, and what was asked of it
 * (`CHAIN_UNREACHABLE`). Nobody who has no node of subtensor loads the library at all.
 */
import { Worker } from 'node:worker_threads';
import { SwarmError, type WireError } from '@starling/protocol';
import type { Call, Head, Included, Metagraph } from '../chain.ts';

/** Does `task` after so many ms, unless what it returns is called before. */
export type After = (ms: number, task: () => void) => () => void;
export type Sign = (text: Uint8Array) => Promise<Uint8Array> | Uint8Array;

export interface Where {
  endpoint: string;
  netuid: number;
  /** 64 hex digits; null: whichever chain is there. */
  genesis: string | null;
}

/** A call that is in a final block, or the runtime's name for why it is not. */
export type Sent = Included | { refused: string; what: string };

/** What can be asked of a node. */
export interface Questions {
  /** Genesis hash, 64 hex digits. */
  network(): Promise<string>;
  head(): Promise<Head>;
  metagraph(): Promise<Metagraph>;
  balance(account: string): Promise<bigint>;
  /** Block of the last epoch. */
  lastStep(): Promise<number>;
  send(call: Call, signer: string): Promise<Sent>;
  /** Ends the line. */
  leave(): Promise<void>;
}
export type Question = keyof Questions;
type Answered<Q extends Question> = Awaited<ReturnType<Questions[Q]>>;

export type Told =
  | { [Q in Question]: { id: number; where: Where; question: Q; args: Parameters<Questions[Q]> } }[Question]
  | { id: number; signature: Uint8Array };
export type Said = { id: number; answer: unknown } | { id: number; error: WireError } | { id: number; toSign: Uint8Array };

interface Waiting {
  sign: Sign | null;
  resolve(answer: unknown): void;
  reject(error: SwarmError): void;
  stopWaiting(): void;
}

interface Limits {
  ms: number;
  /** Said when the time is over. */
  late: string;
  after: After;
  sign?: Sign;
}

/** The library and a runtime take less than half of that; a node that sends without end is stopped there. */
const HEAP_MB = 512;

export class ApiThread {
  /** Whoever needs one next need not wait for the library to load. */
  static readonly #parked: ApiThread[] = [];
  /** Why nothing can be asked any more. */
  ended: SwarmError | null = null;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;

  static take(): ApiThread {
    for (let one = ApiThread.#parked.pop(); one; one = ApiThread.#parked.pop()) if (!one.ended) return one;
    return new ApiThread();
  }

  private constructor() {
    this.#worker = new Worker(new URL('./api-worker.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    this.#worker.on('message', (said: Said) => void this.#hear(said));
    const lost = (why: string) => this.#end(`The thread that talks to the node was lost: ${why}.`);
    this.#worker.on('error', (error) => lost(error instanceof Error ? error.message : String(error)));
    this.#worker.on('exit', () => lost('it ended'));
    this.#worker.unref(); // it is the deadlines of what is asked that keep a process alive
  }

  /** Throws `CHAIN_UNREACHABLE`, `CHAIN_WRONG_NETWORK`, `CHAIN_INCOMPATIBLE`, or `CHAIN_REFUSED` when the node refuses. */
  async ask<Q extends Question>(where: Where, question: Q, args: Parameters<Questions[Q]>, limits: Limits): Promise<Answered<Q>> {
    if (this.ended) throw this.ended;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++this.#count;
    const stopWaiting = limits.after(limits.ms, () => this.#end(limits.late));
    this.#waiting.set(id, { sign: limits.sign ?? null, resolve, reject, stopWaiting });
    this.#worker.postMessage({ id, where, question, args } as Told);
    return (await promise) as Answered<Q>;
  }

  /** Ends its line; then another chain may have it. */
  async park(where: Where, limits: Limits): Promise<void> {
    await this.ask(where, 'leave', [], limits);
    ApiThread.#parked.push(this);
  }

  #end(why: string): void {
    if (this.ended) return;
    this.ended = new SwarmError('CHAIN_UNREACHABLE', why);
    void this.#worker.terminate();
    for (const { stopWaiting, reject } of this.#waiting.values()) {
      stopWaiting();
      reject(this.ended);
    }
    this.#waiting.clear();
  }

  async #hear(said: Said): Promise<void> {
    const waiting = this.#waiting.get(said.id);
    if (!waiting) return;
    if ('toSign' in said) return this.#sign(said.id, said.toSign, waiting);
    this.#waiting.delete(said.id);
    waiting.stopWaiting();
    if ('error' in said) waiting.reject(SwarmError.fromWire(said.error));
    else waiting.resolve(said.answer);
  }

  async #sign(id: number, text: Uint8Array, { sign, reject, stopWaiting }: Waiting): Promise<void> {
    try {
      this.#worker.postMessage({ id, signature: await sign!(text) } satisfies Told);
    } catch (error) {
      this.#waiting.delete(id);
      stopWaiting();
      reject(SwarmError.from(error));
    }
  }
}
