/** Bad input over real sockets and HTTP: a code for each, and the run goes on as if nothing had come. */
import * as fs from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crossingOf, QUANTISERS } from '@starling/codecs';
import { startNodeMiner } from '@starling/miner/node';
import { cutStages, layoutOf, presetOf } from '@starling/model';
import {
  type Assign,
  bytesOf,
  type Collect,
  decodeFrame,
  ERROR_HINTS,
  encodeFrame,
  type Lease,
  MINERS_AT_ONCE,
  type MinerView,
  PROTOCOL_VERSION,
  type ReceiptEntry,
  type Reply,
  sha256Hex,
  type Welcome,
  type WireError,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { ShardedGradient } from '@starling/reduce';
import { io, type Socket } from 'socket.io-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningServer, startServer } from './index.ts';

let dataDir: string;
let server: RunningServer;
const sockets: Socket[] = [];
const log: string[] = [];

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-refusals-'));
  server = await startServer({
    port: 0,
    dataDir,
    stages: 2,
    sequences: 1,
    microbatchesPerStep: 2,
    validateEvery: 100,
    log: (line) => log.push(line),
  });
});
afterAll(async () => {
  for (const socket of sockets) socket.disconnect();
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
});

function connect(to: RunningServer = server): Socket {
  const socket = io(to.url, { transports: ['websocket'], forceNew: true, parser: packets });
  sockets.push(socket);
  return socket;
}
const ask = <T>(socket: Socket, name: string, message: unknown) => socket.emitWithAck(name, message) as Promise<Reply<T>>;
const code = (reply: Reply<unknown>) => (reply.ok ? 'OK' : reply.error.code);
const hello = { protocol: PROTOCOL_VERSION, holding: null, backend: 'wasm', adapter: 'test' };

/** A miner made by hand that holds its stage and collects its leases. */
async function miner(to: RunningServer = server) {
  const socket = connect(to);
  const leases: Lease[] = [];
  socket.on('lease', (lease: Lease) => leases.push(lease));
  const assigned = new Promise<Assign>((resolve) => socket.once('assign', resolve));
  const welcome = await ask<Welcome>(socket, 'hello', hello);
  if (!welcome.ok) throw new Error(welcome.error.message);
  const { stage, round, version } = await assigned;
  const parameterHash = to.snapshot().stages[stage]!.parameterHash;
  expect(code(await ask(socket, 'ready', { stage, round, version, parameterHash }))).toBe('OK');
  return { socket, leases, stage, ...welcome.value };
}

const history = async (minerId: string) => {
  const page = await (await fetch(`${server.url}/v1/miners/${minerId}/receipts`)).json();
  return (page as { receipts: ReceiptEntry[] }).receipts;
};
const rejected = async (minerId: string) =>
  ((await (await fetch(`${server.url}/v1/miners/${minerId}`)).json()) as { rejected: number }).rejected;

it('writes down what cannot even be read, and what does not fit over HTTP, but not a flood of it', async () => {
  const { socket, minerId, token } = await miner();
  expect(code(await ask(socket, 'busy', { leaseId: 7 }))).toBe('BAD_MESSAGE');
  const headers = { authorization: `Bearer ${minerId}.${token}` };
  const put = (body: Uint8Array<ArrayBuffer>) => fetch(`${server.url}/v1/blobs/${'0'.repeat(64)}`, { method: 'PUT', body, headers });
  expect((await put(new Uint8Array(3))).status).toBe(400);
  expect((await put(new Uint8Array(50e6))).status).toBe(413);
  const codes = async () => (await history(minerId)).map(({ error }) => error?.code);
  expect(await codes()).toEqual(['BLOB_TOO_LARGE', 'BLOB_HASH_MISMATCH', 'BAD_MESSAGE']);
  expect(await rejected(minerId)).toBe(3);
  const flood = await Promise.all(Array.from({ length: 500 }, () => ask(socket, 'applied', {})));
  expect(new Set(flood.map(code))).toEqual(new Set(['BAD_MESSAGE']));
  // A few more than the burst where the machine is so slow that seconds go by.
  expect(await rejected(minerId)).toBeGreaterThanOrEqual(20);
  expect(await rejected(minerId)).toBeLessThan(60);
  await ask(socket, 'leave', { reason: 'test' });
  expect((await history(minerId)).length, 'also after it went').toBeGreaterThanOrEqual(20);
});

