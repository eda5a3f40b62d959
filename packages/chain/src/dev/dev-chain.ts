/**
 * An embedded chain behind the `Chain` interface: the default, for work without a network. Its blocks are a log of calls
 * in a store (`Journal`): what it answered outlives `kill -9`, and reading the log again gives the same chain, to the hash.
 *
 * Blocks come with the clock that it is given, while somebody runs it; in between it stands still. A block that had no
 * call and was not written before a power cut is made again, the same. Reads show the newest block, written or not.
 */
import { SwarmError } from '@starling/protocol';
import { Journal, type Store } from '@starling/store';
import type { Call, Chain, EpochPaid, Head, Included, Metagraph } from '../chain.ts';
import type { Signer } from '../identity/index.ts';
import { ChainRefusal } from '../refusals.ts';
import { type DevOptions, devConfig } from './config.ts';
import { assertNonce, assertSigned, parseExtrinsic } from './extrinsic.ts';
import { type Blocks, type DevEffect, type DevMachine, devMaker } from './machine.ts';
import { metagraphOf } from './metagraph.ts';
import { fromPlain, toPlain } from './plain.ts';
import { Pool } from './pool.ts';
import { signed } from './signed-call.ts';
import { EXISTENTIAL_DEPOSIT, isKnown, nonceOf } from './state.ts';

export interface DevClock {
  /** Unix ms. */
  now(): number;
  /** Resolves after so many ms. */
  pause(ms: number): Promise<void>;
}

export interface DevChainPorts {
  /** Its own; the chain closes it. */
  store: Store;
  clock: DevClock;
  /** The store cannot be written (an error), or can again (null). Default: nobody is told. */
  onTrouble?(error: SwarmError | null): void;
}

/** Calls in one block; the rest wait for the next. They are carried out at once, while nothing else runs. */
const CALLS_PER_BLOCK = 64;
/** From outside, of one account at once: weights, and as many reveals as there can be commits. */
const CALLS_OF_ONE = 16;
/** Of all accounts without a place in the subnet: accounts cost little, so their flood must end somewhere. Neurons are few, and have their own places. */
const CALLS_OF_STRANGERS = 4 * CALLS_PER_BLOCK;
/** Blocks made at once: after a longer sleep of the computer the chain has slept, too. */
const BLOCKS_AT_ONCE = 1_000;
/** Blocks between snapshots: thousands are read again in a second. */
const SNAPSHOT_EVERY = 2_000;

type Listener = (paid: EpochPaid) => void;

export class DevChain implements Chain {
  readonly #journal: Journal<Blocks, DevEffect, DevMachine>;
  readonly #ports: DevChainPorts;
  readonly #listeners: Set<Listener>;
  readonly #pool = new Pool();
  /** By signer: its calls are signed one after the other, so that their nonces have no gap. */
  readonly #signing = new Map<string, Promise<unknown>>();
  /** Unix ms at which the newest block was due. */
  #newest: number;
  #closed = false;

  private constructor(journal: Journal<Blocks, DevEffect, DevMachine>, ports: DevChainPorts, listeners: Set<Listener>) {
    this.#journal = journal;
    this.#ports = ports;
    this.#listeners = listeners;
    this.#newest = ports.clock.now();
  }

  /**
   * Goes on with the chain in the store, or begins one. Options count only for one that begins, but for its name, which must
   * be the same: else `CONFIG_INVALID`. Throws what the store throws, `LOG_UNREADABLE`, or `ADDRESS_INVALID`.
   */
  static async open(options: DevOptions, ports: DevChainPorts): Promise<DevChain> {
    const { store, clock } = ports;
    const listeners = new Set<Listener>();
    const opened = await Journal.open<Blocks, DevEffect, DevMachine>(
      store,
      devMaker,
      {
        now: () => clock.now(),
        soon: (task) => queueMicrotask(task),
        pause: (ms) => clock.pause(ms),
        deliver: ({ effects }) => {
          for (const effect of effects) if (effect.type === 'epoch') for (const listener of listeners) listener(effect.paid);
        },
        describe: ({ effects, at }) => ({
          rows: effects.flatMap((effect) =>
            effect.type === 'epoch' ? [{ kind: 'epoch', owner: '', at, body: JSON.stringify(toPlain(effect.paid)) }] : [],
          ),
          released: [],
        }),
        onTrouble: (error) => ports.onTrouble?.(error),
      },
      { snapshotEvery: SNAPSHOT_EVERY },
    );
    const journal = opened.journal ?? (await opened.begin(toPlain(devConfig(options))));
    const { name } = journal.machine.state.config;
    if (name !== options.name)
      throw new SwarmError('CONFIG_INVALID', `In ${store.name} is the chain ${JSON.stringify(name)}, not ${JSON.stringify(options.name)}.`);
    return new DevChain(journal, ports, listeners);
  }

  get network(): string {
    return this.#journal.machine.state.network;
  }

  get netuid(): number {
    return this.#journal.machine.state.config.netuid;
  }

  /** SHA-256 of all the chain knows, 64 hex digits. */
  stateHash(): string {
    return this.#journal.machine.stateHash();
  }

  async head(): Promise<Head> {
    const { block, hash } = this.#journal.machine.state;
    return { number: block, hash };
  }

