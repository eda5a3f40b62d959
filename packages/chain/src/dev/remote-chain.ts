/** Somebody else's embedded chain behind the same `Chain` interface, over HTTP: how validators that are not the server reach it. */
import { ERROR_HINTS, SwarmError, type WireError } from '@starling/protocol';
import type { Call, Chain, EpochPaid, Head, Included, Metagraph } from '../chain.ts';
import type { Signer } from '../identity/index.ts';
import { ChainRefusal, REFUSALS, type Refusal } from '../refusals.ts';
import { fromPlain, type Plain, toPlain } from './plain.ts';
import { signed } from './signed-call.ts';

export interface RemotePorts {
  /** Resolves after so many ms. */
  pause(ms: number): Promise<void>;
}

/** Epochs asked for at once when some were missed. */
const EPOCHS_MISSED = 100;

export class RemoteDevChain implements Chain {
  readonly network: string;
  readonly netuid: number;
  readonly #url: string;
  readonly #ports: RemotePorts;
  readonly #blockMs: number;
  readonly #listeners = new Set<(paid: EpochPaid) => void>();
  /** One call after the other: their nonces must have no gap. */
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(url: string, ports: RemotePorts, { network, netuid, blockMs }: { network: string; netuid: number; blockMs: number }) {
    this.#url = url;
    this.#ports = ports;
    this.network = network;
    this.netuid = netuid;
    this.#blockMs = blockMs;
  }

  /** The chain of the server at `url`. Throws `CHAIN_UNREACHABLE`, or `NOT_FOUND` where the server has none of its own. */
  static async open(url: string, ports: RemotePorts): Promise<RemoteDevChain> {
    const chain = new RemoteDevChain(url, ports, await ask(url, '/v1/chain/node'));
    void chain.#follow();
    return chain;
  }

  async head(): Promise<Head> {
    return (await ask<{ head: Head }>(this.#url, '/v1/chain/node')).head;
  }

  async metagraph(): Promise<Metagraph> {
    return fromPlain(await ask<Plain>(this.#url, '/v1/chain/node/metagraph'));
  }

  async balance(account: string): Promise<bigint> {
    return (await this.#account(account)).balance;
  }

  async epochs(limit: number): Promise<EpochPaid[]> {
    return fromPlain(await ask<Plain>(this.#url, `/v1/chain/node/epochs?limit=${limit}`));
  }

  submit(call: Call, signer: Signer): Promise<Included> {
    const turn = this.#turn
      .catch(() => {}) // told to whoever made that call
      .then(async () => {
        const { nonce } = await this.#account(signer.address);
        const extrinsic = await signed(this.network, nonce, call, signer);
        return ask<Included>(this.#url, '/v1/chain/node/calls', JSON.stringify(toPlain(extrinsic)));
      });
    this.#turn = turn;
    return turn;
  }

  onEpoch(listener: (paid: EpochPaid) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async #account(account: string): Promise<{ nonce: number; balance: bigint }> {
    return fromPlain(await ask<Plain>(this.#url, `/v1/chain/node/accounts/${account}`));
  }

  /** Asks once a block; an answer that does not come is asked for again. */
  async #follow(): Promise<void> {
    let told: number | null = null;
    while (!this.#closed) {
      const paid = await this.epochs(told === null ? 1 : EPOCHS_MISSED).catch(() => []);
      const news = paid.filter(({ epoch }) => told !== null && epoch > told).reverse();
      told = Math.max(told ?? 0, paid[0]?.epoch ?? 0);
      for (const epoch of news) for (const listener of this.#listeners) listener(epoch);
      await this.#ports.pause(this.#blockMs);
    }
  }
}

/** Throws what the server answered: a `ChainRefusal` by its reason. */
async function ask<T>(url: string, path: string, body?: string): Promise<T> {
  const init = body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': 'application/json' } };
  const response = await fetch(`${url}${path}`, init).catch((error: unknown) => {
    throw SwarmError.from(error, 'CHAIN_UNREACHABLE');
  });
  const answer = (await response.json().catch(() => ({}))) as T & { error?: WireError };
  if (response.ok) return answer;
  const { error } = answer;
  if (!error || !Object.hasOwn(ERROR_HINTS, error.code)) throw new SwarmError('CHAIN_UNREACHABLE', `${path} answered ${response.status}.`);
  const [, message, reason] = /^(.*) \((\w+)\)$/s.exec(error.message) ?? [];
  if (error.code === 'CHAIN_REFUSED' && reason && Object.hasOwn(REFUSALS, reason)) throw new ChainRefusal(reason as Refusal, message!);
  throw SwarmError.fromWire(error);
}
