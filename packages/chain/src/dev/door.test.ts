/** Calls that were signed elsewhere, at the door of the chain. */
import { type SwarmError, toHex } from '@starling/protocol';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Call } from '../chain.ts';
import { DeviceKey, encodeAddress, type Signer } from '../identity/index.ts';
import { key, OPTIONS, register, stake, TAO, TestNet, weigh } from './for-tests.ts';
import { fromPlain, toPlain } from './plain.ts';
import { payload, signed } from './signed-call.ts';

let net: TestNet;
beforeEach(async () => {
  net = await TestNet.open();
});
afterEach(() => net.chain.close());

const transfer = (to: string, amount: bigint): Call => ({ type: 'transfer', to, amount });
const from = async (signer: Signer, nonce: number, call: Call) => toPlain(await signed(net.chain.network, nonce, call, signer));
/** With another's signature. */
const forged = async (name: string, nonce: number, call: Call) => {
  const signature = toHex(await key('thief').sign(payload(net.chain.network, nonce, call)));
  return toPlain({ signer: key(name).address, nonce, call, signature });
};

/** Devices' keys, whose signatures are looked at quickly. */
async function devices(count: number): Promise<Signer[]> {
  const keys = await Promise.all(Array.from({ length: count }, () => DeviceKey.generate()));
  return keys.map((one) => ({
    address: encodeAddress(one.publicKey),
    publicKey: one.publicKey,
    sign: (bytes: Uint8Array) => one.sign(bytes),
  }));
}

/** Each with an account of so many rao. */
async function accounts(count: number, amount: bigint): Promise<Signer[]> {
  const signers = await devices(count);
  await net.send(...signers.map(({ address }): [string, Call] => ['cold', transfer(address, amount)]));
  return signers;
}

it('strangers fill their own places and nobody else’s: a validator’s weights, and the stake of its coldkey, are in the next block', async () => {
  await net.send(['cold', register('v1')], ['cold', stake('v1', 30n * TAO)]);
  await net.blocks(10); // an epoch gives the permit
  const strangers = await accounts(16, 1_000n);
  const sent = [];
  const cold = key('cold').address;
  for (const stranger of strangers)
    for (let nonce = 0; nonce < 16; nonce++) sent.push(net.chain.submitSigned(await from(stranger, nonce, transfer(cold, 1n))));
  const weights = net.chain.submitSigned(await from(key('v1'), 0, weigh([0], [1])));
  const more = net.chain.submitSigned(await from(key('cold'), net.chain.nextNonce(cold), stake('v1', TAO)));
  const { number } = await net.chain.head();
  // One block carries out so many, and no more: the neuron's first, four of each stranger at most.
  await net.blocks(1);
  expect([await weights, await more]).toMatchObject([{ block: number + 1 }, { block: number + 1 }]);
  expect(strangers.map(({ address }) => net.chain.nextNonce(address))).toEqual(new Array(16).fill(16));
  const balances = () => Promise.all(strangers.map(({ address }) => net.chain.balance(address)));
  const spent = async () => (await balances()).reduce((all, free) => all + 1_000n - free, 0n);
  expect(await spent()).toBe(62n);
  await net.blocks(1);
  expect(await spent()).toBe(126n);
  for (let i = 0; i < 3; i++) await net.blocks(1);
  await Promise.all(sent);
  expect(await spent()).toBe(256n);
});

it('gives a newcomer the last place of the longest line, and nobody a second place', async () => {
  const strangers = await accounts(17, 1_000n);
  const outcomes: Promise<unknown>[] = [];
  const lengths = [...new Array(15).fill(16), 15, 1] as number[];
  for (const [i, length] of lengths.entries())
    for (let nonce = 0; nonce < length; nonce++) {
      const sent = net.chain.submitSigned(await from(strangers[i]!, nonce, transfer(key('cold').address, 1n)));
      outcomes.push(sent.catch(({ code }) => [i, nonce, code]));
    }
  const waiting = () => strangers.map(({ address }) => net.chain.nextNonce(address));
  const second = await from(strangers[16]!, 1, transfer(key('cold').address, 1n));
  await expect(net.chain.submitSigned(second)).rejects.toMatchObject({ code: 'BUSY' });
  await expect(net.chain.submitSigned(await forged('nominator', 0, register('new')))).rejects.toMatchObject({ reason: 'BadProof' });
  expect(waiting()).toEqual(lengths);
  const { number } = await net.chain.head();
  const registered = net.chain.submitSigned(await from(key('nominator'), 0, register('new')));
  expect(waiting()).toEqual(lengths.with(14, 15));
  await net.blocks(1);
  expect(await registered).toMatchObject({ block: number + 1 });
  for (let i = 0; i < 4; i++) await net.blocks(1);
  expect((await Promise.all(outcomes)).filter(Array.isArray)).toEqual([[14, 15, 'BUSY']]);
});

