/** What the wire costs: one process, a swarm of one miner per stage, and of two, all on this machine in one run. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import type { MinerState } from '@starling/miner';
import { startNodeMiner } from '@starling/miner/node';
import { cutStages, presetOf, SoloTrainer } from '@starling/model';
import { startServer } from '@starling/server';
import { environment, type Report, type Row } from './report.ts';

const PRESET = 'nano';
const STAGES = 3;
const SEED = 1;
/** Steps before the clock starts: placement, parameters, compilation. */
const WARM_UP = 3;
const STEPS = 20;
const PHASES = ['compute', 'wire', 'merge', 'wait'] as const;

type Spent = MinerState['spent'];

export async function swarm(): Promise<Report> {
  const solo = await oneProcess();
  const rows: Row[] = [{ metric: 'one process', value: solo, unit: 'tokens/s' }];
  for (const perStage of [1, 2]) {
    const name = `${STAGES} stages × ${perStage}`;
    const { tokensPerSecond, share } = await trainSwarm(perStage);
    rows.push({ metric: name, value: tokensPerSecond, unit: 'tokens/s', against: 'one process', ratio: tokensPerSecond / solo });
    for (const phase of PHASES) rows.push({ metric: `${name}, miners' time in ${phase}`, value: 100 * share[phase], unit: '%' });
  }
  return { name: 'swarm', environment: { ...environment(), backend: 'wasm', preset: PRESET, steps: STEPS }, rows };
}

/** Tokens per second of the uncut model. Its microbatches are random bytes: their values do not change the work. */
async function oneProcess(): Promise<number> {
  const { shape, optimizer, sequences, microbatchesPerStep } = presetOf(PRESET);
  const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
  const solo = new SoloTrainer(kernels, { shape, sequences, seed: SEED, optimizer, clipGroups: cutStages(shape, STAGES) });
  const size = sequences * shape.context;
  const bytes = () => Int32Array.from({ length: size }, () => Math.floor(Math.random() * shape.vocabulary));
  const microbatches = Array.from({ length: microbatchesPerStep }, () => ({ tokens: bytes(), targets: bytes() }));
  for (let i = 0; i < WARM_UP; i++) await solo.step(microbatches);
  const started = performance.now();
  for (let i = 0; i < STEPS; i++) await solo.step(microbatches);
  const seconds = (performance.now() - started) / 1000;
  solo.dispose();
  kernels.close();
  return (STEPS * microbatchesPerStep * size) / seconds;
}

async function trainSwarm(perStage: number): Promise<{ tokensPerSecond: number; share: Spent }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-bench-'));
  const server = await startServer({
    port: 0,
    dataDir,
    preset: PRESET,
    stages: STAGES,
    seed: SEED,
    // Only the last step validates and checkpoints, and it comes after the clock has stopped.
    steps: WARM_UP + STEPS + 1,
    validateEvery: 1e9,
    checkpointEvery: 1e9,
    log: () => {},
  });
  const miners = Array.from({ length: STAGES * perStage }, (_, i) =>
    startNodeMiner({ url: server.url, name: `bench ${i}`, backend: 'wasm' }),
  );
  const spent = () => miners.map((miner) => miner.state!.spent);
  let first: { time: number; tokens: number; spent: Spent[] } | null = null;
  let measured: { tokensPerSecond: number; share: Spent } | null = null;
  server.onStep(({ step, tokens }) => {
    const time = performance.now();
    if (step === WARM_UP) first = { time, tokens, spent: spent() };
    if (step === WARM_UP + STEPS) {
      const tokensPerSecond = ((tokens - first!.tokens) * 1000) / (time - first!.time);
      const last = spent();
      const sums = PHASES.map((phase) => last.reduce((sum, now, i) => sum + now[phase] - first!.spent[i]![phase], 0));
      const all = sums.reduce((a, b) => a + b);
      measured = { tokensPerSecond, share: Object.fromEntries(PHASES.map((phase, i) => [phase, sums[i]! / all])) as Spent };
    }
  });
  await server.completed;
  await Promise.all(miners.map((miner) => miner.stop()));
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
  return measured!;
}
