/** Guests, links and weights, on an embedded chain in memory that makes its blocks when it is told to. */
import { type Call, type Chain, DevChain, encodeAddress, fromHex, type Signer, Sr25519Key, SubtensorChain, toPlain } from '@starling/chain';
import { Challenges, DeviceKey, delegationText, utf8, wrapBytes } from '@starling/chain/identity';
import { fillSubnet, findMetadata, GENESIS, key as knownKey, NETUID, signed, TestNode } from '@starling/chain/testing';
import { type RoundWork, SwarmError, toHex } from '@starling/protocol';
import { SqliteStore } from '@starling/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Accounts } from './accounts.ts';
import { registerAll } from './embedded.ts';
import { ChainLine } from './line.ts';
import { Paymaster, type PaymasterParts } from './paymaster.ts';

const SERVER = 'starling-test';
const DAY = 86_400_000;
const [owner, validator, miner] = ['owner', 'validator', 'miner'].map((name) => Sr25519Key.development(name)) as [
  Sr25519Key,
  Sr25519Key,
  Sr25519Key,
];

let now: number;
let chain: DevChain;
let accounts: Accounts;
let device: string;
let key: DeviceKey;
let told: (string | null)[];
const store = () => new SqliteStore(':memory:');
/** Retries that wait for their time, which tests let come. */
let retries: (() => void)[];
const after = (_: number, task: () => void) => {
  retries.push(task);
  return () => {};
};
const challenges = () => new Challenges((bytes) => crypto.getRandomValues(new Uint8Array(bytes)));

beforeEach(async () => {
  now = 1_700_000_000_000;
  told = [];
  retries = [];
  const endowments = [owner, miner].map(({ address: account }) => ({ account, amount: 10n ** 15n }));
  chain = await DevChain.open(
    {
      name: 'test',
      owner: { coldkey: owner.address, hotkey: validator.address },
      endowments,
      tempo: 4,
      blockMs: 1_000,
      weightsRateLimit: 0,
    },
    { store: store(), clock: { now: () => now, pause: async () => {} } },
  );
  accounts = await Accounts.open(store(), challenges(), () => now);
  key = await DeviceKey.generate();
  device = key.signer.publicKey;
});
let paymaster: Paymaster | null = null;
afterEach(() => paymaster?.close());

/** Time passes, until everything that waits for a block had one. */
async function blocks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    for (let turn = 0; turn < 100; turn++) await Promise.resolve();
    now += 1_000;
    await chain.tick();
  }
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}

async function open(changes: Partial<PaymasterParts> = {}, openChain: () => Promise<Chain> = async () => chain): Promise<Paymaster> {
  const line = new ChainLine({ open: openChain, after, tell: (trouble) => told.push(trouble?.code ?? null) });
  paymaster = new Paymaster({
    kind: 'embedded',
    line,
    accounts,
    server: SERVER,
    netuid: 9,
    validator,
    commits: { read: async () => [], write: async () => {} }, // nothing is committed where weights are plain
    prepare: async () => {},
    blockMs: 1,
    roundSteps: 1,
    halfLife: 1_000,
    ledger: [],
    tell: (trouble) => told.push(trouble?.code ?? null),
    ...changes,
  });
  await line.open();
  return paymaster;
}

async function submit(signer: Signer, ...calls: Parameters<DevChain['submit']>[0][]): Promise<void> {
  const sent = calls.map((call) => chain.submit(call, signer));
  await blocks(1);
  await Promise.all(sent);
}

const round = (number: number, work: Record<string, number>): RoundWork => ({
  round: number,
  step: number,
  time: now,
  hold: 0,
  convicted: [],
  miners: Object.entries(work).map(([of, flops], i) => ({ minerId: `m-${i}`, name: `n${i}`, device: of === 'none' ? null : of, flops })),
});

async function delegation(hotkey = miner, expiresAt = now + DAY) {
  const { network, netuid, server, nonce, issuedAt } = paymaster!.challenge();
  const fields = { network, netuid, server, hotkey: hotkey.address, device, issuedAt, expiresAt, nonce };
  const text = utf8(delegationText(fields));
  return { delegation: fields, walletSignature: toHex(hotkey.sign(wrapBytes(text))), deviceSignature: toHex(await key.sign(text)) };
}

