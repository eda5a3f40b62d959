/** The real server, real sockets, real miners with keys of their own, and the embedded chain: work becomes emission. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeAddress, fromHex } from '@starling/chain';
import { startNodeMiner } from '@starling/miner/node';
import type { ChainView } from '@starling/protocol';
import { openReader } from '@starling/store';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer } from '../index.ts';
import { ledgerOf } from '../rounds.ts';
import { scores } from '../score.ts';
import { tallyOf } from '../scores.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-paid-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const STEPS = 24;

it('pays guests in proportion to what they did, and remembers it over a restart', { timeout: 180_000 }, async () => {
  const options = {
    port: 0,
    dataDir: folder,
    preset: 'pico',
    stages: 2,
    steps: STEPS,
    roundSteps: 4,
    heldSteps: 4,
    audits: false,
    blockMs: 20,
    tempo: 8,
    validateEvery: 1_000,
    log: () => {},
  };
  const server = await startServer(options);
  const miners = Array.from({ length: 3 }, (_, i) => startNodeMiner({ url: server.url, name: `n${i}`, backend: 'wasm' }));
  await server.completed;
  const paid = async (view: ChainView) => view.weights?.round === STEPS / 4 && view.pay.every(({ emission }) => emission !== '0');
  await expect.poll(async () => paid(await server.chain()), { timeout: 60_000, interval: 200 }).toBe(true);
  // The chain is a block ahead of what it told for as long as a block takes to write: a view in which an epoch was just added up.
  let view = await server.chain();
  const addedUp = ({ pay, neurons }: ChainView) => pay.every(({ uid, lastEmission }) => neurons[uid!]?.emission === lastEmission);
  const atEpoch = async () => {
    await server.nextEpoch();
    view = await server.chain();
    return addedUp(view);
  };
  await expect.poll(atEpoch, { timeout: 20_000, interval: 1 }).toBe(true);
  expect(view.trouble).toBeNull();
  expect(view).toMatchObject({ kind: 'embedded', netuid: 9, rounds: { steps: 4, newest: { round: STEPS / 4, step: STEPS } } });
  expect(view.pay.map(({ guest }) => guest)).toEqual([true, true, true]);
  const devices = view.rounds.newest!.miners.map(({ device }) => encodeAddress(fromHex(device!)!));
  expect(new Set(view.pay.map(({ address }) => address))).toEqual(new Set(devices));
  // The newest weights and the newest epoch: u16 of the score, then incentive in proportion to the weights.
  const best = view.pay[0]!;
  const incentives = view.pay.reduce((all, { incentive }) => all + incentive, 0);
  const total = view.pay.reduce((all, { score }) => all + score, 0);
  for (const line of view.pay) {
    expect(line.weight! / 65_535).toBeCloseTo(line.score / best.score, 4);
    expect(line.incentive / incentives).toBeCloseTo(line.score / total, 3);
    expect(view.neurons[line.uid!]).toMatchObject({ hotkey: line.address, incentive: line.incentive });
  }
  // Over HTTP, by somebody who has nothing but the ledger.
  const recounted = await scores(server.url, server.snapshot().config.runId);
  expect(recounted).toMatchObject({ rounds: STEPS / 4, differ: [] });
  expect(recounted.lines.map(({ score }) => score)).toEqual(view.pay.map(({ score }) => score));
  await expect(scores(server.url, 'another')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await Promise.all(miners.map((miner) => miner.stop()));
  await server.close();

  // Anybody who has the log computes the same scores.
  const reader = await openReader(join(folder, 'log.sqlite'));
  const recomputed = tallyOf(await ledgerOf(reader)).scores;
  await reader.close();
  expect(new Map([...recomputed].map(([device, { score }]) => [encodeAddress(fromHex(device)!), score]))).toEqual(
    new Map(view.pay.map(({ address, score }) => [address, score])),
  );

  const again = await startServer(options);
  const after = await again.chain();
  expect(after.pay.map(({ address, work, score }) => ({ address, work, score }))).toEqual(
    view.pay.map(({ address, work, score }) => ({ address, work, score })),
  );
  for (const [i, line] of after.pay.entries()) expect(BigInt(line.emission)).toBeGreaterThanOrEqual(BigInt(view.pay[i]!.emission));
  expect(after.network).toBe(view.network);
  await again.close();
});