it('takes the last word of a closed page also after its socket, and that of an older page not at all', async () => {
  const { socket, minerId, token } = await miner();
  const socketId = socket.id!;
  const word = (id: string) => fetch(`${server.url}/v1/leave`, { method: 'POST', body: JSON.stringify({ minerId, token, socketId: id }) });
  const there = () =>
    server
      .snapshot()
      .stages.flatMap(({ miners }) => miners)
      .find(({ id }) => id === minerId);
  expect((await word('another')).status).toBe(202);
  expect(there()?.connected).toBe(true);
  socket.disconnect();
  await expect.poll(() => there()?.connected, { interval: 5 }).toBe(false);
  expect((await word('another')).status).toBe(202);
  expect(there()).toBeDefined();
  expect((await word(socketId)).status).toBe(202);
  expect(there()).toBeUndefined();
});

it('refuses a miner of another protocol version politely', async () => {
  const reply = await ask(connect(), 'hello', { ...hello, protocol: PROTOCOL_VERSION + 1 });
  expect(reply).toMatchObject({ ok: false, error: { code: 'PROTOCOL_UNSUPPORTED', hint: expect.stringContaining('Reload') } });
});

it('takes so many newcomers of an address, and whoever is here already', async () => {
  const crowded = await startServer({
    ...{ port: 0, dataDir: join(dataDir, 'crowded'), preset: 'pico', stages: 1, log: () => {} },
    ...{ addressMiners: 1, addressHeader: 'x-forwarded-for' },
  });
  const from = (address: string) => {
    const extraHeaders = { 'x-forwarded-for': address };
    const socket = io(crowded.url, { transports: ['websocket'], forceNew: true, parser: packets, extraHeaders });
    sockets.push(socket);
    return socket;
  };
  const first = await ask<Welcome>(from('203.0.113.7'), 'hello', hello);
  expect(code(first)).toBe('OK');
  const second = await ask(from('203.0.113.7'), 'hello', hello);
  expect(second).toMatchObject({ ok: false, error: { code: 'BUSY', message: expect.stringContaining('203.0.113.7') } });
  expect(code(await ask(from('203.0.113.8'), 'hello', hello))).toBe('OK');
  const { minerId, token } = (first as Extract<typeof first, { ok: true }>).value;
  expect(code(await ask(from('203.0.113.7'), 'hello', { ...hello, session: { minerId, token } }))).toBe('OK');
  await crowded.close();
});

it('refuses messages that do not fit, and requests before hello', async () => {
  const socket = connect();
  expect(code(await ask(socket, 'hello', { protocol: 'one' }))).toBe('BAD_MESSAGE');
  expect(code(await ask(socket, 'hello', null))).toBe('BAD_MESSAGE');
  expect(code(await ask(socket, 'ready', { stage: 0, round: 1, version: 0, parameterHash: '0'.repeat(64) }))).toBe('NOT_JOINED');
});

it('lets a connection be one miner only, and uploads to miners of the run only', async () => {
  const { socket, minerId, token } = await miner();
  expect(code(await ask(socket, 'hello', hello))).toBe('BAD_MESSAGE');
  expect(code(await ask(socket, 'hello', { ...hello, session: { minerId: 'm-else', token } }))).toBe('BAD_MESSAGE');
  const again = await ask<Welcome>(socket, 'hello', { ...hello, session: { minerId, token } });
  expect(again).toMatchObject({ ok: true, value: { minerId } });
  expect(code(await ask(socket, 'leave', { reason: 'test' }))).toBe('OK');
  const body = new Uint8Array(3);
  const headers = { authorization: `Bearer ${minerId}.${token}` };
  const put = await fetch(`${server.url}/v1/blobs/${await sha256Hex(body)}`, { method: 'PUT', body, headers });
  expect([put.status, ((await put.json()) as { error: { code: string } }).error.code]).toEqual([401, 'UNAUTHORIZED']);
});

