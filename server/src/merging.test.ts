/** Merges over real sockets and HTTP: honest miners compute, and one that reduces falsely is found out and left out. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import { cutStages, initialParameters, layoutOf, presetOf } from '@starling/model';
import {
  type Assign,
  bytesOf,
  type Collect,
  type Lease,
  PROTOCOL_VERSION,
  type Reduce,
  type Reply,
  type RunEvent,
  sha256Hex,
  type Welcome,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { type Agreement, ShardedGradient } from '@starling/reduce';
import { io } from 'socket.io-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningServer, type ServerOptions, startServer } from './index.ts';

let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'merging-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

const open = async (options: Partial<ServerOptions>): Promise<RunningServer> =>
  startServer({ port: 0, dataDir: await mkdtemp(join(dataDir, 'run-')), stages: 1, sequences: 1, log: () => {}, ...options });
const json = async <T>(url: string) => (await (await fetch(url)).json()) as T;
const agreementOf = async (server: RunningServer) =>
  (await json<{ stages: Agreement[][] }>(`${server.url}/v1/runs/${server.snapshot().config.runId}/agreement`)).stages;

const { shape } = presetOf('nano');
const [whole] = cutStages(shape, 1);
const SIZE = layoutOf(shape, whole!).size;

/** Says that it works, hands in zeros, and adds up to ones. */
async function liar(server: RunningServer): Promise<{ minerId: string; close(): void }> {
  const socket = io(server.url, { transports: ['websocket'], forceNew: true, parser: packets });
  const ask = <T>(name: string, message: unknown) => new Promise<Reply<T>>((resolve) => socket.emit(name, message, resolve));
  let authorization = '';
  const put = async (bytes: Uint8Array<ArrayBuffer>) => {
    const hash = await sha256Hex(bytes);
    await fetch(`${server.url}/v1/blobs/${hash}`, { method: 'PUT', body: bytes, headers: { authorization } });
    return hash;
  };
  const format = (count: number) => new ShardedGradient({ codec: 'f32', merged: 'f32' }, SIZE, count);
  const parameterHash = await sha256Hex(initialParameters(shape, whole!, 1));
  socket.on('assign', ({ stage, round, version }: Assign) => ask('ready', { stage, round, version, parameterHash }));
  socket.on('lease', ({ id: leaseId, inputHash }: Lease) =>
    ask('receipt', { leaseId, inputHash, outputHash: null, output: null, lossSum: 5, computeMs: 1 }),
  );
  socket.on('collect', async ({ stage, version, round, microbatches, shards: count }: Collect) => {
    const shards: string[] = [];
    for (const bytes of format(count).encode(new Float32Array(SIZE))) shards.push(await put(bytes));
    await ask('contribution', { stage, version, round, shards, microbatches });
  });
  socket.on('reduce', async ({ stage, version, round, shard, shards }: Reduce) => {
    const { length } = format(shards).shards[shard]!;
    await ask('reduced', { stage, version, round, shard, hash: await put(bytesOf(new Float32Array(length).fill(1))) });
  });
  await new Promise((resolve) => socket.once('connect', () => resolve(null)));
  const hello = { protocol: PROTOCOL_VERSION, name: 'liar', holding: null, backend: 'cpu', adapter: 'none' };
  const reply = await ask<Welcome>('hello', hello);
  if (!reply.ok) throw new Error(reply.error.message);
  const { minerId, token } = reply.value;
  authorization = `Bearer ${minerId}.${token}`;
  return { minerId, close: () => void socket.disconnect() };
}

