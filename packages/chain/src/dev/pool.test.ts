import { expect, it } from 'vitest';
import { Pool } from './pool.ts';

const add = (pool: Pool, signer: string, nonce: number, own = false) =>
  pool.add({
    extrinsic: { signer, nonce, call: { type: 'commitWeights', hash: '' }, signature: '' },
    own,
    resolve: () => {},
    reject: () => {},
  });
const taken = (pool: Pool, most: number, ...neurons: string[]) =>
  pool.take(most, new Set(neurons)).map(({ extrinsic: { signer, nonce } }) => `${signer}${nonce}`);

it('serves neurons and its own process before strangers, each signer in turn, also from block to block', () => {
  const pool = new Pool();
  for (const signer of ['s', 't']) for (let nonce = 0; nonce < 3; nonce++) add(pool, signer, nonce);
  for (let nonce = 0; nonce < 4; nonce++) add(pool, 'bank', nonce, true);
  for (const signer of ['v', 'w']) for (let nonce = 5; nonce < 7; nonce++) add(pool, signer, nonce);
  expect(pool.strangers(new Set(['v', 'w']))).toBe(6);
  expect(taken(pool, 4, 'v', 'w')).toEqual(['bank0', 'v5', 'w5', 'bank1']);
  expect([pool.waitingOf('v'), pool.waitingOf('s')]).toEqual([1, 3]);
  expect(taken(pool, 6, 'v', 'w')).toEqual(['v6', 'w6', 'bank2', 'bank3', 's0', 't0']);
  // Whoever came meanwhile waits for one call of each before it, not for all of them.
  add(pool, 'u', 0);
  expect(taken(pool, 3)).toEqual(['s1', 't1', 'u0']);
  expect(pool.clear().map(({ extrinsic }) => extrinsic.signer)).toEqual(['s', 't']);
  expect(taken(pool, 9)).toEqual([]);
});
