import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteStore, type Store } from '@starling/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Call, EpochPaid } from '../chain.ts';
import { commitHash } from '../commit-hash.ts';
import { DevChain } from './dev-chain.ts';
import { key, OPTIONS, register, stake, TAO, TestNet, VirtualClock, weigh } from './for-tests.ts';
import { toPlain } from './plain.ts';
import { signed } from './signed-call.ts';

const refused = (reason: string) => expect.objectContaining({ reason, code: 'CHAIN_REFUSED' });

/** Two validators and three miners, staked and weighing: uids 1 to 5. Ends in block 24. */
async function live(net: TestNet): Promise<void> {
  const names = ['v1', 'v2', 'm1', 'm2', 'm3'];
  await net.send(
    ...names.map((name): [string, Call] => ['cold', register(name)]),
    ['cold', stake('v1', 30n * TAO)],
    ['cold', stake('v2', 10n * TAO)],
  );
  await net.blocks(10); // an epoch gives the permits
  await net.send(['v1', weigh([3, 4, 5], [3, 2, 1])], ['v2', weigh([3, 4, 5], [3, 2, 1])]);
  await net.blocks(12);
}

describe('a chain', () => {
  let net: TestNet;
  beforeEach(async () => {
    net = await TestNet.open();
  });
  afterEach(() => net.chain.close());

  it('makes its blocks by the clock, each hashed after the one before', async () => {
    const first = await net.chain.head();
    await net.chain.tick();
    expect(await net.chain.head()).toEqual({ number: 0, hash: net.chain.network });
    await net.blocks(1);
    const second = await net.chain.head();
    await net.blocks(5);
    const third = await net.chain.head();
    expect([first.number, second.number, third.number]).toEqual([0, 1, 6]);
    expect(new Set([first.hash, second.hash, third.hash]).size).toBe(3);
  });

  it('goes from registration to emission', async () => {
    const told: EpochPaid[] = [];
    const stop = net.chain.onEpoch((paid) => told.push(paid));
    await live(net);
    const { neurons, epoch, nextEpoch, block, burn } = await net.chain.metagraph();
    expect({ block, epoch, nextEpoch }).toEqual({ block: 24, epoch: 2, nextEpoch: 30 });
    expect(neurons.map(({ hotkey }) => hotkey)).toEqual(['owner-hot', 'v1', 'v2', 'm1', 'm2', 'm3'].map((name) => key(name).address));
    expect(neurons.slice(1, 3)).toMatchObject([{ permit: true }, { permit: true }]);
    const incentives = neurons.slice(3).map(({ incentive }) => incentive / 65_535);
    [1 / 2, 1 / 3, 1 / 6].forEach((share, i) => {
      expect(incentives[i]).toBeCloseTo(share, 4);
    });
    expect(neurons[3]!.stake).toBe(told[1]!.neurons[3]!.served);
    // Five times dearer by 1.26, then cheaper for 23 blocks.
    expect(Number(burn) / (1e9 * 1.26 ** 5 * 0.5 ** (23 / 360))).toBeCloseTo(1, 6);

    expect(told.map(({ epoch, block }) => [epoch, block])).toEqual([
      [1, 10],
      [2, 20],
    ]);
    expect(await net.chain.epochs(10)).toEqual([...told].reverse());
    expect(await net.chain.epochs(1)).toEqual([told[1]]);
    stop();
    await net.blocks(10);
    expect(told).toHaveLength(2);
  });

  it('says why it does not take a call, and what helps', async () => {
    await expect(net.send(['poor', register('m1')])).rejects.toMatchObject({
      code: 'CHAIN_REFUSED',
      reason: 'NotEnoughBalanceToStake',
      hint: 'Put enough on the coldkey for this amount, or use less.',
    });
    await net.send(['cold', register('v1')]);
    await expect(net.send(['v1', weigh([0], [1])])).rejects.toThrow(refused('NeuronNoValidatorPermit'));
    await expect(net.send(['cold', stake('v1', 10_000n * TAO)])).rejects.toThrow(refused('NotEnoughBalanceToStake'));
    await expect(net.send(['cold', stake('v1', 0n)])).rejects.toThrow(refused('AmountTooLow'));
    await expect(net.send(['cold', stake('nobody', TAO)])).rejects.toThrow(refused('HotKeyNotRegisteredInSubNet'));
    const out: Call = { type: 'removeStake', hotkey: key('v1').address, amount: 1n };
    await expect(net.send(['cold', out])).rejects.toThrow(refused('NotEnoughStakeToWithdraw'));
    await expect(net.send(['cold', weigh([0, 70_000], [1, 1])])).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    const mistyped = `${key('v1').address.slice(0, -1)}1`;
    await expect(net.send(['cold', { type: 'register', hotkey: mistyped, limit: null }])).rejects.toMatchObject({
      code: 'ADDRESS_INVALID',
    });
  });

  it('moves money: to others, on hotkeys and back', async () => {
    await net.send(['cold', { type: 'transfer', to: key('poor').address, amount: 5n * TAO }]);
    await net.send(['poor', register('m1')]);
    const left = await net.chain.balance(key('poor').address);
    expect(left).toBeGreaterThan(4n * TAO - 1n);
    await net.send(['poor', stake('m1', 3n * TAO)], ['poor', { type: 'removeStake', hotkey: key('m1').address, amount: TAO }]);
    expect(await net.chain.balance(key('poor').address)).toBe(left - 2n * TAO);
    expect((await net.chain.metagraph()).neurons[1]).toMatchObject({ coldkey: key('poor').address, stake: 2n * TAO });
    expect(await net.chain.balance(key('nobody').address)).toBe(0n);
  });

  it('numbers calls sent at once, one after the other, also after one was refused', async () => {
    const sent = [register('m1'), register('m1'), register('m2')].map((call) => net.chain.submit(call, key('cold')));
    const results = Promise.allSettled(sent);
    for (let i = 0; i < 100; i++) await Promise.resolve();
    await net.blocks(1);
    expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await net.send(['cold', register('m3')]);
    expect(await net.uid('m3')).toBe(3);
  });

  it('refuses a signature that is another’s', async () => {
    const forged = {
      address: key('cold').address,
      publicKey: key('cold').publicKey,
      sign: (message: Uint8Array) => key('thief').sign(message),
    };
    await expect(net.chain.submit(register('m1'), forged)).rejects.toThrow(refused('BadProof'));
    const failing = { ...forged, sign: () => Promise.reject(new Error('the wallet said no')) };
    await expect(net.chain.submit(register('m1'), failing)).rejects.toThrow('the wallet said no');
    await net.send(['cold', register('m1')]);
    expect(await net.uid('m1')).toBe(1);
  });

  it('closed takes no more calls, and tells those that were waiting', async () => {
    const waiting = net.chain.submit(register('m1'), key('cold'));
    const told = expect(waiting).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    for (let i = 0; i < 20; i++) await Promise.resolve();
    await net.chain.close();
    await told;
    await expect(net.chain.submit(register('m1'), key('cold'))).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  });
});

