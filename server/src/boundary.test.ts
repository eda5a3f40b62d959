/** What crosses between stages is written as the run says, and training hardly notices. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer } from './index.ts';

const STEPS = 8;
let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-boundary-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

/** Losses of a run of three stages, and whether all replicas of a stage held the same bits at its end. */
async function train(boundary: string, steps = STEPS): Promise<number[]> {
  const options = { port: 0, stages: 3, steps, sequences: 1, microbatchesPerStep: 4, validateEvery: 1000, boundary, log: () => {} };
  const server = await startServer({ ...options, dataDir: join(dataDir, boundary) });
  const miners = Array.from({ length: 3 }, (_, i) => startNodeMiner({ url: server.url, name: `n${i}`, backend: 'wasm' }));
  await server.completed;
  const { stages, counters } = server.snapshot();
  expect(stages.map(({ version }) => version)).toEqual([steps, steps, steps]);
  expect(counters).toMatchObject({ rejected: 0, resynchronised: 0 });
  const losses = server.points().map(({ loss }) => loss);
  await Promise.all(miners.map((miner) => miner.stop()));
  await server.close();
  return losses;
}

it.each(['subspace-16+int8', 'bottleneck-16+f16'])(
  'a run with %s learns, and its replicas stay equal',
  { timeout: 120_000 },
  async (boundary) => {
    // What is squeezed learns more slowly at first.
    const losses = await train(boundary, 2 * STEPS);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.2);
  },
);

it('loses under half a percent of the loss as f16 and int8, and a few percent as int4', async () => {
  const exact = await train('f32');
  expect(exact.at(-1)!).toBeLessThan(exact[0]! - 0.2);
  for (const [boundary, percent] of [
    ['f16', 0.05],
    ['int8', 0.5],
    ['int4', 5],
  ] as const) {
    const losses = await train(boundary);
    const off = losses.map((loss, step) => (100 * Math.abs(loss - exact[step]!)) / exact[step]!);
    expect(Math.max(...off), `${boundary}: ${off.map((share) => share.toFixed(3))} %`).toBeLessThan(percent);
    expect(Math.max(...off), 'it was written otherwise at all').toBeGreaterThan(0);
  }
}, 240_000);