describe('a guest', () => {
  it('keeps what it earned when it gets a hotkey, also over a restart, and is a guest again when that is over', async () => {
    const { link, closed, account } = bound(await open());
    closed(round(1, { [device]: 6e9, none: 1e9 }));
    expect(await account(device)).toMatchObject({
      address: encodeAddress(fromHex(device)!),
      delegation: null,
      work: 6e9,
      score: 6e9,
      halfLife: 1_000,
    });
    await link(await delegation());
    expect(await account(device)).toMatchObject({ address: miner.address, delegation: { hotkey: miner.address }, work: 6e9, score: 6e9 });
    closed(round(2, { [device]: 2e9 }));
    const { pay } = await paymaster!.view();
    expect(pay).toHaveLength(1);
    expect(pay[0]).toMatchObject({ address: miner.address, guest: false, work: 8e9, score: 5e9, roundWork: 2e9 });
    // Another hotkey takes the place of the first.
    const second = Sr25519Key.development('second');
    await link(await delegation(second));
    expect(await account(device)).toMatchObject({ address: second.address, work: 8e9 });
    now += DAY;
    expect(await account(device)).toMatchObject({ address: encodeAddress(fromHex(device)!), delegation: null, work: 8e9, score: 5e9 });
  });

  it('has what it was paid for its own, to be moved by its own key, and so has who is linked later', async () => {
    await submit(owner, { type: 'addStake', hotkey: validator.address, amount: 10n ** 12n });
    const prepare: PaymasterParts['prepare'] = (on, scores) => registerAll(on, [...scores.keys()], owner);
    const { link, closed } = bound(await open({ prepare }));
    closed(round(1, { [device]: 6e9 }));
    await blocks(10);
    const guest: Signer = { address: encodeAddress(key.publicKey), publicKey: key.publicKey, sign: (message) => key.sign(message) };
    const neuronOf = async (address: string) => (await chain.metagraph()).neurons.find(({ hotkey }) => hotkey === address);
    const { stake, coldkey } = (await neuronOf(guest.address))!;
    expect([stake > 0n, coldkey]).toEqual([true, guest.address]);
    // Another hotkey earns from now on; what was paid stays the device's.
    await link(await delegation(Sr25519Key.development('second')));
    closed(round(2, { [device]: 6e9 }));
    await blocks(10);
    const second = Sr25519Key.development('second');
    expect(await neuronOf(second.address)).toMatchObject({ coldkey: second.address });
    expect((await neuronOf(second.address))!.stake).toBeGreaterThan(0n);
    expect((await neuronOf(guest.address))!.stake).toBeGreaterThanOrEqual(stake);
    const unstake = (amount: bigint) => ({ type: 'removeStake' as const, hotkey: guest.address, amount });
    const settled = async (sent: Promise<unknown>) => {
      let end: string | null = null;
      void sent.then(
        () => (end = 'done'),
        ({ reason }) => (end = reason),
      );
      // Web Crypto signs elsewhere, and is through when it is: blocks are made until then.
      while (end === null) {
        await new Promise((resolve) => setImmediate(resolve));
        await blocks(1);
      }
      return end;
    };
    expect(await settled(chain.submit(unstake(stake), owner)), 'nobody else’s').toBe('NotEnoughStakeToWithdraw');
    expect(await settled(chain.submit(unstake(stake), guest))).toBe('done');
    expect(await settled(chain.submit({ type: 'transfer', to: second.address, amount: stake }, guest))).toBe('done');
    expect(await chain.balance(second.address)).toBe(stake);
  });

  it('moves it to its hotkey by calls that nobody forges and nobody sends twice, and sees what is left', async () => {
    await submit(owner, { type: 'addStake', hotkey: validator.address, amount: 10n ** 12n });
    const prepare: PaymasterParts['prepare'] = (on, scores) => registerAll(on, [...scores.keys()], owner);
    const { link, closed, account } = bound(await open({ prepare }));
    expect((await account(device)).own).toEqual({ staked: '0', free: '0' });
    closed(round(1, { [device]: 6e9 }));
    await blocks(10);
    const guest: Signer = { address: encodeAddress(key.publicKey), publicKey: key.publicKey, sign: (message) => key.sign(message) };
    await link(await delegation(miner));
    const own = BigInt((await account(device)).own!.staked);
    expect(own).toBeGreaterThan(0n);

    const { network } = chain;
    const sent = async (extrinsic: unknown) => {
      const outcome = chain.submitSigned(toPlain(extrinsic)).then(
        () => 'done',
        ({ reason }) => reason as string,
      );
      await blocks(1);
      return outcome;
    };
    const out: Call = { type: 'removeStake', hotkey: guest.address, amount: own };
    const taken = await signed(network, 0, out, guest);
    const stranger = await DeviceKey.generate();
    const forged = await signed(network, 0, out, { ...guest, sign: (message) => stranger.sign(message) });
    expect(await sent(forged)).toBe('BadProof');
    expect(await sent({ ...taken, call: { ...out, amount: own - 1n } }), 'other words under the same signature').toBe('BadProof');
    expect(await sent(await signed('ab'.repeat(32), 0, out, guest)), 'for another chain').toBe('BadProof');
    expect(await sent(taken)).toBe('done');
    expect(await sent(taken)).toBe('Stale');
    expect(BigInt((await account(device)).own!.free)).toBe(own);
    const before = await chain.balance(miner.address);
    const moved = await signed(network, 1, { type: 'transfer', to: miner.address, amount: own }, guest);
    expect(await sent(moved)).toBe('done');
    expect(await sent(moved)).not.toBe('done');
    expect((await chain.balance(miner.address)) - before).toBe(own);
    expect((await account(device)).own!.free).toBe('0');
  });

  it('sees what is held until audits are over, and when that is, but nothing that was forfeited', async () => {
    const { closed, account } = bound(await open({ roundSteps: 10 }));
    const held = (number: number, flops: number, convicted: string[] = []) =>
      closed({ ...round(number, { [device]: flops, none: 1e9 }), step: 10 * number, hold: 2, convicted });
    expect((await account(device)).held).toBeNull();
    held(1, 6e9);
    held(2, 2e9);
    expect(await account(device)).toMatchObject({ work: 0, held: { work: 8e9, step: 40 } });
    held(3, 0);
    expect(await account(device)).toMatchObject({ work: 6e9, held: { work: 2e9, step: 40 } });
    held(4, 3e9, ['m-0']);
    expect(await account(device)).toMatchObject({ work: 6e9, held: null });
  });

  it('is linked in what a restarted server reads, and not by a challenge of before', async () => {
    const kept = store();
    const first = await Accounts.open(kept, challenges(), () => now);
    await open({ accounts: first });
    const one = await delegation();
    await paymaster!.link(one);
    const again = await Accounts.open(kept, challenges(), () => now);
    expect(again.delegationOf(device)).toEqual(one.delegation);
    const receiver = { network: chain.network, netuid: 9, server: SERVER };
    await expect(again.link(one, receiver)).rejects.toMatchObject({ code: 'DELEGATION_REPLAYED' });
  });
});