it('commits and reveals weights, due an epoch later', async () => {
  const net = await TestNet.open({ revealPeriod: 1 });
  await net.send(['cold', register('v1')], ['cold', register('m1')], ['cold', stake('v1', TAO)]);
  await net.blocks(10);
  const secret = { uids: [2], weights: [1], salt: [4, 5], version: 0 };
  const hash = commitHash({ hotkey: key('v1').address, netuid: 9, ...secret });
  await expect(net.send(['v1', weigh([2], [1])])).rejects.toThrow(refused('CommitRevealEnabled'));
  await net.send(['v1', { type: 'commitWeights', hash }]);
  await expect(net.send(['v1', { type: 'revealWeights', ...secret }])).rejects.toThrow(refused('RevealTooEarly'));
  await net.blocks(8);
  await net.send(['v1', { type: 'revealWeights', ...secret }]);
  await net.blocks(10);
  expect((await net.chain.metagraph()).neurons[2]!.incentive).toBe(65_535);
  await net.chain.close();
});

describe('a chain in a file', () => {
  let folder: string;
  const file = () => new SqliteStore(join(folder, 'chain.sqlite'), { synchronous: 'OFF' });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'starling-chain-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is the same after closing, to the hash, and goes on', async () => {
    const net = await TestNet.open({}, file());
    await live(net);
    const [hash, head, epochs] = [net.chain.stateHash(), await net.chain.head(), await net.chain.epochs(9)];
    await net.chain.close();

    const again = await TestNet.open({}, file());
    expect(again.chain.stateHash()).toBe(hash);
    expect(await again.chain.head()).toEqual(head);
    expect(await again.chain.epochs(9)).toEqual(epochs);
    await again.send(['cold', register('m4')]);
    await again.blocks(6);
    expect((await again.chain.epochs(1))[0]).toMatchObject({ epoch: 3, block: 30 });
    await again.chain.close();
  });

  it('keeps its settings, whatever it is opened with, and is no other chain', async () => {
    const net = await TestNet.open({}, file());
    await net.blocks(1);
    const { network } = net.chain;
    await net.chain.close();
    const again = await TestNet.open({ tempo: 99 }, file());
    expect(again.chain.network).toBe(network);
    expect((await again.chain.metagraph()).rules.tempo).toBe(10);
    await again.chain.close();
    const store = file();
    await expect(TestNet.open({ name: 'other' }, store)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await store.close();
  });

  it('has forgotten nothing it answered when the process is killed', async () => {
    const store = file();
    const net = await TestNet.open({}, store);
    await live(net);
    const hash = net.chain.stateHash();
    await store.close(); // no farewell by the chain

    const again = await TestNet.open({}, file());
    expect(again.chain.stateHash()).toBe(hash);
    await again.chain.close();
  });

  it('takes up a snapshot instead of reading everything again, and it is the same chain', async () => {
    const net = await TestNet.open({}, file());
    await live(net);
    for (let i = 0; i < 2_100; i++) await net.blocks(1);
    const hash = net.chain.stateHash();
    await net.chain.close();
    const store = file();
    expect(await store.snapshot(Number.MAX_SAFE_INTEGER)).not.toBeNull();
    const again = await TestNet.open({}, store);
    expect(again.chain.stateHash()).toBe(hash);
    await again.chain.close();
  });
});

