/**
 * Subtensor behind the `Chain` interface, through any node. It only reads unless it is given keys.
 *
 * A node that is down costs what was asked meanwhile (`CHAIN_UNREACHABLE`), and is tried again at the next question. A
 * call counts when its block is final, so that a reorganisation takes nothing back.
 */
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import { Call, type Chain, type EpochPaid, type Head, type Included, type Metagraph } from '../chain.ts';
import type { Signer } from '../identity/index.ts';
import { ChainRefusal, REFUSALS, type Refusal } from '../refusals.ts';
import { type After, ApiThread, type Question, type Questions, type Sign, type Where } from './api-thread.ts';
import { MORTAL_BLOCKS } from './calls.ts';

export interface SubtensorOptions {
  /** `wss://…` */
  endpoint: string;
  netuid: number;
  /** The chain that is meant, 64 hex digits; null: whichever is there. */
  genesis: string | null;
  after: After;
  /** The node does not answer as it should (an error), or does again (null). Default: nobody is told. */
  onTrouble?(error: SwarmError | null): void;
}

const BLOCK_MS = 12_000;
/** By then a call is void or in a block, and blocks become final in some ten seconds: who waits longer waits for a chain that stands still. */
const FINAL_MS = MORTAL_BLOCKS * BLOCK_MS;
/** For a question as a whole, which on a busy machine begins with loading the library. */
const QUESTION_MS = 120_000;
/** To end a line well; then it is cut. */
const LEAVE_MS = 5_000;
/** Epochs remembered: the chain itself does not keep them. */
const EPOCHS_KEPT = 100;

export class SubtensorChain implements Chain {
  readonly netuid: number;
  readonly #options: SubtensorOptions;
  readonly #where: Where;
  #thread = ApiThread.take();
  readonly #listeners = new Set<(paid: EpochPaid) => void>();
  /** The newest first. */
  #epochs: EpochPaid[] = [];
  #lastStep: number | null = null;
  #inTrouble = false;
  readonly #sending = new Map<string, Promise<unknown>>();
  #closed = false;

  private constructor(options: SubtensorOptions) {
    const { endpoint, netuid, genesis } = options;
    this.#options = options;
    this.netuid = netuid;
    this.#where = { endpoint, netuid, genesis };
  }

  /** Throws `CHAIN_UNREACHABLE`, `CHAIN_WRONG_NETWORK` (another chain, or no such subnet), `CHAIN_INCOMPATIBLE`. */
  static async open(options: SubtensorOptions): Promise<SubtensorChain> {
    const chain = new SubtensorChain(options);
    try {
      // Whoever answers at this address later must be of the same chain.
      chain.#where.genesis = await chain.#ask('network', []);
      return chain;
    } catch (error) {
      await chain.close();
      throw error;
    }
  }

  get network(): string {
    return this.#where.genesis!;
  }

  head(): Promise<Head> {
    return this.#ask('head', []);
  }

  metagraph(): Promise<Metagraph> {
    return this.#ask('metagraph', []);
  }

  balance(account: string): Promise<bigint> {
    return this.#ask('balance', [account]);
  }

  /** Of each signer one call is on its way at a time, so that nonces have no gap. */
  async submit(call: Call, signer: Signer): Promise<Included> {
    const parsed = v.safeParse(Call, call);
    if (!parsed.success) throw new SwarmError('BAD_MESSAGE', `This is no call: ${v.summarize(parsed.issues)}`);
    const before = this.#sending.get(signer.address);
    const sent = (async () => {
      await before?.catch(() => {});
      return this.#send(parsed.output, signer);
    })();
    this.#sending.set(signer.address, sent);
    return sent;
  }

  async #send(call: Call, signer: Signer): Promise<Included> {
    const late = `The call is in no final block after ${FINAL_MS / 60_000} minutes.`;
    const sent = await this.#ask('send', [call, signer.address], { ms: FINAL_MS, late, sign: (text) => signer.sign(text) });
    if ('refused' in sent) throw refusal(sent.refused, sent.what);
    return sent;
  }

  /** Those seen since this was opened. */
  async epochs(limit: number): Promise<EpochPaid[]> {
    return this.#epochs.slice(0, limit);
  }

  onEpoch(listener: (paid: EpochPaid) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks whether an epoch was closed since the last time, and tells of it. */
  async poll(): Promise<void> {
    const block = await this.#ask('lastStep', []);
    const isNew = this.#lastStep !== null && block !== this.#lastStep;
    if (!isNew) {
      this.#lastStep ??= block;
      return;
    }
    const paid = paidBy(await this.metagraph(), block);
    this.#lastStep = block;
    this.#epochs = [paid, ...this.#epochs].slice(0, EPOCHS_KEPT);
    for (const listener of this.#listeners) listener(paid);
  }

  /** Polls every block until it is closed. Trouble is told, and does not end it. */
  async run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.poll();
        if (this.#inTrouble) this.#options.onTrouble?.(null);
        this.#inTrouble = false;
      } catch (error) {
        if (this.#closed) return;
        if (!this.#inTrouble) this.#options.onTrouble?.(SwarmError.from(error, 'CHAIN_UNREACHABLE'));
        this.#inTrouble = true;
      }
      await new Promise<void>((resolve) => this.#options.after(BLOCK_MS, resolve));
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const late = 'The line could not be ended.';
    // A thread that does not take leave is ended.
    await this.#thread.park(this.#where, { after: this.#options.after, ms: LEAVE_MS, late }).catch(() => {});
  }

  async #ask<Q extends Question>(
    question: Q,
    args: Parameters<Questions[Q]>,
    {
      ms = QUESTION_MS,
      late = `The node at ${this.#where.endpoint} did not answer (${question}) in ${ms / 1_000} s.`,
      sign,
    }: { ms?: number; late?: string; sign?: Sign } = {},
  ): Promise<Awaited<ReturnType<Questions[Q]>>> {
    if (this.#closed) throw new SwarmError('CHAIN_UNREACHABLE', `The node at ${this.#where.endpoint} was left.`);
    if (this.#thread.ended) this.#thread = ApiThread.take();
    return this.#thread.ask(this.#where, question, args, { ms, late, sign, after: this.#options.after });
  }
}

/** A reason of ours if we know it, else the chain's word for it. */
function refusal(name: string, what: string): SwarmError {
  if (Object.hasOwn(REFUSALS, name)) return new ChainRefusal(name as Refusal, `${what}.`);
  return new SwarmError('CHAIN_REFUSED', `${what}: ${name}.`);
}

/**
 * What an epoch paid, as far as storage tells: a neuron's emission is for serving and validating together, and is split
 * here as its incentive and dividends are.
 */
function paidBy({ epoch, neurons }: Metagraph, block: number): EpochPaid {
  return {
    epoch,
    block,
    owner: null,
    burned: null,
    neurons: neurons.map(({ uid, hotkey, incentive, dividends, emission }) => {
      const parts = BigInt(incentive + dividends);
      const served = parts === 0n ? 0n : (emission * BigInt(incentive)) / parts;
      return { uid, hotkey, incentive, dividends, served, validated: emission - served };
    }),
  };
}
