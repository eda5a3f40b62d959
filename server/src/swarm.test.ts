/** The real server, real sockets and real miners (Node threads on wasm): what one process would compute, a swarm computes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import { startNodeMiner } from '@starling/miner/node';
import { cutStages, layoutOf, presetOf, SoloTrainer } from '@starling/model';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadCorpus, Sampler } from './corpus.ts';
import { startServer } from './index.ts';

const STAGES = 3;
const SEED = 7;
/** Its slow warm-up keeps rounding differences from growing: at nano's rate they double every few steps. */
const PRESET = 'shakespeare';
/** Tensors the kernels keep for themselves. */
const TABLES = 6;
const BATCH = { sequences: 2, microbatchesPerStep: 4 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-swarm-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it.each([
  ['one process, which clips by the norm of the whole model', 'global', 50],
  ['one process that clips each stage by its own norm', 'stage', 10],
] as const)(
  'three stages of two replicas give the loss curve of %s, and equal bits in all replicas',
  { timeout: 300_000 },
  async (_, clip, steps) => {
    const dataDir = await mkdtemp(join(folder, 'run-'));
    const server = await startServer({
      port: 0,
      dataDir,
      preset: PRESET,
      stages: STAGES,
      steps,
      seed: SEED,
      clip,
      validateEvery: 20,
      log: () => {},
      ...BATCH,
    });
    const miners = Array.from({ length: 2 * STAGES }, (_, i) => startNodeMiner({ url: server.url, name: `n${i}`, backend: 'wasm' }));
    await server.completed;
    const { stages } = server.snapshot();
    await expect.poll(() => miners.every((miner) => miner.state?.version === steps), { timeout: 30_000 }).toBe(true);
    for (const { state } of miners) {
      expect(state!.parameterHash).toBe(stages[state!.stage!]!.parameterHash);
      // All that is left after so many steps: the parameters, and the tables of rotary positions and masks.
      const { entries } = layoutOf(presetOf(PRESET).shape, cutStages(presetOf(PRESET).shape, STAGES)[state!.stage!]!);
      expect(state!.memory.tensors).toBeLessThanOrEqual(entries.length + TABLES);
    }
    const swarm = server.points();
    await Promise.all(miners.map((miner) => miner.stop()));
    await server.close();

    const { shape, optimizer } = presetOf(PRESET);
    const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
    const sampler = new Sampler(await loadCorpus(), { sequences: BATCH.sequences, context: shape.context, seed: SEED });
    const clipGroups = clip === 'stage' ? { clipGroups: cutStages(shape, STAGES) } : {};
    const solo = new SoloTrainer(kernels, { shape, sequences: BATCH.sequences, seed: SEED, optimizer, ...clipGroups });
    for (let step = 0; step < steps; step++) {
      const microbatches = Array.from({ length: BATCH.microbatchesPerStep }, (_, i) => sampler.train(step * BATCH.microbatchesPerStep + i));
      const loss = await solo.step(microbatches);
      expect(Math.abs(swarm[step]!.loss - loss) / loss, `step ${step + 1}: swarm ${swarm[step]!.loss}, one process ${loss}`).toBeLessThan(
        1e-4,
      );
    }
    expect(swarm[0]!.loss - swarm.at(-1)!.loss, 'nats learned').toBeGreaterThan(steps / 50);
    solo.dispose();
    kernels.close();
  },
);
