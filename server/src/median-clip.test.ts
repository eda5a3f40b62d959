/** What one contributor can do to a step when gradients are clipped to the median of their norms. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import { expect, it } from 'vitest';
import { startServer } from './index.ts';

const STEPS = 40;

it('a swarm learns although one of five hands in −10⁶ times its gradient in every step', { timeout: 180_000 }, async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'median-clip-'));
  const server = await startServer({
    ...{ port: 0, dataDir, preset: 'pico', stages: 1, microbatchesPerStep: 10, steps: STEPS, validateEvery: STEPS, log: () => {} },
    // Nobody stops it: as if it were a new key in every step.
    ...{ audits: false, medianClip: 1 },
  });
  const miners = Array.from({ length: 5 }, (_, i) =>
    startNodeMiner({ url: server.url, name: `n${i}`, backend: 'wasm', ...(i === 0 && { tampering: 'gradient × −10⁶' }) }),
  );
  await server.completed;
  const points = server.points();
  await Promise.all(miners.map((miner) => miner.kill()));
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
  // Honestly it learns 0.065 nats, without the clip it loses 0.06.
  expect(points[0]!.loss - points.at(-1)!.validationLoss!, 'nats learned').toBeGreaterThan(0.01);
});