describe('weights', () => {
  it('are linear in the scores, and pay in that proportion; who left earns less and less', async () => {
    await submit(owner, { type: 'addStake', hotkey: validator.address, amount: 10n ** 12n });
    const guests = await Promise.all([1, 2, 3].map(() => DeviceKey.generate()));
    const ids = guests.map(({ signer }) => signer.publicKey) as [string, string, string];
    const addresses = guests.map(({ publicKey }) => encodeAddress(publicKey));
    await submit(miner, ...addresses.map((hotkey) => ({ type: 'register' as const, hotkey, limit: null })));
    const { closed, view } = bound(await open());
    closed(round(1, { [ids[0]]: 4e9, [ids[1]]: 2e9, [ids[2]]: 1e9 }));
    await blocks(6);
    let { pay, weights } = await view();
    expect(weights!.weights.map(({ weight }) => weight)).toEqual([65_535, 32_768, 16_384]);
    const shares = () => pay.map(({ incentive }) => incentive / pay.reduce((all, one) => all + one.incentive, 0));
    shares().forEach((share, i) => {
      expect(share).toBeCloseTo([4 / 7, 2 / 7, 1 / 7][i]!, 3);
    });
    closed(round(2, { [ids[1]]: 2e9, [ids[2]]: 1e9 }));
    await blocks(6);
    ({ pay, weights } = await view());
    expect(pay.map(({ address, score }) => [addresses.indexOf(address), score])).toEqual([
      [1, 3e9],
      [0, 2e9],
      [2, 1.5e9],
    ]);
    expect(told).toEqual([]);
  });

  it('are not set by a validator that is not registered, which is told once, and training goes on', async () => {
    const stranger = Sr25519Key.development('stranger');
    const { closed, view } = bound(await open({ validator: stranger }));
    await submit(miner, { type: 'register', hotkey: encodeAddress(key.publicKey), limit: null });
    closed(round(1, { [device]: 1e9 }));
    await expect.poll(async () => (await view()).trouble?.code, { interval: 5 }).toBe('CHAIN_REFUSED');
    closed(round(2, { [device]: 1e9 }));
    await blocks(3);
    expect(told).toEqual(['CHAIN_REFUSED']);
    expect(await view()).toMatchObject({ weights: null, trouble: { hint: expect.stringContaining('Register the hotkey') } });
  });

  it('wait for a chain that is not there, and what is known is shown meanwhile', async () => {
    let isDown = true;
    const { closed, view, challenge } = bound(
      await open({}, async () => {
        if (isDown) throw new SwarmError('CHAIN_UNREACHABLE', 'The node is down.');
        return chain;
      }),
    );
    await submit(miner, { type: 'register', hotkey: encodeAddress(key.publicKey), limit: null });
    closed(round(1, { [device]: 3e9 }));
    expect(await view()).toMatchObject({ trouble: { code: 'CHAIN_UNREACHABLE' }, neurons: [], pay: [{ work: 3e9, uid: null }] });
    expect(() => challenge()).toThrow(expect.objectContaining({ code: 'CHAIN_UNREACHABLE' }));
    retries.shift()!();
    await blocks(1);
    expect(told, 'the same is told once').toEqual(['CHAIN_UNREACHABLE']);
    isDown = false;
    retries.shift()!();
    await blocks(3);
    expect(await view()).toMatchObject({ trouble: null, weights: { round: 1, weights: [{ weight: 65_535 }] }, pay: [{ uid: 1 }] });
    expect(told).toEqual(['CHAIN_UNREACHABLE', null]);
  });
});

