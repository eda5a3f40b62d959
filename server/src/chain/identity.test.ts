/** Delegations over HTTP and signed receipts over sockets, with real keys of both kinds, at a real server. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Delegation,
  DeviceKey,
  delegationText,
  encodeAddress,
  type SignedDelegation,
  Sr25519Key,
  unlinkMessage,
  utf8,
  wrapBytes,
} from '@starling/chain/identity';
import {
  type AccountView,
  type ChallengeView,
  deviceText,
  type Lease,
  PROTOCOL_VERSION,
  type ReceiptEntry,
  type Reply,
  receiptMessage,
  toHex,
  type Welcome,
  type WireError,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { io, type Socket } from 'socket.io-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningServer, startServer } from '../index.ts';

const DAY = 86_400_000;
const wallet = Sr25519Key.development('wallet');

/** An ed25519 account, as some wallets have them. */
class Ed25519Wallet {
  readonly address: string;
  readonly #key: DeviceKey;
  constructor(key: DeviceKey) {
    this.#key = key;
    this.address = encodeAddress(key.publicKey);
  }
  sign(message: Uint8Array): Promise<Uint8Array> {
    return this.#key.sign(message);
  }
}
type Wallet = Pick<Ed25519Wallet, 'address'> & { sign(message: Uint8Array): Uint8Array | Promise<Uint8Array> };

