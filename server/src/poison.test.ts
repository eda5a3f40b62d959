/** Whoever sends the largest tensors there can be, or none that are finite, brings no run to a stand, and nobody's results to nothing. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer } from './index.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'poison-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const STEPS = 2;

it.each(['f32', 'f16', 'int8'])(
  'closes every step while a miner of the last stage sends poison as %s',
  { timeout: 180_000 },
  async (boundary) => {
    const sizes = { preset: 'pico', stages: 3, sequences: 1, microbatchesPerStep: 6, minMicrobatches: 6, steps: STEPS, validateEvery: 100 };
    const server = await startServer({ ...sizes, port: 0, dataDir: join(folder, boundary), boundary, log: () => {} });
    const miners: ReturnType<typeof startNodeMiner>[] = [];
    // One a stage, and then another each: the third has the last stage.
    for (const name of ['a', 'b', 'cheat', 'd', 'e', 'f']) {
      miners.push(startNodeMiner({ url: server.url, name, backend: 'wasm', ...(name === 'cheat' && { tampering: 'poison' }) }));
      const here = () => server.snapshot().stages.reduce((sum, stage) => sum + stage.miners.length, 0);
      await expect.poll(here, { timeout: 30_000 }).toBe(miners.length);
    }
    await server.completed;
    expect(server.points().map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
    expect(server.snapshot().counters.rejected, 'some of it was refused').toBeGreaterThan(0);
    await Promise.all(miners.map((miner) => miner.stop()));
    await server.close();
  },
);
