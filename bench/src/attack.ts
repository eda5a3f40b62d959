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
  /** Mean validation loss of the last quarter, nats per token. */
  loss: number;
  seconds: number;
  /** Share of the chain's weights that cheats have. */
  cheatsWeight: number;
  found: number;
  /** Steps that were merged when the last of them was banned; NaN if one never was. */
  bannedBy: number;
  audits: number;
  wronged: number;
}

async function run(steps: number, seed: number, cheats: readonly (typeof CHEATS)[number][]): Promise<Outcome> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-attack-'));
  const server = await startServer({
    ...{ port: 0, dataDir, stages: STAGES, preset: 'nano', sequences: 1, microbatchesPerStep: 18, steps, seed },
    ...{ validateEvery: Math.max(1, Math.floor(steps / 40)), blockMs: 200, tempo: 10, log: () => {} },
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
    const convictions = [...ids].map((id) => failed.filter(({ minerId }) => minerId === id).map(({ time }) => time));
    const points = server.points();
    const stepsBy = (time: number) => points.filter((point) => point.time <= time).length;
    return {
      loss: mean(points.slice(-Math.ceil(steps / 4)).flatMap(({ validationLoss }) => validationLoss ?? [])),
      seconds,
      cheatsWeight: weights(isCheat) / weights(() => true),
      found: convictions.filter((times) => times.length > 0).length,
      bannedBy: Math.max(0, ...convictions.map((times) => (times.length > 0 ? stepsBy(Math.min(...times)) : Number.NaN))),
      audits: audits.length,
      wronged: failed.filter(({ minerId }) => !ids.has(minerId)).length,
    };
  } finally {
    await Promise.all(miners.map((miner) => miner.kill()));
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Each seed without cheats and with them. One run's loss says little: what is merged in the first steps, right or wrong, decides by which way
 * the run goes, and that way is better or worse by some percent. So losses are means over the validations of a run's last quarter, and over seeds.
 */
export async function attack(steps: number, seeds: number): Promise<Report> {
  const rows: Row[] = [];
  const [clean, attacked]: [Outcome[], Outcome[]] = [[], []];
  for (let seed = 1; seed <= seeds; seed++) {
    const without = await run(steps, seed, []);
    const cheated = await run(steps, seed, CHEATS);
    clean.push(without);
    attacked.push(cheated);
    const named = (metric: string) => `seed ${seed}, ${CHEATS.length} of ${MINERS} cheat: ${metric}`;
    const plain = (metric: string) => `seed ${seed}, without cheats: ${metric}`;
    const over = (key: 'loss' | 'seconds') => ({ against: plain(key), ratio: cheated[key] / without[key] });
    rows.push(
      { metric: plain('loss'), value: without.loss, unit: 'nats' },
      { metric: plain('seconds'), value: without.seconds, unit: 's' },
      { metric: plain('audits'), value: without.audits, unit: '' },
      { metric: named('loss'), value: cheated.loss, unit: 'nats', ...over('loss') },
      { metric: named('seconds'), value: cheated.seconds, unit: 's', ...over('seconds') },
      { metric: named('audits'), value: cheated.audits, unit: '' },
      { metric: named('the last was banned after so many steps'), value: cheated.bannedBy, unit: '' },
      { metric: named("cheats' share of the weights"), value: 100 * cheated.cheatsWeight, unit: '%' },
    );
  }
  const lossOf = (outcomes: readonly Outcome[]) => mean(outcomes.map(({ loss }) => loss));
  const all = [...clean, ...attacked];
  rows.push(
    { metric: 'all seeds, without cheats: loss', value: lossOf(clean), unit: 'nats' },
    {
      ...{ metric: `all seeds, ${CHEATS.length} of ${MINERS} cheat: loss`, value: lossOf(attacked), unit: 'nats' },
      ...{ against: 'without cheats', ratio: lossOf(attacked) / lossOf(clean) },
    },
    { metric: 'cheats found', value: attacked.reduce((sum, { found }) => sum + found, 0), unit: `of ${seeds * CHEATS.length}` },
    {
      metric: 'honest miners condemned',
      value: all.reduce((sum, { wronged }) => sum + wronged, 0),
      unit: `of ${(2 * MINERS - CHEATS.length) * seeds}`,
    },
  );
  return { name: 'attack', environment: { ...environment(), preset: 'nano', steps, seeds }, rows };
}