let dataDir: string;
let server: RunningServer;
let device: DeviceKey;
let other: DeviceKey;
const sockets: Socket[] = [];
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-identity-'));
  server = await startServer({ port: 0, dataDir, preset: 'pico', stages: 1, blockMs: 50, validateEvery: 1_000, log: () => {} });
  [device, other] = [await DeviceKey.generate(), await DeviceKey.generate()];
});
afterAll(async () => {
  for (const socket of sockets) socket.disconnect();
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function post<T>(path: string, body: unknown = {}): Promise<{ status: number; body: T & { error?: WireError } }> {
  const response = await fetch(`${server.url}${path}`, { method: 'POST', body: JSON.stringify(body) });
  return { status: response.status, body: (await response.json()) as T & { error?: WireError } };
}
const challenge = async () => (await post<ChallengeView>('/v1/identity/challenge')).body;

interface Forgery {
  changes?: Partial<Delegation>;
  by?: Wallet;
  at?: DeviceKey;
  wrap?: (message: Uint8Array) => Uint8Array;
}
async function signed({ changes = {}, by = wallet, at = device, wrap = wrapBytes }: Forgery = {}): Promise<SignedDelegation> {
  const { network, netuid, server: name, nonce, issuedAt } = await challenge();
  const fields = { network, netuid, server: name, nonce, issuedAt, expiresAt: issuedAt + DAY };
  const delegation: Delegation = { ...fields, hotkey: by.address, device: toHex(device.publicKey), ...changes };
  const text = utf8(delegationText(delegation));
  return {
    delegation,
    walletSignature: `0x${toHex(await by.sign(wrap(text)))}`,
    deviceSignature: toHex(await at.sign(text)),
  };
}
const link = (delegation: unknown) => post<AccountView>('/v1/identity/delegations', delegation);
const codeOf = async (delegation: unknown) => (await link(delegation)).body.error?.code;
const accountOf = async (key: DeviceKey) =>
  (await (await fetch(`${server.url}/v1/identity/${toHex(key.publicKey)}`)).json()) as AccountView;

describe('a delegation', () => {
  it('is taken from sr25519 and ed25519 wallets, wrapped and plain, and ended by the device', async () => {
    const ed25519 = new Ed25519Wallet(await DeviceKey.generate());
    const typed = async () => {
      const one = await signed();
      return { ...one, walletSignature: `0x01${one.walletSignature.slice(2)}` };
    };
    const guest = encodeAddress(device.publicKey);
    expect(await accountOf(device)).toMatchObject({ address: guest, delegation: null });
    for (const [one, address] of [
      [await signed(), wallet.address],
      [await signed({ wrap: (message) => message }), wallet.address],
      [await typed(), wallet.address],
      [await signed({ by: ed25519 }), ed25519.address],
    ] as const) {
      const { status, body } = await link(one);
      expect(body).toMatchObject({ address, delegation: { hotkey: address } });
      expect(status).toBe(200);
      expect(await accountOf(device)).toMatchObject({ address });
      const text = deviceText(unlinkMessage(one.delegation));
      const path = `/v1/identity/${toHex(device.publicKey)}/unlink`;
      expect((await post(path, { signature: await other.signer.sign(text) })).body.error?.code).toBe('SIGNATURE_INVALID');
      expect((await post(path, { signature: await device.signer.sign(text) })).body).toMatchObject({ address: guest, delegation: null });
      expect((await post(path, { signature: await device.signer.sign(text) })).status).toBe(404);
    }
  });

  it.each<[string, string, Forgery]>([
    ['DELEGATION_EXPIRED', 'over', { changes: { expiresAt: Date.now() - 1 } }],
    ['DELEGATION_EXPIRED', 'for longer than thirty days', { changes: { expiresAt: Date.now() + 31 * DAY } }],
    ['DELEGATION_WRONG_NETWORK', 'for another chain', { changes: { network: 'ab'.repeat(32) } }],
    ['DELEGATION_WRONG_NETWORK', 'for another subnet', { changes: { netuid: 10 } }],
    ['DELEGATION_WRONG_SERVER', 'for another server', { changes: { server: 'starling-000000000000' } }],
    ['DELEGATION_REPLAYED', 'over a challenge that nobody gave', { changes: { nonce: '00'.repeat(16) } }],
    ['DELEGATION_REPLAYED', 'with another time than its challenge', { changes: { issuedAt: Date.now() - 1_000 } }],
    ['SIGNATURE_INVALID', 'for a hotkey that did not sign', { changes: { hotkey: Sr25519Key.development('victim').address } }],
    ['SIGNATURE_INVALID', 'not signed by its device', { by: wallet, changes: { device: 'ab'.repeat(32) } }],
    ['ADDRESS_INVALID', 'for an address with another checksum', { changes: { hotkey: `${wallet.address.slice(0, -1)}1` } }],
    ['BAD_MESSAGE', 'without a device', { changes: { device: '' } }],
  ])('%s: refused when it is %s', async (code, _, forgery) => {
    const one = await signed(forgery);
    expect(await codeOf(one)).toBe(code);
    expect((await accountOf(device)).delegation).toBeNull();
  });

  it('is refused when another device signed it, when it was changed after signing, and the second time', async () => {
    expect(await codeOf(await signed({ at: other }))).toBe('SIGNATURE_INVALID');
    const [one, another] = [await signed(), await signed()];
    const changed = { ...another, delegation: { ...another.delegation, expiresAt: another.delegation.expiresAt + 1 } };
    expect(await codeOf(changed)).toBe('SIGNATURE_INVALID');
    expect(await codeOf(one)).toBeUndefined();
    expect(await codeOf(one)).toBe('DELEGATION_REPLAYED');
    expect(await codeOf('no delegation')).toBe('BAD_MESSAGE');
  });
});

describe('a receipt', () => {
  const ask = <T>(socket: Socket, name: string, message: unknown) => socket.emitWithAck(name, message) as Promise<Reply<T>>;
  const codeIn = (reply: Reply<unknown>) => (reply.ok ? 'OK' : reply.error.code);

  it('is taken with the signature of the device that said hello, for this server, once', async () => {
    const socket = io(server.url, { transports: ['websocket'], forceNew: true, parser: packets });
    sockets.push(socket);
    const leases: Lease[] = [];
    socket.on('lease', (lease: Lease) => leases.push(lease));
    const assigned = new Promise<{ stage: number; round: number; version: number }>((resolve) => socket.once('assign', resolve));
    const hello = { protocol: PROTOCOL_VERSION, holding: null, backend: 'wasm', adapter: 'test', device: device.signer.publicKey };
    const welcome = await ask<Welcome>(socket, 'hello', hello);
    if (!welcome.ok) throw new Error(welcome.error.message);
    const { minerId, token, server: name } = welcome.value;
    const { stage, round, version } = await assigned;
    await ask(socket, 'ready', { stage, round, version, parameterHash: server.snapshot().stages[stage]!.parameterHash });
    await expect.poll(() => leases.length, { interval: 5 }).toBeGreaterThan(1);

    const [lease, next] = [leases[0]!, leases[1]!];
    const said = { leaseId: lease.id, inputHash: lease.inputHash, outputHash: null, lossSum: 20 };
    const send = (signature?: string, changes: object = {}) =>
      ask(socket, 'receipt', { ...said, output: null, computeMs: 1, signature, ...changes });
    const by = async (key: DeviceKey, to = name, about = said) => key.signer.sign(deviceText(await receiptMessage(to, about)));
    expect(codeIn(await send())).toBe('SIGNATURE_INVALID');
    expect(codeIn(await send(await by(other)))).toBe('SIGNATURE_INVALID');
    expect(codeIn(await send(await by(device, 'starling-000000000000')))).toBe('SIGNATURE_INVALID');
    expect(codeIn(await send(await by(device, name, { ...said, lossSum: 21 })))).toBe('SIGNATURE_INVALID');
    expect(codeIn(await send(await by(device), { leaseId: next.id }))).toBe('SIGNATURE_INVALID');
    expect(codeIn(await send('no hex'))).toBe('BAD_MESSAGE');
    expect(codeIn(await send(await by(device)))).toBe('OK');
    expect(codeIn(await send(await by(device)))).toBe('RECEIPT_DUPLICATE');
    const history = (await (await fetch(`${server.url}/v1/miners/${minerId}/receipts`)).json()) as { receipts: ReceiptEntry[] };
    expect(history.receipts.filter(({ error }) => error?.code === 'SIGNATURE_INVALID')).toHaveLength(5);

    // The session alone is not enough to go on as this miner: its device belongs to it.
    const hijacker = io(server.url, { transports: ['websocket'], forceNew: true, parser: packets });
    sockets.push(hijacker);
    const session = { minerId, token };
    const as = await ask<Welcome>(hijacker, 'hello', { ...hello, session, device: other.signer.publicKey });
    expect(as.ok && as.value.minerId).not.toBe(minerId);
  });
});