it('the same calls in the same blocks make the same chain, whenever and in however many ticks', async () => {
  const [one, two] = [await TestNet.open(), await TestNet.open()];
  await two.clock.pause(12_345_678);
  await two.chain.tick(); // slept: many blocks due, made up to a limit
  await one.blocks((await two.chain.head()).number);
  await live(one);
  await live(two);
  for (let i = 0; i < 15; i++) await one.blocks(1);
  await two.blocks(15);
  expect(one.chain.network).toBe(two.chain.network);
  expect(one.chain.stateHash()).toBe(two.chain.stateHash());
  const other = await TestNet.open({ name: 'other' });
  expect(other.chain.network).not.toBe(one.chain.network);
  for (const net of [one, two, other]) await net.chain.close();
});

it('runs by itself until it is closed', async () => {
  class StoppingClock extends VirtualClock {
    pauses = 0;
    chain: DevChain | null = null;
    override async pause(ms: number): Promise<void> {
      await super.pause(ms);
      if (++this.pauses === 30) await this.chain!.close();
    }
  }
  const clock = new StoppingClock();
  clock.chain = await DevChain.open(OPTIONS, { store: new SqliteStore(':memory:'), clock });
  await clock.chain.run();
  expect((await clock.chain.head()).number).toBe(29);
});

it('answers nobody before the store has it, tries again, and tells of the trouble', async () => {
  const inner = new SqliteStore(':memory:');
  let failures = 0;
  const store: Store = new Proxy(inner, {
    get: (target, name) => {
      if (name === 'append' && failures > 0) {
        failures -= 1;
        return () => Promise.reject(new Error('disk full'));
      }
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const clock = new VirtualClock();
  const troubles: (string | undefined)[] = [];
  const chain = await DevChain.open(OPTIONS, { store, clock, onTrouble: (error) => troubles.push(error?.code) });
  failures = 3;
  const sent = chain.submit(register('m1'), key('cold'));
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await clock.pause(1_000);
  await chain.tick();
  expect(await sent).toEqual({ block: 1, epoch: 0 });
  expect(failures).toBe(0);
  expect(troubles).toEqual(['STORE_FAILED', undefined]);
  await chain.close();
});

it('lets no account from outside wait with more than a few calls, and none that it does not know', async () => {
  const { chain } = await TestNet.open();
  const send = async (nonce: number, by = 'cold') =>
    chain.submitSigned(toPlain(await signed(chain.network, nonce, { type: 'transfer', to: key('owner').address, amount: 1n }, key(by))));
  const waiting = Promise.allSettled(Array.from({ length: 16 }, (_, nonce) => send(nonce)));
  await expect.poll(() => chain.nextNonce(key('cold').address), { interval: 1 }).toBe(16);
  await expect(send(16)).rejects.toMatchObject({ code: 'BUSY' });
  await expect(send(0, 'stranger')).rejects.toMatchObject({ reason: 'HotKeyNotRegisteredInSubNet' });
  const nominators = Promise.allSettled([send(0, 'nominator')]);
  await expect.poll(() => chain.nextNonce(key('nominator').address), { interval: 1 }).toBe(1);
  await chain.close();
  expect([...(await waiting), ...(await nominators)].map(({ status }) => status)).toEqual(new Array(17).fill('rejected'));
});