  async metagraph(): Promise<Metagraph> {
    return metagraphOf(this.#journal.machine.state);
  }

  async balance(account: string): Promise<bigint> {
    return this.#journal.machine.state.accounts[account]?.free ?? 0n;
  }

  /** Alpha that the coldkey has on a hotkey, registered or not. */
  stakeOf(coldkey: string, hotkey: string): bigint {
    return this.#journal.machine.state.hotkeys[hotkey]?.stake[coldkey] ?? 0n;
  }

  async epochs(limit: number): Promise<EpochPaid[]> {
    const rows = await this.#ports.store.rows('epoch', { limit });
    return rows.map(({ body }) => fromPlain<EpochPaid>(JSON.parse(body)));
  }

  onEpoch(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async submit(call: Call, signer: Signer): Promise<Included> {
    const { promise, resolve, reject } = Promise.withResolvers<Included>();
    const before = this.#signing.get(signer.address);
    const turn = (async () => {
      await before?.catch(() => {});
      if (this.#closed) throw gone();
      const extrinsic = await signed(this.network, this.nextNonce(signer.address), call, signer);
      assertSigned(this.network, extrinsic);
      this.#pool.add({ extrinsic, own: true, resolve, reject });
    })();
    this.#signing.set(signer.address, turn);
    await turn;
    return promise;
  }

  /**
   * Takes a call that was signed elsewhere, for `nextNonce`. Throws as `submit` does, `ADDRESS_INVALID`, and `BUSY` when more calls wait
   * than blocks can take soon: at once, or once a stranger that has no call waiting takes the last place of the longest line. Keys cost
   * nothing, so those that the chain does not know take nobody's place: without money they could not register, either. The signature
   * is checked last: it takes milliseconds, and a forged one costs nothing to make.
   */
  async submitSigned(given: unknown): Promise<Included> {
    const extrinsic = parseExtrinsic(given);
    const { signer } = extrinsic;
    if (!isKnown(this.#journal.machine.state, signer))
      throw new ChainRefusal(
        'HotKeyNotRegisteredInSubNet',
        `The account ${signer} has less than ${EXISTENTIAL_DEPOSIT} rao and no stake, and is no registered hotkey.`,
      );
    if (this.#closed) throw gone();
    const waiting = this.#pool.waitingOf(signer);
    if (waiting >= CALLS_OF_ONE) throw new SwarmError('BUSY', `${waiting} calls of ${signer} wait for a block already.`);
    const neurons = this.#neurons();
    const isFull = !neurons.has(signer) && this.#pool.strangers(neurons) >= CALLS_OF_STRANGERS;
    const longest = isFull ? this.#pool.longest(neurons)! : null;
    if (longest !== null && (waiting > 0 || this.#pool.waitingOf(longest) === 1))
      throw new SwarmError('BUSY', `${CALLS_OF_STRANGERS} calls wait for a block already.`);
    assertNonce(extrinsic, this.nextNonce(signer));
    assertSigned(this.network, extrinsic);
    if (longest !== null)
      this.#pool
        .takeBack(longest)
        .reject(new SwarmError('BUSY', `The place of the newest call of ${longest} went to an account that had none.`));
    const { promise, resolve, reject } = Promise.withResolvers<Included>();
    this.#pool.add({ extrinsic, own: false, resolve, reject });
    return promise;
  }

  /** Of the account's next call, those that wait for a block counted. */
  nextNonce(account: string): number {
    return nonceOf(this.#journal.machine.state, account) + this.#pool.waitingOf(account);
  }

  /** Their hotkeys, and the coldkeys of those. */
  #neurons(): Set<string> {
    const { neurons, hotkeys } = this.#journal.machine.state;
    return new Set(neurons.flatMap(({ hotkey }) => [hotkey, hotkeys[hotkey]!.coldkey]));
  }

  /** Makes the blocks that are due by the clock, and resolves when they are written. Throws when the store is lost for good. */
  async tick(): Promise<void> {
    const { blockMs } = this.#journal.machine.state.config;
    const due = Math.floor((this.#ports.clock.now() - this.#newest) / blockMs);
    if (this.#closed || due < 1) return;
    this.#newest += due * blockMs;
    const calls = this.#pool.take(CALLS_PER_BLOCK, this.#neurons());
    const extrinsics = toPlain(calls.map(({ extrinsic }) => extrinsic));
    try {
      const effects = await this.#journal.submit({ count: Math.min(due, BLOCKS_AT_ONCE), extrinsics });
      for (const effect of effects) {
        if (effect.type !== 'call') continue;
        const { index, block, epoch, refused } = effect;
        if (refused) calls[index]!.reject(new ChainRefusal(refused.reason, refused.message));
        else calls[index]!.resolve({ block, epoch });
      }
    } catch (error) {
      for (const { reject } of calls) reject(error);
      throw error;
    }
  }

  /** Makes blocks by the clock until the chain is closed, or its store is lost for good, which `onTrouble` is told. */
  async run(): Promise<void> {
    const { blockMs } = this.#journal.machine.state.config;
    try {
      while (!this.#closed) {
        await this.tick();
        await this.#ports.clock.pause(Math.max(1, this.#newest + blockMs - this.#ports.clock.now()));
      }
    } catch {
      // The journal has told `onTrouble`, and whoever waited for a call.
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { reject } of this.#pool.clear()) reject(gone());
    await this.#journal.close().catch((error: unknown) => this.#ports.onTrouble?.(SwarmError.from(error)));
    await this.#ports.store.close();
  }
}

const gone = () => new SwarmError('CHAIN_UNREACHABLE', 'The chain was closed before the call was in a block.');
