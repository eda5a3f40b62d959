/** Calls at the server's own chain from outside: whoever forges them is not listened to for long, and nobody else is any the worse for it. */
import { DevChain, Sr25519Key, toPlain } from '@starling/chain';
import { signed } from '@starling/chain/testing';
import { SwarmError } from '@starling/protocol';
import { SqliteStore } from '@starling/store';
import Fastify from 'fastify';
import { expect, it } from 'vitest';
import { Addresses } from '../addresses.ts';
import { ChainLine } from './line.ts';
import { addNodeRoutes } from './node-routes.ts';

it('looks at few forged calls of one address, and at little that is none, and one more a second; its own machine and other addresses may go on', async () => {
  const [owner, rich, thief] = ['owner', 'rich', 'thief'].map((name) => Sr25519Key.development(name)) as [
    Sr25519Key,
    Sr25519Key,
    Sr25519Key,
  ];
  let now = 0;
  const chain = await DevChain.open(
    { name: 'door', owner: { coldkey: owner.address, hotkey: owner.address }, endowments: [{ account: rich.address, amount: 10n ** 9n }] },
    { store: new SqliteStore(':memory:'), clock: { now: () => now, pause: async () => {} } },
  );
  const line = new ChainLine({ open: async () => chain, after: () => () => {}, tell: () => {} });
  await line.open();
  const addresses = new Addresses({ most: 1, header: null, isHere: () => true });
  const http = Fastify();
  http.setErrorHandler((error, _request, reply) => reply.code(400).send(SwarmError.from(error).message));
  addNodeRoutes(http, { line, blockMs: 1_000, addresses, now: () => now });
  const call = { type: 'transfer', to: owner.address, amount: 1_000n } as const;
  const send = async (from: string, payload: string) => {
    const headers = { 'content-type': 'text/plain' };
    const { statusCode, body } = await http.inject({ method: 'POST', url: '/v1/chain/node/calls', remoteAddress: from, headers, payload });
    return statusCode === 200 ? 'taken' : (/BadProof|Future|no signed call|too many calls with forged/.exec(body)?.[0] ?? body);
  };
  const post = async (from: string, signer = thief, nonce = 0) => {
    const extrinsic = await signed(chain.network, nonce, call, {
      address: rich.address,
      publicKey: rich.publicKey,
      sign: (bytes) => signer.sign(bytes),
    });
    return send(from, JSON.stringify(toPlain(extrinsic)));
  };

  for (let i = 0; i < 20; i++) expect(await post('203.0.113.7')).toBe('BadProof');
  const tooMany = 'too many calls with forged';
  expect(await post('203.0.113.7')).toBe(tooMany);
  // What costs the server nothing is not held against anybody.
  for (let i = 0; i < 30; i++) expect(await post('203.0.113.8', thief, 1)).toBe('Future');
  expect(await post('203.0.113.8')).toBe('BadProof');
  for (let i = 0; i < 25; i++) expect(await post('127.0.0.1')).toBe('BadProof');
  for (let i = 0; i < 20; i++) expect(await send('203.0.113.9', `{"amount":{"bigint":"${'9'.repeat(99)}"}}`)).toBe('no signed call');
  expect(await send('203.0.113.9', '{}')).toBe(tooMany);
  now = 999;
  expect(await post('203.0.113.7', rich)).toBe(tooMany);
  now = 1_000;
  expect(await post('203.0.113.7')).toBe('BadProof');
  expect(await post('203.0.113.7')).toBe(tooMany);

  const taken = post('203.0.113.8', rich);
  await expect.poll(() => chain.nextNonce(rich.address), { interval: 1 }).toBe(1);
  now += 12_000;
  await chain.tick();
  expect(await taken).toBe('taken');
  await http.close();
  await chain.close();
});
