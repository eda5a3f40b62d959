/** Calls that were signed elsewhere, at the door of the chain. */
import { type SwarmError, toHex } from '@starling/protocol';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Call } from '../chain.ts';
import { DeviceKey, encodeAddress, type Signer } from '../identity/index.ts';
import { key, register, stake, TAO, TestNet, weigh } from './for-tests.ts';
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

/** Devices' keys, whose signatures are looked at quickly, each with an account of so many rao. */
async function accounts(count: number, amount: bigint): Promise<Signer[]> {
  const keys = await Promise.all(Array.from({ length: count }, () => DeviceKey.generate()));
  const signers = keys.map((one) => ({
    address: encodeAddress(one.publicKey),
    publicKey: one.publicKey,
    sign: (bytes: Uint8Array) => one.sign(bytes),
  }));
  await net.send(...signers.map(({ address }): [string, Call] => ['cold', transfer(address, amount)]));
  return signers;
}

it('strangers fill their own places and nobody else’s: a validator’s weights are in the next block', async () => {
  await net.send(['cold', register('v1')], ['cold', stake('v1', 30n * TAO)]);
  await net.blocks(10); // an epoch gives the permit
  const strangers = await accounts(16, 1_000n);
  const sent = [];
  const cold = key('cold').address;
  for (const stranger of strangers)
    for (let nonce = 0; nonce < 16; nonce++) sent.push(net.chain.submitSigned(await from(stranger, nonce, transfer(cold, 1n))));
  const late = await from(key('nominator'), 0, transfer(cold, TAO));
  await expect(net.chain.submitSigned(late)).rejects.toMatchObject({ code: 'BUSY' });
  const weights = net.chain.submitSigned(await from(key('v1'), 0, weigh([0], [1])));
  const { number } = await net.chain.head();
  // One block carries out so many, and no more: the validator's first, four of each stranger at most.
  await net.blocks(1);
  expect(await weights).toMatchObject({ block: number + 1 });
  expect(strangers.map(({ address }) => net.chain.nextNonce(address))).toEqual(new Array(16).fill(16));
  const balances = () => Promise.all(strangers.map(({ address }) => net.chain.balance(address)));
  const spent = async () => (await balances()).reduce((all, free) => all + 1_000n - free, 0n);
  expect(await spent()).toBe(63n);
  await net.blocks(1);
  expect(await spent()).toBe(127n);
  for (let i = 0; i < 3; i++) await net.blocks(1);
  await Promise.all(sent);
  expect(await spent()).toBe(256n);
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