it('takes a receipt whose tensor was uploaded before its socket dropped', async () => {
  const options = { port: 0, stages: 2, sequences: 1, microbatchesPerStep: 2, log: () => {} };
  const own = await startServer({ ...options, dataDir: await mkdtemp(join(dataDir, 'upload-')) });
  const [first, second] = [await miner(own), await miner(own)];
  await expect.poll(() => first.leases.length).toBeGreaterThan(0);
  const [lease] = first.leases as [Lease];
  const { context, width } = own.snapshot().config.model;
  const frame = await encodeFrame(new Float32Array(context * width).fill(0.5), [1, context, width]);
  const blob = await sha256Hex(frame);
  const headers = { authorization: `Bearer ${first.minerId}.${first.token}` };
  expect((await fetch(`${own.url}/v1/blobs/${blob}`, { method: 'PUT', body: frame, headers })).status).toBe(201);
  first.socket.disconnect();
  const back = connect(own);
  const session = { minerId: first.minerId, token: first.token };
  expect(code(await ask(back, 'hello', { ...hello, session, holding: { stage: 0, version: 0 } }))).toBe('OK');
  const { hash } = await decodeFrame(frame);
  const receipt = { leaseId: lease.id, inputHash: lease.inputHash, outputHash: hash, output: { blob }, lossSum: null, computeMs: 1 };
  expect(await ask(back, 'receipt', receipt)).toEqual({ ok: true, value: { counted: true } });
  second.socket.disconnect();
  await own.close();
});

it('refuses every receipt that cannot count, keeps the lease open, and takes the right one once', async () => {
  const [first, other] = [await miner(), await miner()];
  expect([first.stage, other.stage]).toEqual([0, 1]);
  await expect.poll(() => first.leases.length).toBeGreaterThan(0);
  const lease = first.leases[0]!;
  const { context, width } = server.snapshot().config.model;
  const good = new Float32Array(context * width).fill(0.5);
  const frame = await encodeFrame(good, [1, context, width]);
  const receipt = {
    leaseId: lease.id,
    inputHash: lease.inputHash,
    outputHash: (await decodeFrame(frame)).hash,
    output: frame,
    lossSum: null,
    computeMs: 1,
  };

  const small = new Float32Array(4);
  const wrongShape = { ...receipt, output: await encodeFrame(small, [4]), outputHash: await sha256Hex(small) };
  expect(code(await ask(first.socket, 'receipt', wrongShape))).toBe('TENSOR_SHAPE');
  const damaged = frame.slice();
  damaged[damaged.length - 1] ^= 1;
  expect(code(await ask(first.socket, 'receipt', { ...receipt, output: damaged }))).toBe('FRAME_HASH_MISMATCH');
  expect(code(await ask(first.socket, 'receipt', { ...receipt, output: new Uint8Array(7) }))).toBe('FRAME_MALFORMED');
  expect(code(await ask(first.socket, 'receipt', { ...receipt, lossSum: 1 }))).toBe('TENSOR_SHAPE');
  expect(code(await ask(first.socket, 'receipt', { ...receipt, output: null, outputHash: null }))).toBe('TENSOR_SHAPE');
  expect(code(await ask(first.socket, 'receipt', { ...receipt, inputHash: '0'.repeat(64) }))).toBe('RECEIPT_INPUT');
  expect(code(await ask(other.socket, 'receipt', receipt))).toBe('LEASE_NOT_YOURS');
  expect(code(await ask(first.socket, 'receipt', { ...receipt, leaseId: 'nothing' }))).toBe('LEASE_UNKNOWN');
  expect(code(await ask(first.socket, 'receipt', receipt))).toBe('OK');
  expect(code(await ask(first.socket, 'receipt', receipt))).toBe('RECEIPT_DUPLICATE');

  // All of it is in its own history, with its reason and the work it was for.
  const own = await history(first.minerId);
  const told = own.map(({ outcome, error, leaseId, work }) => [outcome, error?.code ?? null, leaseId, work?.kind ?? null]);
  const malformed = ['TENSOR_SHAPE', 'TENSOR_SHAPE', 'FRAME_MALFORMED', 'FRAME_HASH_MISMATCH', 'TENSOR_SHAPE'];
  const codes = ['RECEIPT_DUPLICATE', null, 'LEASE_UNKNOWN', 'RECEIPT_INPUT', ...malformed];
  expect(told).toEqual(
    codes.map((code) => {
      const [id, kind] = code === 'LEASE_UNKNOWN' ? ['nothing', null] : [lease.id, 'forward'];
      return [code === null ? 'counted' : 'refused', code, id, kind];
    }),
  );
  for (const { error } of own) if (error) expect(error).toMatchObject({ message: expect.any(String), hint: ERROR_HINTS[error.code] });
  expect((await history(other.minerId)).map(({ error, work }) => [error?.code, work])).toEqual([['LEASE_NOT_YOURS', null]]);

  const nan = good.slice().fill(Number.NaN);
  const large = good.slice().fill(-(2 ** 19) * 1.01, 7, 8);
  for (const [spoiled, bad] of [nan, large].entries()) {
    await expect.poll(() => first.leases.length).toBeGreaterThan(spoiled + 1);
    const { id, inputHash } = first.leases[spoiled + 1]!;
    const [output, outputHash] = [await encodeFrame(bad, [1, context, width]), await sha256Hex(bad)];
    expect(code(await ask(first.socket, 'receipt', { ...receipt, leaseId: id, inputHash, output, outputHash }))).toBe('TENSOR_NOT_FINITE');
  }
  expect(
    code(await ask(first.socket, 'contribution', { stage: 0, version: 0, round: 1, shards: ['0'.repeat(64)], microbatches: [0] })),
  ).toBe('CONTRIBUTION_UNEXPECTED');
  const mine = server.snapshot().stages[0]!.miners.find((view) => view.id === first.minerId)!;
  expect(mine.microbatches).toBe(1);

  // The last stage's miner is alone there, so a lease that it forfeits comes back to it under a new name.
  for (const [given, lossSum] of [-1, 1e300, Number.NaN].entries()) {
    await expect.poll(() => other.leases.length, { timeout: 10_000 }).toBe(given + 1);
    const { id, inputHash } = other.leases[given]!;
    const report = { ...receipt, leaseId: id, inputHash, lossSum };
    expect(code(await ask(other.socket, 'receipt', report)), `${lossSum}`).toBe('LOSS_IMPLAUSIBLE');
  }
  expect(server.snapshot().stages[1]!.miners[0]!.microbatches).toBe(0);
});

