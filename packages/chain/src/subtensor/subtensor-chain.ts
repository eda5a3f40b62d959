/**
 * Subtensor behind the `Chain` interface, through any node's JSON-RPC. It only reads unless it is given keys, and knows
 * the runtime by its metadata alone, which is read again whenever the runtime was upgraded.
 *
 * A node that is down costs what was asked meanwhile (`CHAIN_UNREACHABLE`), and is tried again at the next question. A
 * call counts when its block is final, so that a reorganisation takes nothing back.
 */

import type { u64 } from '@polkadot/types';
import type { AccountInfo } from '@polkadot/types/interfaces';
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import { Call, type Chain, type EpochPaid, type Head, type Included, type Metagraph } from '../chain.ts';
import type { Signer } from '../identity/index.ts';
import { ChainRefusal } from '../refusals.ts';
import { BLOCK_MS, runtimeCall, sendCall, signCall } from './extrinsic.ts';
import { readMetagraph, readStorage } from './reads.ts';
import { type After, Hash, Header, Hex, Rpc } from './rpc.ts';
import { Runtime, RuntimeVersion } from './runtime.ts';

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

const Nonce = v.pipe(v.number(), v.integer(), v.minValue(0));
/** Epochs remembered: the chain itself does not keep them. */
const EPOCHS_KEPT = 100;

export class SubtensorChain implements Chain {
  readonly network: string;
  readonly netuid: number;
  readonly #rpc: Rpc;
  readonly #options: SubtensorOptions;
  #runtime: Runtime;
  readonly #listeners = new Set<(paid: EpochPaid) => void>();
  /** The newest first. */
  #epochs: EpochPaid[] = [];
  #lastStep: number | null = null;
  #inTrouble = false;
  readonly #sending = new Map<string, Promise<unknown>>();
  #closed = false;

  private constructor(rpc: Rpc, options: SubtensorOptions, network: string, runtime: Runtime) {
    this.#rpc = rpc;
    this.#options = options;
    this.network = network;
    this.netuid = options.netuid;
    this.#runtime = runtime;
  }

  /** Throws `CHAIN_UNREACHABLE`, `CHAIN_WRONG_NETWORK` (another chain, or no such subnet), `CHAIN_INCOMPATIBLE`. */
  static async open(options: SubtensorOptions): Promise<SubtensorChain> {
    const { endpoint, netuid, genesis, after } = options;
    const rpc = new Rpc(endpoint, after);
    try {
      const network = (await rpc.request('chain_getBlockHash', [0], Hash)).slice(2);
      if (genesis !== null && network !== genesis)
        throw new SwarmError('CHAIN_WRONG_NETWORK', `At ${endpoint} is the chain ${network}, not ${genesis}.`);
      const chain = new SubtensorChain(rpc, options, network, await Runtime.load(rpc));
      const [exists] = await readStorage(rpc, chain.#runtime, await chain.#bestHash(), [['networksAdded', netuid]]);
      if (!exists!.eq(true)) throw new SwarmError('CHAIN_WRONG_NETWORK', `The chain at ${endpoint} has no subnet ${netuid}.`);
      return chain;
    } catch (error) {
      rpc.close();
      throw error;
    }
  }

  async head(): Promise<Head> {
    const hash = await this.#bestHash();
    return { number: await this.#numberOf(hash), hash: hash.slice(2) };
  }

  async metagraph(): Promise<Metagraph> {
    const hash = await this.#bestHash();
    const runtime = await this.#currentRuntime();
    return readMetagraph(this.#rpc, runtime, this.netuid, await this.#numberOf(hash), hash);
  }

  async balance(account: string): Promise<bigint> {
    const runtime = await this.#currentRuntime();
    const where = [runtime.key('system', 'account', account), await this.#bestHash()];
    const bytes = await this.#rpc.request('state_getStorage', where, v.nullable(Hex));
    return runtime.decode<AccountInfo>('system', 'account', bytes).data.free.toBigInt();
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
    const runtime = await this.#currentRuntime();
    if (call.type === 'register' && call.limit !== null) await this.#assertPrice(call.limit);
    const hash = await this.#rpc.request('chain_getFinalizedHead', [], Hash);
    const nonce = await this.#rpc.request('system_accountNextIndex', [signer.address], Nonce);
    const anchor = { genesis: `0x${this.network}`, number: await this.#numberOf(hash), hash, nonce };
    const extrinsic = await signCall(runtime, runtimeCall(runtime, this.netuid, call), anchor, signer);
    return sendCall(this.#rpc, runtime, this.netuid, extrinsic, this.#options.after);
  }

  /** So that no call is made in vain; the price may still move until it is in a block. */
  async #assertPrice(limit: bigint): Promise<void> {
    const [burn] = await readStorage(this.#rpc, this.#runtime, await this.#bestHash(), [['burn', this.netuid]]);
    const price = (burn as u64).toBigInt();
    if (price > limit) throw new ChainRefusal('RegistrationPriceLimitExceeded', `A registration costs ${price} rao, more than ${limit}.`);
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
    const runtime = await this.#currentRuntime();
    const [step] = await readStorage(this.#rpc, runtime, await this.#bestHash(), [['lastMechansimStepBlock', this.netuid]]);
    const block = (step as u64).toNumber();
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
    this.#closed = true;
    this.#rpc.close();
  }

  /** The runtime as it is now: metadata is read again after an upgrade. */
  async #currentRuntime(): Promise<Runtime> {
    const { specVersion } = await this.#rpc.request('state_getRuntimeVersion', [], RuntimeVersion);
    if (specVersion !== this.#runtime.version.specVersion) this.#runtime = await Runtime.load(this.#rpc);
    return this.#runtime;
  }

  #bestHash(): Promise<string> {
    return this.#rpc.request('chain_getBlockHash', [], Hash);
  }

  async #numberOf(hash: string): Promise<number> {
    return (await this.#rpc.request('chain_getHeader', [hash], Header)).number;
  }
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