it('names a miner that reduces falsely, and merges without it', async () => {
  const server = await open({ steps: 3, microbatchesPerStep: 6, minMicrobatches: 1, spotCheck: 0 });
  const first = await liar(server);
  const honest = startNodeMiner({ url: server.url, name: 'honest', backend: 'wasm' });
  await server.completed;
  const { stages } = server.snapshot();
  expect(stages[0]!.version).toBe(3);
  const events = await json<RunEvent[]>(`${server.url}/v1/run/events`);
  expect(events.filter(({ code }) => code === 'REDUCTION_FALSE').map(({ message }) => message)).toEqual([
    expect.stringContaining(first.minerId),
  ]);
  const { receipts } = await json<{ receipts: { error: { code: string } | null }[] }>(`${server.url}/v1/miners/${first.minerId}/receipts`);
  expect(receipts.map(({ error }) => error?.code)).toContain('REDUCTION_FALSE');
  first.close();
  await honest.stop();
  await server.close();
});

it('tells of every merge what was uploaded and sent for it, on its line and by stage', { timeout: 120_000 }, async () => {
  const server = await open({ steps: 0, stages: 2, microbatchesPerStep: 4, spotCheck: 0 });
  const miners = ['a', 'b', 'c', 'd'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
  // Of a stage with one miner nothing is fetched: the others come when they come.
  const shared = () => server.points().some(({ mergeBytes }) => mergeBytes!.every(({ sent }) => sent > 0));
  await expect.poll(shared, { timeout: 100_000, message: 'of both stages, what came of a step is fetched' }).toBe(true);
  await Promise.all(miners.map((miner) => miner.stop()));
  const points = server.points();
  const events = await json<RunEvent[]>(`${server.url}/v1/run/events`);
  const merges = events.flatMap(({ merged }) => merged ?? []);
  expect(merges.map(({ step }) => step)).toEqual(points.map((_, step) => step));
  const sizes = cutStages(shape, 2).map((stage) => 4 * layoutOf(shape, stage).size);
  for (const [i, { bytes }] of merges.entries()) {
    const { mergeBytes, bytesPerToken, tokens } = points[i]!;
    const sum = (way: 'uploaded' | 'sent') => mergeBytes!.reduce((all, part) => all + part[way], 0);
    expect(bytes).toEqual({ uploaded: sum('uploaded'), sent: sum('sent') });
    // f32 gradients of one to all four miners, and each shard of their sum once from each of two.
    for (const [stage, { uploaded }] of mergeBytes!.entries()) {
      expect(uploaded).toBeGreaterThanOrEqual(sizes[stage]!);
      expect(uploaded).toBeLessThanOrEqual(6 * sizes[stage]!);
    }
    const all = bytesPerToken! * (tokens - (points[i - 1]?.tokens ?? 0));
    expect(sum('uploaded') + sum('sent'), 'a part of what went through the server').toBeLessThan(all);
  }
  await server.close();
});

describe.each<Partial<ServerOptions>>([
  { precision: 'f16', gradient: 'bf16' },
  { innerSteps: 4, innerMicrobatches: 2, outer: 'diloco' },
  { overlap: true },
  { innerSteps: 4, gradient: 'topk2bit', merged: 'bf16', medianClip: 1 },
  { gradient: 'int8', merged: 'bf16', medianClip: 3 },
  { gradient: 'topk2bit', spotCheck: 1 },
])('a run with %j', (options) => {
  // With inner steps, one teaches as much as several.
  const steps = options.innerSteps ? 4 : 14;
  it('learns, its replicas stay equal, and every pair agrees', { timeout: 180_000 }, async () => {
    const server = await open({ steps, sequences: 2, microbatchesPerStep: 6, ...options });
    const miners = ['a', 'b', 'c'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
    expect(server.snapshot().config.precision).toBe(options.precision);
    await server.completed;
    const points = server.points();
    expect(points.at(-1)!.loss).toBeLessThan(points[0]!.loss - 0.3);
    expect(server.snapshot().counters.resynchronised).toBe(0);
    const [agreement] = await agreementOf(server);
    expect(agreement!.length).toBeGreaterThan(0);
    for (const { compared, agreed } of agreement!) expect([compared > 0, agreed]).toEqual([true, compared]);
    await Promise.all(miners.map((miner) => miner.stop()));
    await server.close();
  });
});