it.each([
  ['f16', 32_752, 33_088],
  ['int8', 2 ** 19, 2 ** 19 * 1.01],
  ['int4', 2 ** 19, 2 ** 19 * 1.02],
] as const)('relays as %s the largest that crosses, and says what to do about more', async (boundary, most, more) => {
  const options = { port: 0, stages: 2, sequences: 1, microbatchesPerStep: 2, boundary, log: () => {} };
  const own = await startServer({ ...options, dataDir: await mkdtemp(join(dataDir, `${boundary}-`)) });
  const [first] = [await miner(own), await miner(own)];
  const { config } = own.snapshot();
  const crossing = crossingOf(config);
  const { context, width } = config.model;
  for (const [given, [largest, expected]] of [[most, 'OK'] as const, [-more, 'TENSOR_NOT_FINITE'] as const].entries()) {
    await expect.poll(() => first.leases.length).toBeGreaterThan(given);
    const { id, inputHash } = first.leases[given]!;
    // Honest miners' tensors end earlier: this is one that does not keep to it.
    const tensor = QUANTISERS[boundary].encode(new Float32Array(context * width).fill(largest, 7, 8), width);
    const [output, outputHash] = [await encodeFrame(tensor, crossing.shape), await sha256Hex(tensor)];
    const reply = await ask(first.socket, 'receipt', { leaseId: id, inputHash, outputHash, output, lossSum: null, computeMs: 1 });
    expect(code(reply), `${largest}`).toBe(expected);
    if (!reply.ok) {
      expect(reply.error.message).toContain(`the most that is relayed as ${boundary}`);
      expect(reply.error.hint).toContain('another --boundary');
    }
  }
  await own.close();
});