it('has no place for a newcomer while each of 256 strangers has one call waiting', async () => {
  const strangers = await devices(256);
  await net.chain.close();
  const endowments = [...OPTIONS.endowments!, ...strangers.map(({ address }) => ({ account: address, amount: 500n }))];
  net = await TestNet.open({ endowments });
  const sent = [];
  for (const one of strangers) sent.push(net.chain.submitSigned(await from(one, 0, transfer(one.address, 1n))));
  const newcomer = await from(key('nominator'), 0, register('new'));
  await expect(net.chain.submitSigned(newcomer)).rejects.toMatchObject({ code: 'BUSY' });
  for (let i = 0; i < 4; i++) await net.blocks(1);
  expect(await Promise.all(sent)).toHaveLength(256);
});

it('looks at a signature only when everything else is right, and a forged call takes no place', async () => {
  const call = transfer(key('owner').address, TAO);
  const send = async (nonce: number) => net.chain.submitSigned(await forged('cold', nonce, call));
  await expect(send(1)).rejects.toMatchObject({ reason: 'Future' });
  await expect(send(0)).rejects.toMatchObject({ reason: 'BadProof' });
  expect(net.chain.nextNonce(key('cold').address)).toBe(0);
  await net.send(['cold', call]);
  await expect(send(0)).rejects.toMatchObject({ reason: 'Stale' });
  const [device] = await accounts(1, TAO);
  const { address } = device!;
  const waiting = [];
  for (let nonce = 0; nonce < 16; nonce++) waiting.push(net.chain.submitSigned(await from(device!, nonce, call)).catch(() => {}));
  const another = await from({ ...device!, sign: (bytes) => key('thief').sign(bytes) }, 16, call);
  await expect(net.chain.submitSigned(another)).rejects.toMatchObject({ code: 'BUSY' });
  expect(net.chain.nextNonce(address)).toBe(16);
  await net.blocks(1);
  await Promise.all(waiting);
});

it('takes no address with a wrong checksum, and nothing that is no call', async () => {
  const mistyped = `${key('m1').address.slice(0, -1)}1`;
  const right = key('m1').address;
  const calls: Call[] = [
    transfer(mistyped, TAO),
    { type: 'register', hotkey: mistyped, limit: null },
    { type: 'register', hotkey: right, limit: null, coldkey: mistyped },
    { type: 'addStake', hotkey: mistyped, amount: TAO },
    { type: 'removeStake', hotkey: mistyped, amount: TAO },
  ];
  for (const call of calls) {
    const signature = toHex(await key('cold').sign(payload(net.chain.network, 0, call)));
    const plain = toPlain({ signer: key('cold').address, nonce: 0, call, signature });
    await expect(net.chain.submitSigned(plain), call.type).rejects.toMatchObject({ code: 'ADDRESS_INVALID' });
  }
  const good = (await from(key('cold'), 0, transfer(right, TAO))) as object;
  await expect(net.chain.submitSigned({ ...good, signer: mistyped })).rejects.toMatchObject({ code: 'ADDRESS_INVALID' });
  const amount = { type: 'transfer', to: right, amount: { bigint: 'much' } };
  await expect(net.chain.submitSigned({ ...good, call: amount })).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
  const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`) as unknown;
  await expect(net.chain.submitSigned({ ...good, call: deep })).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
});

it('reads no longer numbers than the chain has, and tells nobody at length what he sent', async () => {
  const good = {
    signer: key('cold').address,
    nonce: 0,
    call: toPlain(transfer(key('m1').address, TAO)) as object,
    signature: '00'.repeat(64),
  };
  const [long, most] = ['9'.repeat(250_000), 2n ** 128n - 1n];
  expect(fromPlain(toPlain([most, -most]))).toEqual([most, -most]);
  const numbers = [long, '9'.repeat(40), '0x10', '', ' 1', '-', 1, ['1'], null];
  for (const bigint of numbers)
    await expect(net.chain.submitSigned({ ...good, other: { bigint } }), String(bigint).slice(0, 50)).rejects.toMatchObject({
      code: 'BAD_MESSAGE',
      message: 'This is no signed call: A bigint has 1 to 39 decimal digits.',
    });
  const uids = new Array(4_096).fill('none') as string[];
  for (const bad of [
    { nonce: long },
    { call: { ...good.call, type: long } },
    { call: { ...good.call, amount: long } },
    { call: { type: 'setWeights', uids, weights: uids, version: 0 } },
  ]) {
    const error = (await net.chain.submitSigned({ ...good, ...bad }).catch((one: unknown) => one)) as SwarmError;
    expect(error).toMatchObject({ code: 'BAD_MESSAGE', message: expect.stringMatching(/^This is no signed call: × [^×]*$/) });
    expect(error.message.length).toBeLessThan(250);
  }
});
