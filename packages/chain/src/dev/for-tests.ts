/** A small chain of tests: keys with funds, a virtual clock, a store in memory or in a file. */
import { SqliteStore, type Store } from '@starling/store';
import type { Call } from '../chain.ts';
import { Sr25519Key } from '../identity/index.ts';
import { type DevConfig, type DevOptions, devConfig } from './config.ts';
import { DevChain, type DevClock } from './dev-chain.ts';
import { type DevState, genesis } from './state.ts';

export const TAO = 1_000_000_000n;

const keys = new Map<string, Sr25519Key>();
/** The development key of that name, made once. */
export function key(name: string): Sr25519Key {
  let found = keys.get(name);
  if (!found) {
    found = Sr25519Key.development(name);
    keys.set(name, found);
  }
  return found;
}

export const OPTIONS: DevOptions = {
  name: 'test',
  owner: { coldkey: key('owner').address, hotkey: key('owner-hot').address },
  endowments: ['owner', 'cold', 'nominator'].map((name) => ({ account: key(name).address, amount: 1_000n * TAO })),
  tempo: 10,
  weightsRateLimit: 0,
  blockMs: 1_000,
};

export const newState = (options: Partial<DevConfig> = {}): DevState => genesis(devConfig({ ...OPTIONS, ...options }));

/** All money there is, wherever it is. */
export function money({ accounts, hotkeys, pending, burned }: DevState): bigint {
  const stakes = Object.values(hotkeys).flatMap((one) => Object.values(one.stake));
  const parts = [...Object.values(accounts).map(({ free }) => free), ...stakes, ...Object.values(pending), burned];
  return parts.reduce((all, part) => all + part, 0n);
}

export class VirtualClock implements DevClock {
  #now = 1_700_000_000_000;
  now(): number {
    return this.#now;
  }
  /** Time passes for whoever waits for it. */
  async pause(ms: number): Promise<void> {
    this.#now += ms;
  }
}

export class TestNet {
  readonly chain: DevChain;
  readonly clock: VirtualClock;

  private constructor(chain: DevChain, clock: VirtualClock) {
    this.chain = chain;
    this.clock = clock;
  }

  static async open(
    options: Partial<DevConfig> = {},
    store: Store = new SqliteStore(':memory:'),
    clock = new VirtualClock(),
  ): Promise<TestNet> {
    return new TestNet(await DevChain.open({ ...OPTIONS, ...options }, { store, clock }), clock);
  }

  async blocks(count: number): Promise<void> {
    await this.clock.pause(1_000 * count);
    await this.chain.tick();
  }

  /** In the next block. Calls of one signer stay in their order. */
  async send(...calls: [string, Call][]): Promise<void> {
    const sent = calls.map(([signer, call]) => this.chain.submit(call, key(signer)));
    // All are signed, and in the pool or refused, by then.
    for (let i = 0; i < 20 * calls.length; i++) await Promise.resolve();
    await this.blocks(1);
    await Promise.all(sent);
  }

  async uid(hotkey: string): Promise<number> {
    const { neurons } = await this.chain.metagraph();
    return neurons.findIndex((neuron) => neuron.hotkey === key(hotkey).address);
  }
}

export const register = (hotkey: string): Call => ({ type: 'register', hotkey: key(hotkey).address, limit: null });
export const stake = (hotkey: string, amount: bigint): Call => ({ type: 'addStake', hotkey: key(hotkey).address, amount });
export const weigh = (uids: number[], weights: number[], version = 0): Call => ({ type: 'setWeights', uids, weights, version });
