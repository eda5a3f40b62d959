import { type AddressInfo, createServer, type Server } from 'node:net';
import { type SwarmError, toHex } from '@starling/protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Call, EpochPaid } from '../chain.ts';
import { commitHash } from '../commit-hash.ts';
import { key } from '../dev/for-tests.ts';
import { extrinsicOf } from './calls.ts';
import { fillSubnet, findMetadata, GENESIS, NETUID, TestNode, VERSION } from './node-for-tests.ts';
import { epochAt } from './reads.ts';
import { SubtensorChain, type SubtensorOptions } from './subtensor-chain.ts';

const metadata = findMetadata(console.warn);
const refused = (reason: string) => expect.objectContaining({ reason, code: 'CHAIN_REFUSED' });

/** Time that stands still until it is told to run out. */
class Timers {
  readonly tasks = new Set<() => void>();
  #waiting = () => {};
  after = (ms: number, task: () => void) => {
    this.tasks.add(task);
    if (ms < 30_000) this.#waiting();
    return () => this.tasks.delete(task);
  };
  /** Resolves when somebody pauses; to wait for an answer is no pause. */
  some(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
  runOut(): void {
    for (const task of [...this.tasks]) {
      this.tasks.delete(task);
      task();
    }
  }
}

describe.skipIf(!metadata)('subtensor', () => {
  let node: TestNode;
  let timers: Timers;
  let chain: SubtensorChain | null = null;
  const open = (options: Partial<SubtensorOptions> = {}) =>
    SubtensorChain.open({ endpoint: node.url, netuid: NETUID, genesis: GENESIS.slice(2), after: timers.after, ...options });
  beforeEach(async () => {
    timers = new Timers();
    node = await TestNode.start(metadata!);
    fillSubnet(node);
  });
  afterEach(async () => {
    await chain?.close();
    chain = null;
    await node.stop();
  });

  it('takes calls in the bytes that the runtime’s source says', async () => {
    chain = await open();
    const [hotkey, hotkeyHex] = [key('v1').address, toHex(key('v1').publicKey)];
    // pallet 7; call, netuid 9 (u16), vectors of u16 with compact length, version u64: macros/dispatches.rs
    const calls: [Call, string][] = [
      [{ type: 'setWeights', uids: [1, 258], weights: [65_535, 3], version: 7 }, '07000900080100020108ffff03000700000000000000'],
      [{ type: 'commitWeights', hash: 'ab'.repeat(32) }, `07600900${'ab'.repeat(32)}`],
      [{ type: 'revealWeights', uids: [1], weights: [2], salt: [3, 4], version: 5 }, '0761090004010004020008030004000500000000000000'],
      [{ type: 'register', hotkey, limit: null }, `07070900${hotkeyHex}`],
    ];
    for (const [call] of calls) await chain.submit(call, key('v1'));
    expect(node.taken.map(({ call }) => call)).toEqual(calls.map(([, bytes]) => `0x${bytes}`));
    // twox128("SubtensorModule") ++ twox128("Burn") ++ netuid, as the live chain has it
    node.read = [];
    await chain.metagraph();
    expect(node.read).toContain('0x658faa385070e074c85bf6b568cf055501be1755d08418802946bca51b6863250900');
  });

  it('is asked for a registration with its limit where the runtime takes one, and in nobody else’s name', () => {
    // registration.rs, `register_limit(netuid, hotkey, limit_price)`: not in the metadata at hand.
    const hotkey = key('v1').address;
    const made = (name: string, fields: string[]) =>
      Object.assign((...args: unknown[]) => [name, ...args], { meta: { args: fields.map((field) => ({ name: field })) } });
    const burnedRegister = made('burnedRegister', ['netuid', 'hotkey']);
    const registerLimit = made('registerLimit', ['netuid', 'hotkey', 'limitPrice']);
    const of = (subtensorModule: object, call: object) =>
      extrinsicOf({ tx: { subtensorModule }, runtimeVersion: VERSION } as never, NETUID, { type: 'register', hotkey, ...call } as Call);
    expect(of({ burnedRegister, registerLimit }, { limit: 5n })).toEqual(['registerLimit', NETUID, hotkey, 5n]);
    expect(of({ burnedRegister, registerLimit }, { limit: null })).toEqual(['burnedRegister', NETUID, hotkey]);
    expect(of({ burnedRegister }, { limit: 5n })).toEqual(['burnedRegister', NETUID, hotkey]);
    const lacks = (what: string) => expect.objectContaining({ code: 'CHAIN_INCOMPATIBLE', message: expect.stringContaining(what) });
    expect(() => of({}, { limit: null })).toThrow(lacks('the call subtensorModule.burnedRegister'));
    const changed = made('burnedRegister', ['hotkey', 'netuid']);
    expect(() => of({ burnedRegister: changed }, { limit: null })).toThrow(lacks('burnedRegister (netuid, hotkey)'));
    expect(() => of({}, { limit: null, coldkey: hotkey })).toThrow(expect.objectContaining({ code: 'BAD_MESSAGE' }));
  });

  it.each([
    ['CheckNonce', 'CheckNoncf', 'wants CheckNoncf in every signed call'],
    ['NetworksAdded', 'NetworksAddes', 'does not have the storage subtensorModule.networksAdded'],
    ['meta', 'mete', 'cannot be read'],
  ])('whose metadata has %s as %s is refused by name, and nothing is written by the library', async (name, other, why) => {
    const written = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
    node.metadata = Buffer.from(Buffer.from(metadata!).toString('latin1').replaceAll(name, other), 'latin1');
    await expect(open()).rejects.toMatchObject({ code: 'CHAIN_INCOMPATIBLE', message: expect.stringContaining(why) });
    expect(written.map(({ mock }) => mock.calls.map(([text]) => String(text)))).toEqual([[], []]);
    for (const write of written) write.mockRestore();
  });

  it('is read as a metagraph, all of one block', async () => {
    chain = await open();
    for (let i = 0; i < 20; i++) node.nextBlock();
    const metagraph = await chain.metagraph();
    expect(metagraph).toMatchObject({ block: 20, burn: 123_456_789n, epoch: 0, nextEpoch: 351 });
    expect(metagraph.rules).toEqual({
      tempo: 360,
      maxUids: 256,
      maxValidators: 64,
      minAllowedWeights: 1,
      maxWeightLimit: 65_535,
      weightsRateLimit: 100,
      weightsVersion: 7,
      stakeThreshold: 1_000_000_000_000n,
      revealPeriod: null,
    });
    expect(metagraph.neurons).toHaveLength(3);
    expect(metagraph.neurons[1]).toEqual({
      uid: 1,
      hotkey: key('v1').address,
      coldkey: key('cold').address,
      registeredAt: 11,
      lastUpdate: 2,
      stake: 1_000n,
      permit: true,
      active: true,
      stakeWeight: 65_535,
      consensus: 0,
      incentive: 0,
      dividends: 65_535,
      validatorTrust: 60_000,
      emission: 41_000n,
    });
    node.set('subtensorModule', 'commitRevealWeightsEnabled', [NETUID], true);
    node.nextBlock();
    expect((await chain.metagraph()).rules.revealPeriod).toBe(2);
    expect(await chain.head()).toEqual({ number: 21, hash: node.head.slice(2) });
    expect(await chain.balance(key('cold').address)).toBe(0n);
  });

  it('takes calls that are signed as its extensions say, one after the other', async () => {
    chain = await open();
    const secret = { uids: [2], weights: [1], salt: [4], version: 7 };
    const hash = commitHash({ hotkey: key('v1').address, netuid: NETUID, ...secret });
    const calls: Call[] = [
      { type: 'setWeights', uids: [1, 2], weights: [1, 2], version: 7 },
      { type: 'commitWeights', hash },
      { type: 'revealWeights', ...secret },
      { type: 'register', hotkey: key('m2').address, limit: 200_000_000n },
      { type: 'addStake', hotkey: key('v1').address, amount: 5n },
      { type: 'removeStake', hotkey: key('v1').address, amount: 4n },
      { type: 'transfer', to: key('m1').address, amount: 3n },
      // Longer than what is signed as it is.
      { type: 'setWeights', uids: Array.from({ length: 256 }, (_, uid) => uid), weights: new Array(256).fill(9), version: 7 },
    ];
    const included = await Promise.all(calls.map((call) => chain!.submit(call, key('v1'))));
    expect(included.map(({ block }) => block)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(node.taken.map(({ method }) => method)).toEqual([
      ...['setWeights', 'commitWeights', 'revealWeights', 'burnedRegister', 'addStake', 'removeStake'].map(
        (name) => `subtensorModule.${name}`,
      ),
      'balances.transferKeepAlive',
      'subtensorModule.setWeights',
    ]);
    expect(node.taken.every(({ signer }) => signer === key('v1').address)).toBe(true);
    expect(node.taken[0]!.args).toEqual({ netuid: '9', dests: ['1', '2'], weights: ['1', '2'], version_key: '7' });
    expect(node.taken[6]!.args).toEqual({ dest: { Id: key('m1').address }, value: '3' });
  });

  it('says why it did not take a call: the runtime, the pool, or the price', async () => {
    chain = await open();
    const call: Call = { type: 'setWeights', uids: [2], weights: [1], version: 7 };
    const send = () => chain!.submit(call, key('v1'));
    node.moduleError = 'SettingWeightsTooFast';
    await expect(send()).rejects.toThrow(refused('SettingWeightsTooFast'));
    node.moduleError = 'NeuronNoValidatorPermit';
    await expect(send()).rejects.toMatchObject({ reason: 'NeuronNoValidatorPermit', hint: expect.stringContaining('permit') });
    node.moduleError = 'InvalidIpType'; // one that nothing here can cause
    await expect(send()).rejects.toMatchObject({ code: 'CHAIN_REFUSED', message: 'The chain carried out nothing: InvalidIpType.' });
    node.poolRefusal = { code: 1010, message: 'Invalid Transaction', data: 'Custom error: 3' };
    await expect(send()).rejects.toMatchObject({ code: 'CHAIN_REFUSED', message: expect.stringContaining('Custom error: 3') });
    node.poolRefusal = { code: 1010, message: 'Invalid Transaction', data: 'Transaction is outdated' };
    await expect(send()).rejects.toThrow(refused('Stale'));
    const forged = {
      ...key('v1'),
      address: key('v1').address,
      publicKey: key('v1').publicKey,
      sign: (text: Uint8Array) => key('m1').sign(text),
    };
    await expect(chain.submit(call, forged)).rejects.toThrow(refused('BadProof'));
    await expect(chain.submit({ type: 'register', hotkey: key('m2').address, limit: 1n }, key('cold'))).rejects.toThrow(
      refused('RegistrationPriceLimitExceeded'),
    );
    await expect(chain.submit({ ...call, version: -1 }, key('v1'))).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
    await expect(send()).resolves.toMatchObject({ block: expect.any(Number) });
  });

  it('waits through a reorganisation, and knows when the node let go of a call', async () => {
    chain = await open();
    const call: Call = { type: 'setWeights', uids: [2], weights: [1], version: 7 };
    node.statuses = ['ready', { inBlock: `0x${'aa'.repeat(32)}` }, { retracted: `0x${'aa'.repeat(32)}` }];
    await expect(chain.submit(call, key('v1'))).resolves.toEqual({ block: 1, epoch: 0 });
    node.statuses = ['ready', 'dropped'];
    await expect(chain.submit(call, key('v1'))).rejects.toMatchObject({
      code: 'CHAIN_UNREACHABLE',
      message: expect.stringContaining('dropped'),
    });
  });

  it('reads metadata again when the runtime was upgraded, and signs for the new one', async () => {
    chain = await open();
    await chain.metagraph();
    expect(node.metadataReads).toBe(1);
    node.version = { ...VERSION, specVersion: 426, transactionVersion: 2 };
    await chain.submit({ type: 'setWeights', uids: [2], weights: [1], version: 7 }, key('v1'));
    expect(node.metadataReads).toBe(2);
  });

  it('is not mistaken for another chain or subnet', async () => {
    await expect(open({ genesis: 'ab'.repeat(32) })).rejects.toMatchObject({ code: 'CHAIN_WRONG_NETWORK' });
    await expect(open({ netuid: 10 })).rejects.toMatchObject({
      code: 'CHAIN_WRONG_NETWORK',
      message: expect.stringContaining('no subnet 10'),
    });
    chain = await open({ genesis: null });
    expect(chain.network).toBe(GENESIS.slice(2));
    node.silent.add('chain_getHeader');
    const asked = expect(chain.head()).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    await node.asked('chain_getHeader');
    node.genesis = `0x${'cd'.repeat(32)}`;
    node.breakLines();
    await asked;
    await expect(chain.head(), 'what is at this address has to be the same chain').rejects.toMatchObject({ code: 'CHAIN_WRONG_NETWORK' });
    node.version = { ...VERSION, specName: 'polkadot' };
    await expect(open({ genesis: null })).rejects.toMatchObject({
      code: 'CHAIN_WRONG_NETWORK',
      message: expect.stringContaining('"polkadot"'),
    });
  });

  it('that is away is told, and asked again when it is back', async () => {
    await expect(open({ endpoint: 'ws://127.0.0.1:1' })).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    chain = await open();
    node.silent.add('chain_getHeader');
    const asked = expect(chain.head()).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE', message: expect.stringContaining('broke') });
    await node.asked('chain_getHeader');
    node.breakLines();
    await asked;
    node.silent.clear();
    expect((await chain.head()).number).toBe(0);
    await chain.close();
    await expect(chain.head()).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  });

  it('a call whose line broke has an unknown end, and its caller is told', async () => {
    chain = await open();
    node.statuses = ['ready'];
    node.finalises = false;
    const sent = expect(chain.submit({ type: 'setWeights', uids: [2], weights: [1], version: 7 }, key('v1'))).rejects.toMatchObject({
      code: 'CHAIN_UNREACHABLE',
    });
    await node.asked('author_submitAndWatchExtrinsic');
    await chain.head(); // the answer to that came after the subscription
    node.breakLines();
    await sent;
    expect(node.taken).toHaveLength(1);
  });

  it('whose chain stands still is given up once a call cannot get into a block any more', async () => {
    chain = await open();
    node.statuses = ['ready'];
    node.finalises = false;
    const send = () => chain!.submit({ type: 'setWeights', uids: [2], weights: [1], version: 7 }, key('v1'));
    const sent = expect(send()).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE', message: expect.stringContaining('no final block') });
    await node.asked('author_submitAndWatchExtrinsic');
    await chain.head(); // the answer to that came after the subscription
    timers.runOut();
    await sent;
    node.finalises = true;
    await expect(send(), 'the next one does not wait for it').resolves.toMatchObject({ block: 1 });
  });

  it.each<[string, (id: number) => string | Uint8Array]>([
    ['a text', () => 'rate limited'],
    ['nothing', () => ''],
    ['bytes', (id) => new TextEncoder().encode(JSON.stringify({ jsonrpc: '2.0', id, result: '0x' }))],
    ['null', () => 'null'],
    ['an answer that says nothing', (id) => JSON.stringify({ jsonrpc: '2.0', id })],
    ['a result of null', (id) => JSON.stringify({ jsonrpc: '2.0', id, result: null })],
    ['a result of another form', (id) => JSON.stringify({ jsonrpc: '2.0', id, result: { specVersion: '425' } })],
    ['an error of null', (id) => JSON.stringify({ jsonrpc: '2.0', id, error: null })],
    ['an error of another form', (id) => JSON.stringify({ jsonrpc: '2.0', id, error: 'rate limited' })],
    ['no subscription’s message', () => '{"jsonrpc":"2.0","method":"author_extrinsicUpdate","params":null}'],
  ])('that says %s costs its line, which is opened anew', async (_, says) => {
    const troubles: (SwarmError | null)[] = [];
    chain = await open({ onTrouble: (error) => troubles.push(error) });
    node.says = says;
    const running = chain.run();
    await timers.some(); // the pause until the next block
    expect(troubles).toMatchObject([{ code: 'CHAIN_UNREACHABLE', message: expect.stringContaining(node.url) }]);
    expect(node.lines).toBe(1);
    node.says = null;
    timers.runOut();
    await timers.some();
    expect(troubles[1]).toBeNull();
    expect(node.lines).toBe(2);
    await chain.close();
    timers.runOut();
    await running;
  });

  it.each([
    ['a list', '[]'],
    ['an answer to nobody', '{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"rate limited"}}'],
    ['an answer to something else', '{"jsonrpc":"2.0","id":1000000,"result":"0x"}'],
  ])('that says %s has not answered', async (_, says) => {
    chain = await open();
    node.says = () => says;
    const asked = expect(chain.head()).rejects.toMatchObject({
      code: 'CHAIN_UNREACHABLE',
      message: expect.stringContaining('did not answer'),
    });
    await node.asked('chain_getBlockHash');
    timers.runOut();
    await asked;
    node.says = null;
    expect((await chain.head()).number).toBe(0);
    expect(node.lines).toBe(2);
  });

  it.each([[null], [5], [{ finalized: null }], [{ finalized: 'ab' }]])('that tells %j of a call has told nothing', async (status) => {
    chain = await open();
    node.statuses = ['ready', status];
    node.finalises = false;
    const send = () => chain!.submit({ type: 'setWeights', uids: [2], weights: [1], version: 7 }, key('v1'));
    const sent = expect(send()).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    await node.asked('author_submitAndWatchExtrinsic');
    await chain.head(); // the answer to that came after the subscription
    timers.runOut();
    await sent;
    node.statuses = ['ready'];
    node.finalises = true;
    await expect(send()).resolves.toMatchObject({ block: 1 });
  });

  it('that refuses what the library asks by itself is read all the same', async () => {
    node.refuses.add('state_subscribeRuntimeVersion');
    chain = await open();
    await chain.poll();
    node.nextBlock();
    expect((await chain.metagraph()).neurons).toHaveLength(3);
    expect(node.lines).toBe(1);
    node.refuses.add('chain_getHeader');
    await expect(chain.head()).rejects.toMatchObject({ code: 'CHAIN_REFUSED', message: expect.stringContaining('Method not found') });
  });

  it('whose final block does not have the call is not believed', async () => {
    chain = await open();
    node.statuses = [{ finalized: GENESIS }];
    node.finalises = false;
    const call: Call = { type: 'setWeights', uids: [2], weights: [1], version: 7 };
    await expect(chain.submit(call, key('v1'))).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  });

  it('whose storage is not what the runtime says is told by name', async () => {
    chain = await open();
    node.setBytes('subtensorModule', 'lastUpdate', [NETUID], '0xffffffff');
    const told = { code: 'CHAIN_INCOMPATIBLE', message: expect.stringContaining('subtensorModule.lastUpdate') };
    await expect(chain.metagraph()).rejects.toMatchObject(told);
  });

  it('that does not answer is given up after a while, and its line with it', async () => {
    chain = await open();
    expect(timers.tasks.size).toBe(0); // nobody waits for what was answered
    node.silent.add('chain_getHeader');
    const asked = expect(chain.head()).rejects.toMatchObject({ message: expect.stringContaining('did not answer') });
    await node.asked('chain_getHeader');
    timers.runOut();
    await asked;
    node.silent.clear();
    expect((await chain.head()).number).toBe(0);
    expect(node.lines).toBe(2);
  });

  it('that takes a line and says nothing at all is given up, too', async () => {
    const mute = await new Promise<Server>((resolve) => {
      const server = createServer(() => timers.runOut()).listen(0, '127.0.0.1', () => resolve(server));
    });
    const endpoint = `ws://127.0.0.1:${(mute.address() as AddressInfo).port}`;
    await expect(open({ endpoint })).rejects.toMatchObject({ message: expect.stringContaining('did not answer') });
    mute.close();
  });

  it('tells of every epoch that it closes, and of nothing twice', async () => {
    chain = await open();
    const told: EpochPaid[] = [];
    const stop = chain.onEpoch((paid) => told.push(paid));
    await chain.poll();
    await chain.poll();
    expect(told).toEqual([]);
    node.set('subtensorModule', 'lastMechansimStepBlock', [NETUID], 366);
    node.nextBlock();
    await chain.poll();
    await chain.poll();
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ block: 366, owner: null, burned: null });
    expect(told[0]!.neurons.map(({ served, validated }) => [served, validated])).toEqual([
      [0n, 0n],
      [0n, 41_000n],
      [40_999n, 0n],
    ]);
    expect(await chain.epochs(5)).toEqual(told);
    stop();
    node.set('subtensorModule', 'lastMechansimStepBlock', [NETUID], 727);
    node.nextBlock();
    await chain.poll();
    expect(told).toHaveLength(1);
    expect(await chain.epochs(1)).toMatchObject([{ block: 727 }]);
  });

  it('runs on through trouble, which it tells once, and its end', async () => {
    const troubles: (string | undefined)[] = [];
    chain = await open({ onTrouble: (error) => troubles.push(error?.code) });
    node.silent.add('chain_getBlockHash');
    const running = chain.run();
    for (let again = 0; again < 2; again++) {
      await node.asked('chain_getBlockHash');
      node.breakLines();
      await timers.some(); // the pause until the next block
      timers.runOut();
    }
    await node.asked('chain_getBlockHash');
    node.silent.clear();
    node.breakLines();
    await timers.some();
    expect(troubles).toEqual(['CHAIN_UNREACHABLE']);
    timers.runOut();
    await node.asked('state_queryStorageAt');
    await timers.some();
    expect(troubles).toEqual(['CHAIN_UNREACHABLE', undefined]);
    await chain.close();
    timers.runOut();
    await running;
  });
});

it('epochs of older runtimes go by the block number', () => {
  // (block + netuid + 1) mod (tempo + 1) = 0
  for (const block of [0, 349, 350, 351, 352, 711, 712]) {
    const { epoch, nextEpoch } = epochAt(block, 9, 360, null, null);
    expect((nextEpoch + 10) % 361).toBe(0);
    expect(nextEpoch).toBeGreaterThan(block);
    expect(nextEpoch - block).toBeLessThanOrEqual(361);
    expect(epoch).toBe(Math.floor((block + 10) / 361));
  }
  expect(epochAt(1_000, 9, 360, 5, 900)).toEqual({ epoch: 5, nextEpoch: 1_260 });
});
