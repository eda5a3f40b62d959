/** Asked to end while others are connected, the server writes what was closed and ends. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import { packets } from '@starling/protocol/packets';
import { io } from 'socket.io-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer } from './index.ts';

let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-shutdown-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

it('checkpoints and closes over a miner, a spectator and half a request, and the next start goes on from there', async () => {
  const options = { port: 0, dataDir, stages: 1, sequences: 1, microbatchesPerStep: 1, checkpointEvery: 1000, log: () => {} };
  const server = await startServer(options);
  const miner = startNodeMiner({ url: server.url, name: 'n', backend: 'wasm' });
  const spectator = io(`${server.url}/watch`, { transports: ['websocket'], forceNew: true, reconnection: false, parser: packets });
  await expect(startServer(options)).rejects.toEqual(expect.objectContaining({ code: 'DATA_IN_USE' }));
  const half = connect(server.port, '127.0.0.1', () => half.write('POST /v1/blobs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf'));
  half.on('error', () => {});
  await new Promise((resolve) => spectator.once('snapshot', resolve));
  await new Promise<void>((resolve) => server.onStep(({ step }) => step === 3 && resolve()));
  const gone = new Promise((resolve) => spectator.once('disconnect', resolve));
  await server.close();
  await gone;
  const { step } = server.snapshot();
  const losses = server.points().map((point) => point.loss);
  await miner.stop();
  half.destroy();

  const again = await startServer(options);
  expect(again.snapshot().step).toBe(step);
  expect(step).toBeGreaterThanOrEqual(3);
  expect(again.points().map((point) => point.loss)).toEqual(losses);
  await again.close();
});