it('takes no hash and no tensor where a lease has no output', async () => {
  const options = { port: 0, stages: 1, sequences: 1, microbatchesPerStep: 2, log: () => {} };
  const own = await startServer({ ...options, dataDir: await mkdtemp(join(dataDir, 'forged-')) });
  const { socket, leases } = await miner(own);
  await expect.poll(() => leases.length).toBeGreaterThan(0);
  const [{ id, inputHash }] = leases as [Lease];
  const receipt = { leaseId: id, inputHash, outputHash: null, output: null, lossSum: 5, computeMs: 1 };
  const data = new Float32Array(1);
  const [outputHash, output] = [await sha256Hex(data), await encodeFrame(data, [1])];
  for (const forged of [{ outputHash }, { output }, { outputHash, output }])
    expect(code(await ask(socket, 'receipt', { ...receipt, ...forged }))).toBe('TENSOR_SHAPE');
  expect(code(await ask(socket, 'receipt', { ...receipt, lossSum: null }))).toBe('LOSS_IMPLAUSIBLE');
  await own.close();
});

it('answers bad HTTP with coded errors', async () => {
  const url = `${server.url}/v1/blobs/${'0'.repeat(64)}`;
  const error = async (response: Response) => [response.status, ((await response.json()) as { error: { code: string } }).error.code];
  const { minerId, token } = await miner();
  const authorization = `Bearer ${minerId}.${token}`;
  expect(await error(await fetch(url))).toEqual([404, 'BLOB_NOT_FOUND']);
  expect(await error(await fetch(url, { method: 'PUT', body: 'x' }))).toEqual([401, 'UNAUTHORIZED']);
  expect(await error(await fetch(url, { method: 'PUT', body: 'garbage', headers: { authorization } }))).toEqual([
    400,
    'BLOB_HASH_MISMATCH',
  ]);
  expect(await error(await fetch(`${server.url}/v1/blobs/xyz`, { method: 'PUT', body: 'x', headers: { authorization } }))).toEqual([
    400,
    'BAD_REQUEST',
  ]);
  const large = new Uint8Array(8 * 1024 * 1024);
  expect(await error(await fetch(url, { method: 'PUT', body: large, headers: { authorization } }))).toEqual([413, 'BLOB_TOO_LARGE']);
  expect(await error(await fetch(`${server.url}/v1/run%`))).toEqual([400, 'BAD_REQUEST']);
  expect(await error(await fetch(`${server.url}/v1/nothing`))).toEqual([404, 'NOT_FOUND']);
});

it('goes on training when the disk is full at a checkpoint, and says so', async () => {
  const lines: string[] = [];
  const noSpace = () => Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
  const full = { ...fs, open: (path: string, flags: 'r' | 'w') => (flags === 'w' ? noSpace() : fs.open(path, flags)) };
  const options = {
    port: 0,
    dataDir: join(dataDir, 'full'),
    stages: 1,
    steps: 2,
    sequences: 1,
    microbatchesPerStep: 1,
    checkpointEvery: 1,
  };
  const crowded = await startServer({ ...options, log: (line) => lines.push(line) }, full);
  const worker = startNodeMiner({ url: crowded.url, name: 'n', backend: 'wasm' });
  await crowded.completed;
  expect(crowded.snapshot().step).toBe(2);
  await worker.stop();
  await crowded.close();
  expect(lines.filter((line) => line.includes('CHECKPOINT_FAILED')).length).toBeGreaterThan(0);
});

/** Elements of nano's whole vector. */
const NANO = layoutOf(presetOf('nano').shape, cutStages(presetOf('nano').shape, 1)[0]!).size;

const zeros = () => new Float32Array(NANO);

