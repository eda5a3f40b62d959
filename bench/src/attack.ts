/** A real swarm of three stages with three miners each, a third of them cheats of different kinds, against the same swarm without cheats. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import type { AuditEntry } from '@starling/protocol';
import { startServer } from '@starling/server';
import { environment, type Report, type Row } from './report.ts';

const STAGES = 3;
const MINERS = 9;
const CHEATS = ['zeros', 'lazy backward', 'scaled gradient'] as const;

interface Outcome {
  validationLoss: number;
  seconds: number;
  /** Share of the chain's weights that cheats have. */
  cheatsWeight: number;
  found: number;
  /** The step that convicted the last of them, from 0. */
  convictedBy: number;
  audits: number;
  wronged: number;
}

async function run(steps: number, cheats: readonly (typeof CHEATS)[number][]): Promise<Outcome> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-attack-'));
  const server = await startServer({
    ...{ port: 0, dataDir, stages: STAGES, preset: 'nano', sequences: 1, microbatchesPerStep: 18, steps, validateEvery: steps },
    ...{ roundSteps: 5, heldSteps: 15, blockMs: 200, tempo: 10, log: () => {} },
  });
  const started = performance.now();
  const named = (i: number) => (i < cheats.length ? `cheat ${i}` : `honest ${i}`);
  const miners = Array.from({ length: MINERS }, (_, i) =>
    startNodeMiner({ url: server.url, name: named(i), backend: 'wasm', ...(cheats[i] && { tampering: cheats[i] }) }),
  );
  try {
    await server.completed;
    const seconds = (performance.now() - started) / 1000;
    await server.nextEpoch();
    await server.nextEpoch();
    const { pay } = await server.chain();
    const weights = (of: (names: readonly string[]) => boolean) =>
      pay.filter(({ names }) => of(names)).reduce((sum, { weight }) => sum + (weight ?? 0), 0);
    const isCheat = (names: readonly string[]) => names.some((name) => name.startsWith('cheat'));
    const { audits } = (await (await fetch(`${server.url}/v1/audits?limit=1000`)).json()) as {
      audits: AuditEntry[];
    };
    const ids = new Set(miners.slice(0, cheats.length).map(({ state }) => state!.minerId));
    const failed = audits.filter(({ verdict }) => verdict.outcome === 'failed');
    const convictions = [...ids].map((id) => failed.filter(({ minerId }) => minerId === id).map(({ version }) => version));
    return {
      validationLoss: server.points().at(-1)!.validationLoss!,
      seconds,
      cheatsWeight: weights(isCheat) / weights(() => true),
      found: convictions.filter((steps) => steps.length > 0).length,
      convictedBy: Math.max(-1, ...convictions.map((steps) => Math.min(...steps))),
      audits: audits.length,
      wronged: failed.filter(({ minerId }) => !ids.has(minerId)).length,
    };
  } finally {
    await Promise.all(miners.map((miner) => miner.kill()));
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** `runs` with cheats: audits are drawn by a secret, so no two are alike. */
export async function attack(steps: number, runs: number): Promise<Report> {
  const clean = await run(steps, []);
  const attacked: Outcome[] = [];
  for (let i = 0; i < runs; i++) attacked.push(await run(steps, CHEATS));
  const rows: Row[] = [
    { metric: 'without cheats: validation loss', value: clean.validationLoss, unit: 'nats' },
    { metric: 'without cheats: seconds', value: clean.seconds, unit: 's' },
    { metric: 'without cheats: audits', value: clean.audits, unit: '' },
    { metric: 'without cheats: honest miners condemned', value: clean.wronged, unit: '' },
    ...attacked.flatMap((outcome, i): Row[] => {
      const named = (metric: string) => `${CHEATS.length} of ${MINERS} cheat, run ${i + 1}: ${metric}`;
      const against = 'without cheats';
      const { validationLoss, seconds } = outcome;
      return [
        { metric: named('validation loss'), value: validationLoss, unit: 'nats', against, ratio: validationLoss / clean.validationLoss },
        { metric: named('cheats found'), value: outcome.found, unit: `of ${CHEATS.length}` },
        { metric: named('the last was found by its step'), value: outcome.convictedBy, unit: '' },
        { metric: named('honest miners condemned'), value: outcome.wronged, unit: '' },
        { metric: named("cheats' share of the weights"), value: 100 * outcome.cheatsWeight, unit: '%' },
        { metric: named('audits'), value: outcome.audits, unit: '' },
        { metric: named('seconds'), value: seconds, unit: 's', against, ratio: seconds / clean.seconds },
      ];
    }),
  ];
  return { name: 'attack', environment: { ...environment(), preset: 'nano', steps }, rows };
}
