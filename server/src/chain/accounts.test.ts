/** What is kept of links: one for each device, as long as it is good, and not without bound. */
import { Challenges, DeviceKey, delegationText, type SignedDelegation, Sr25519Key, utf8 } from '@starling/chain/identity';
import { deviceText, SwarmError, toHex } from '@starling/protocol';
import { SqliteStore } from '@starling/store';
import { beforeEach, expect, it } from 'vitest';
import { Accounts } from './accounts.ts';

const HERE = { network: 'ab'.repeat(32), netuid: 9, server: 'starling-test' };
const DAY = 86_400_000;
const wallet = Sr25519Key.development('wallet');

let now: number;
let store: SqliteStore;
beforeEach(() => {
  now = 1_700_000_000_000;
  store = new SqliteStore(':memory:');
});
const open = (most?: number) => Accounts.open(store, new Challenges((bytes) => new Uint8Array(bytes).fill(7)), () => now, most);

async function signed(accounts: Accounts, key: DeviceKey, days = 1): Promise<SignedDelegation> {
  const { nonce, issuedAt } = accounts.challenge();
  const fields = { ...HERE, nonce, issuedAt, expiresAt: issuedAt + days * DAY };
  const delegation = { ...fields, hotkey: wallet.address, device: toHex(key.publicKey) };
  const text = utf8(delegationText(delegation));
  return { delegation, walletSignature: toHex(wallet.sign(text)), deviceSignature: toHex(await key.sign(text)) };
}
const link = async (accounts: Accounts, key: DeviceKey, days?: number, hasWorked?: (device: string) => boolean) =>
  accounts.link({ ...(await signed(accounts, key, days)), more: 'x'.repeat(5_000) }, HERE, undefined, hasWorked);
const idOf = (key: DeviceKey) => toHex(key.publicKey);
const keys = (count: number) => Promise.all(Array.from({ length: count }, () => DeviceKey.generate()));

it('keeps one link of a device, the newest, and nothing that came along', async () => {
  const accounts = await open();
  const [key] = (await keys(1)) as [DeviceKey];
  let last = await link(accounts, key);
  for (let again = 0; again < 10; again++) last = await link(accounts, key);
  expect(await store.lastSeq()).toBe(0);
  const kept = await store.tensors();
  expect(kept).toHaveLength(1);
  expect(kept[0]!.frame!.byteLength).toBeLessThan(1_000);
  const again = await open();
  expect(again.delegationOf(idOf(key))).toEqual(last);
  expect(again.signedDelegationOf(idOf(key))).toEqual({
    delegation: last,
    walletSignature: expect.any(String),
    deviceSignature: expect.any(String),
  });
});

it('keeps nothing that is over', async () => {
  const accounts = await open();
  const [short, long, other] = (await keys(3)) as [DeviceKey, DeviceKey, DeviceKey];
  await link(accounts, short, 1);
  await link(accounts, long, 30);
  now += 2 * DAY;
  await link(accounts, other);
  expect((await store.tensors()).map(({ scope }) => scope)).toEqual([idOf(long), idOf(other)]);
  now += 30 * DAY;
  // The one that is over is the one that comes back.
  await link(accounts, other);
  expect((await store.tensors()).map(({ scope }) => scope)).toEqual([idOf(other)]);
  expect(accounts.delegationOf(idOf(other))).not.toBeNull();
});

it('has the oldest that did no work make room, and nobody who did', async () => {
  const accounts = await open(3);
  const [worker, idle, second, third, late] = (await keys(5)) as [DeviceKey, DeviceKey, DeviceKey, DeviceKey, DeviceKey];
  const worked = new Set([idOf(worker)]);
  const here = () => [worker, idle, second, third, late].filter((key) => accounts.delegationOf(idOf(key)));
  for (const key of [worker, idle, second, third]) await link(accounts, key, 1, (device) => worked.has(device));
  expect(here()).toEqual([worker, second, third]);
  for (const key of [second, third]) worked.add(idOf(key));
  const refused = link(accounts, late, 1, (device) => worked.has(device));
  await expect(refused).rejects.toMatchObject({ code: 'BUSY' });
  await link(accounts, second, 1, (device) => worked.has(device)); // it has its place
  expect(here()).toEqual([worker, second, third]);
  expect(await store.tensors()).toHaveLength(3);
});

it('takes over the log of an earlier release, once', async () => {
  const before = await open();
  const [one, two] = (await keys(2)) as [DeviceKey, DeviceKey];
  const links = [await signed(before, one), await signed(before, two)];
  const log = [
    ...links.map((signed) => ({ type: 'link', delegation: signed.delegation, signed })),
    { type: 'unlink', device: idOf(two), signature: '' },
  ].map((entry, i) => ({ seq: i + 1, at: now, body: JSON.stringify(entry) }));
  await store.append({ entries: log, rows: [], tensors: [], released: [] });
  const accounts = await open();
  expect([one, two].map((key) => accounts.delegationOf(idOf(key)))).toEqual([links[0]!.delegation, null]);
  const { nonce } = links[0]!.delegation;
  const message = { purpose: 'unlink', server: HERE.server, subject: nonce, sha256: idOf(one) };
  await accounts.unlink(idOf(one), await one.signer.sign(deviceText(message)), HERE.server);
  expect((await open()).delegationOf(idOf(one)), 'what was ended since does not come back').toBeNull();
});

it('tells whoever links that the disk is full, and takes the next one', async () => {
  const accounts = await open();
  const [key] = (await keys(1)) as [DeviceKey];
  const { append } = store;
  store.append = async () => {
    throw new SwarmError('STORE_FAILED', 'The disk is full.');
  };
  await expect(link(accounts, key)).rejects.toMatchObject({ code: 'STORE_FAILED' });
  expect(accounts.delegationOf(idOf(key))).toBeNull();
  store.append = append;
  await link(accounts, key);
  expect(accounts.delegationOf(idOf(key))).not.toBeNull();
});