it.each<[string, string, (whole: (gradient: Float32Array) => Uint8Array<ArrayBuffer>[]) => Uint8Array<ArrayBuffer>[]]>([
  ['holds a NaN', 'TENSOR_NOT_FINITE', (whole) => whole(zeros().fill(Number.NaN, 7, 8))],
  ['holds an infinity', 'TENSOR_NOT_FINITE', (whole) => whole(zeros().fill(Number.NEGATIVE_INFINITY, 0, 1))],
  ['overflows in a sum', 'TENSOR_NOT_FINITE', (whole) => whole(zeros().fill(3e38, 5, 6))],
  ['is too short by a number', 'SHARD_MALFORMED', (whole) => whole(zeros()).map((shard) => shard.slice(4))],
  ['is too long by a number', 'BLOB_TOO_LARGE', (whole) => whole(zeros()).map((shard) => new Uint8Array([...shard, 0, 0, 0, 0]))],
  ['is no gradient', 'SHARD_MALFORMED', () => [new Uint8Array(100)]],
  ['lacks a shard', 'SHARD_MALFORMED', (whole) => whole(zeros()).slice(1)],
  ['has a shard more', 'SHARD_MALFORMED', (whole) => [...whole(zeros()), new Uint8Array(4)]],
])('leaves out a gradient that %s, has its microbatches redone, and closes the step', async (_, expected, make) => {
  const options = { port: 0, stages: 1, steps: 1, sequences: 1, microbatchesPerStep: 2, log: () => {} };
  const own = await startServer({ ...options, dataDir: await mkdtemp(join(dataDir, 'gradient-')) });
  const [liar, other] = [await miner(own), await miner(own)];
  const collected = new Promise<Collect>((resolve) => liar.socket.once('collect', resolve));
  // Leases are granted on acknowledgement, one at a time, to either of the two; the first gets all of its own done.
  for (const { socket, leases } of [liar, other]) {
    const settle = async (lease: Lease) => {
      const receipt = { leaseId: lease.id, inputHash: lease.inputHash, outputHash: null, output: null, lossSum: 5, computeMs: 1 };
      expect(code(await ask(socket, 'receipt', receipt))).toBe('OK');
    };
    socket.on('lease', settle);
    for (const lease of leases) void settle(lease);
  }
  const { stage, version, round, microbatches, shards: count } = await collected;
  const cut = new ShardedGradient({ codec: 'f32', merged: 'f32' }, NANO, count).shards;
  const parts = make((gradient) => cut.map(({ offset, length }) => bytesOf(gradient.slice(offset, offset + length))));
  const shards = await Promise.all(parts.map((part) => sha256Hex(part)));
  const contribution = { stage, version, round, microbatches, shards };

  if (parts.length > 0) expect(code(await ask(liar.socket, 'contribution', contribution))).toBe('BLOB_NOT_FOUND');
  const headers = { authorization: `Bearer ${liar.minerId}.${liar.token}` };
  for (const [i, body] of parts.entries())
    expect((await fetch(`${own.url}/v1/blobs/${shards[i]}`, { method: 'PUT', body, headers })).ok).toBe(true);
  expect(code(await ask(liar.socket, 'contribution', { ...contribution, version: version + 1 }))).toBe('CONTRIBUTION_UNEXPECTED');
  expect(code(await ask(liar.socket, 'contribution', contribution))).toBe(expected);
  const view = own.snapshot().stages[0]!.miners.find(({ id }) => id === liar.minerId)!;
  expect(view.rejected).toBeGreaterThan(0);
  expect(view.bannedUntil, 'a ban, before it may fetch the stage again').toBeGreaterThan(Date.now());
  // Both made-up miners go; an honest one does all there is to do.
  for (const { socket } of [liar, other]) await ask(socket, 'leave', { reason: 'test' });
  const honest = startNodeMiner({ url: own.url, name: 'honest', backend: 'wasm' });
  await own.completed;
  expect(own.points().map(({ step }) => step)).toEqual([1]);
  expect(own.points()[0]!.loss).toBeCloseTo(Math.log(256), 1);
  await honest.stop();
  await own.close();
});

it('tells of miners by their ids, as many as a page needs at once', async () => {
  const { minerId } = await miner();
  const told = (ids: string[]) => fetch(`${server.url}/v1/miners?ids=${ids.join()}`);
  const { miners } = (await (await told([minerId, 'm-00000000-0000'])).json()) as { miners: MinerView[] };
  expect(miners.map(({ id }) => id)).toEqual([minerId]);
  const many = await told(Array.from({ length: MINERS_AT_ONCE + 1 }, () => minerId));
  expect([many.status, ((await many.json()) as { error: WireError }).error.code]).toEqual([400, 'BAD_REQUEST']);
});