const metadata = findMetadata(console.warn);
describe.skipIf(!metadata)('subtensor', () => {
  it('gets the weights of the round by a hotkey, those of who is registered, and is only read without one', async () => {
    const node = await TestNode.start(metadata!);
    fillSubnet(node);
    node.nonces.set(knownKey('v1').address, 0);
    // Weights were set long ago.
    for (let block = 0; block < 150; block++) node.nextBlock();
    const openNode = () => SubtensorChain.open({ endpoint: node.url, netuid: NETUID, genesis: GENESIS.slice(2), after });
    try {
      const { closed, view, link } = bound(await open({ kind: 'subtensor', validator: knownKey('v1') }, openNode));
      closed(round(1, { [device]: 6e9, ['ab'.repeat(32)]: 2e9 }));
      expect((await view()).neurons.map(({ hotkey }) => hotkey)).toEqual(['owner-hot', 'v1', 'm1'].map((name) => knownKey(name).address));
      expect(node.taken).toEqual([]); // nobody who worked is registered there
      await expect(link(await delegation())).rejects.toMatchObject({ code: 'CHAIN_REFUSED', reason: 'HotKeyNotRegisteredInSubNet' });
      expect(accounts.delegationOf(device)).toBeNull();
      await link(await delegation(knownKey('m1')));
      await expect.poll(() => node.taken.length, { interval: 5 }).toBe(1);
      expect(node.taken[0]).toMatchObject({
        signer: knownKey('v1').address,
        method: 'subtensorModule.setWeights',
        args: { netuid: '9', dests: ['2'], weights: ['65,535'], version_key: '7' },
      });
      await expect
        .poll(async () => (await view()).weights?.weights, { interval: 5 })
        .toEqual([{ uid: 2, hotkey: knownKey('m1').address, weight: 65_535 }]);
      expect((await view()).pay[0]).toMatchObject({ address: knownKey('m1').address, uid: 2, incentive: 65_535 });
      await paymaster!.close();
      accounts = await Accounts.open(store(), challenges(), () => now);
      const read = bound(await open({ kind: 'subtensor', validator: null }, openNode));
      read.closed(round(1, { [device]: 1e9 }));
      expect(await read.view()).toMatchObject({ trouble: null, weights: null, neurons: { length: 3 } });
      expect(node.taken).toHaveLength(1);
      // The node goes down: what the server knows is shown, with the trouble.
      await node.stop();
      expect(await read.view()).toMatchObject({ trouble: { code: 'CHAIN_UNREACHABLE' }, pay: [{ work: 1e9 }] });
    } finally {
      await node.stop().catch(() => {});
    }
  });
});

function bound(of: Paymaster) {
  return {
    closed: of.closed.bind(of),
    account: of.account.bind(of),
    link: of.link.bind(of),
    view: of.view.bind(of),
    challenge: of.challenge.bind(of),
  };
}
