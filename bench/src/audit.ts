/**
 * Audits: how often they wrong the honest, over every pair of backends there is; which cheats they find; and what cheating earns
 * at the default rates.
 */
import { AUDITS, type AuditedRun, compareAll, judge, limitsFor, THRESHOLDS } from '@starling/audit';
import { REPLAY_BACKENDS, ReplayThread } from '@starling/audit/node';
import { ATTACKS, evidenceOf, Rehearsal, ruledText, type Scene } from '@starling/audit/zoo';
import { cutStages, presetOf, splitMix32 } from '@starling/model';
import { BOUNDARIES } from '@starling/protocol';
import { collusion } from './collusion.ts';
import { BURSTS, FOLDS, HONEST_ALWAYS, income, LIFE, POOLS, REJOINING, SHELTERED, type Strategy, staying } from './income.ts';
import { environment, type Report, type Row } from './report.ts';

const STAGES = 3;
/** Not those of the calibration. */
const SEED = 1_009;
const HONEST: readonly (Pick<AuditedRun, 'boundary' | 'precision'> & { preset: string; steps: number })[] = [
  { preset: 'pico', boundary: 'f32', steps: 52 },
  { preset: 'pico', boundary: 'int8', steps: 20 },
  { preset: 'pico', boundary: 'f16', steps: 10 },
  { preset: 'pico', boundary: 'int4', steps: 10 },
  ...BOUNDARIES.map((boundary) => ({ preset: 'pico', boundary, precision: 'f16', steps: 10 }) as const),
];
/** Steps in which every attack is tried, at every stage. */
const TRIED = 3;
/** Lives simulated. */
const LIVES = 4_000;
/** The same after a false reduction: 15 s. */
const PAIR_BAN_STEPS = 1;

function runOf(preset: string, written: Pick<AuditedRun, 'boundary' | 'precision'>, sequences: number): AuditedRun {
  const { shape } = presetOf(preset);
  return { model: shape, stages: cutStages(shape, STAGES), sequences, ...written, gradient: 'f32' };
}

function rehearse(run: AuditedRun, preset: string, microbatches: number, thread: ReplayThread): Rehearsal {
  const { optimizer } = presetOf(preset);
  const text = (cursor: number) => ruledText(run.sequences * run.model.context, SEED + cursor);
  const compute: ConstructorParameters<typeof Rehearsal>[1] = (of, work) => thread.replay(of, work);
  return new Rehearsal({ run, seed: SEED, optimizer, microbatchesPerStep: microbatches, text }, compute);
}

async function open(): Promise<ReplayThread[]> {
  const threads: ReplayThread[] = [];
  for (const backend of REPLAY_BACKENDS) {
    const thread = new ReplayThread(backend);
    const found = await thread.adapter().catch(() => null);
    if (found) threads.push(thread);
    else await thread.close();
  }
  return threads;
}

/** Honest comparisons, and those that a limit would have condemned. `distinct`: of different backends, each pair of them in one order only. */
async function honest(
  threads: readonly ReplayThread[],
): Promise<{ comparisons: number; distinct: number; wrong: number; audits: number; condemned: number }> {
  const total = { comparisons: 0, distinct: 0, wrong: 0, audits: 0, condemned: 0 };
  for (const { preset, steps, ...written } of HONEST) {
    const run = runOf(preset, written, 1);
    const limits = limitsFor(THRESHOLDS, run);
    const rehearsal = rehearse(run, preset, 4, threads[0]!);
    for (let step = 0; step < steps; step++) {
      for (const work of await rehearsal.step()) {
        const replays = await Promise.all(threads.map((thread) => thread.replay(run, work)));
        for (const [i, claimed] of replays.entries()) {
          const evidence = await evidenceOf(work, claimed);
          for (const [j, replayed] of replays.entries()) {
            const { outcome } = judge(run, evidence, replayed, limits);
            total.audits += 1;
            if (outcome !== 'passed') total.condemned += 1;
            for (const { quantity, distance } of compareAll(run, evidence, replayed)) {
              const limit = limits[quantity];
              total.comparisons += 1;
              if (i < j) total.distinct += 1;
              if (distance.relativeL2 > limit.relativeL2 || distance.cosineDistance > limit.cosineDistance) total.wrong += 1;
            }
          }
        }
      }
    }
  }
  return total;
}

/** Share of the audits of cheated steps that found it, by attack. */
async function detection(thread: ReplayThread, written: Pick<AuditedRun, 'boundary' | 'precision'>): Promise<Map<string, number>> {
  const run = runOf('nano', written, 1);
  const limits = limitsFor(THRESHOLDS, run);
  // Twice the microbatches: half of them are another miner's.
  const rehearsal = rehearse(run, 'nano', 4, thread);
  const next = splitMix32(SEED);
  const found = new Map<string, number>();
  let audits = 0;
  const halves = (work: Scene['work']) => {
    const cursors = [...new Set(work.leases.map(({ microbatch }) => microbatch))];
    const own = new Set(cursors.slice(0, cursors.length / 2));
    const part = (mine: boolean) => ({ ...work, leases: work.leases.filter(({ microbatch }) => own.has(microbatch) === mine) });
    return { work: part(true), neighbour: part(false) };
  };
  const first = await rehearsal.step();
  let before = first;
  for (let step = 0; step < TRIED; step++) {
    const works = await rehearsal.step();
    for (const [stage, whole] of works.entries()) {
      audits += 1;
      const scene: Scene = {
        run,
        ...halves(whole),
        before: halves(before[stage]!).work,
        first: halves(first[stage]!).work,
        compute: (of, work) => thread.replay(of, work),
        random: () => next() / 2 ** 32,
      };
      for (const attack of ATTACKS) {
        const evidence = await evidenceOf(scene.work, await attack.claims(scene));
        const { outcome } = await thread.audit(run, evidence, limits);
        if (outcome === 'failed') found.set(attack.name, (found.get(attack.name) ?? 0) + 1);
      }
    }
    before = works;
  }
  return new Map(ATTACKS.map(({ name }) => [name, (found.get(name) ?? 0) / audits]));
}

/** The one of these that is paid most. */
function best(strategies: readonly Strategy[], paidFor: (strategy: Strategy) => number): { name: string; paid: number } {
  const all = strategies.map((strategy) => ({ name: strategy.name, paid: paidFor(strategy) }));
  return all.reduce((most, one) => (one.paid > most.paid ? one : most));
}

/** What an audit costs against the work it looks at: processor time of both, on the same backend. */
async function cost(thread: ReplayThread): Promise<number> {
  const run = runOf('nano', { boundary: 'f32' }, 4);
  const rehearsal = rehearse(run, 'nano', 4, thread);
  const limits = limitsFor(THRESHOLDS, run);
  let [work, audits] = [0, 0];
  for (let step = 0; step < 4; step++) {
    for (const one of await rehearsal.step()) {
      const started = performance.now();
      const claims = await thread.replay(run, one);
      const done = performance.now();
      await thread.audit(run, await evidenceOf(one, claims), limits);
      if (step > 0) [work, audits] = [work + done - started, audits + performance.now() - done];
    }
  }
  return audits / work;
}

export async function audit(): Promise<Report> {
  const threads = await open();
  const [wasm] = threads;
  const names = threads.map(({ backend }) => backend);
  const { comparisons, distinct, wrong, audits, condemned } = await honest(threads);
  const plain = await detection(wasm!, { boundary: 'f32' });
  const small = await detection(wasm!, { boundary: 'int8' });
  const halves = await detection(wasm!, { boundary: 'f32', precision: 'f16' });
  const share = await cost(wasm!);
  await Promise.all(threads.map((thread) => thread.close()));
  const next = splitMix32(SEED);
  const rows: Row[] = [
    { metric: `honest comparisons over ${names.length ** 2} pairs of backends`, value: comparisons, unit: '' },
    { metric: 'of these, of different backends, each pair in one order', value: distinct, unit: '' },
    { metric: 'of all, beyond a limit', value: wrong, unit: '' },
    { metric: 'honest audits', value: audits, unit: '' },
    { metric: 'of these, condemned', value: condemned, unit: '' },
    { metric: 'an audit against the work it looks at', value: share, unit: '×' },
    { metric: `audits at the floor of ${100 * AUDITS.floor} %, of the swarm's compute`, value: 100 * AUDITS.floor * share, unit: '%' },
  ];
  const lives = { lives: LIVES, detected: 1 };
  const honestly = income(HONEST_ALWAYS, lives, next).paid;
  const earned = (metric: string, paid: number): Row => {
    const ratio = paid / honestly;
    return { metric, value: 100 * ratio, unit: '%', against: 'an honest miner', ratio };
  };
  /** By the share of audits that find it. */
  const rejoined = new Map<number, ReturnType<typeof best>>();
  for (const attack of ATTACKS) {
    const found = plain.get(attack.name)!;
    const { paid, audits: spent } = income(staying(attack.share), { ...lives, detected: found }, next);
    const rejoins = rejoined.get(found) ?? best(REJOINING, (strategy) => income(strategy, { ...lives, detected: found }, next).paid);
    rejoined.set(found, rejoins);
    rows.push(
      { metric: `${attack.name}: audits that find it, f32`, value: 100 * found, unit: '%' },
      { metric: `${attack.name}: the same, int8`, value: 100 * small.get(attack.name)!, unit: '%' },
      { metric: `${attack.name}: the same, f32 with f16 products`, value: 100 * halves.get(attack.name)!, unit: '%' },
      { metric: `${attack.name}: audits spent in ${LIFE} steps`, value: spent, unit: '' },
      earned(`${attack.name}: income`, paid),
      earned(`${attack.name}: income of who ${rejoins.name}`, rejoins.paid),
    );
  }
  for (const fold of FOLDS) {
    for (const keys of POOLS) {
      for (const [where, strategies] of [
        ['', BURSTS],
        [' beside confederates', SHELTERED],
      ] as const) {
        const most = best(strategies, (strategy) => income({ ...strategy, fold }, { lives: LIVES / 10, detected: 1, keys }, next).paid);
        const earns = `the best bursts${where} of lies worth ${fold} × a step, ${keys} key${keys === 1 ? '' : 's'}, ${most.name}`;
        rows.push(earned(earns, most.paid));
      }
    }
  }
  const pair = await collusion();
  const { paid } = income(staying(pair.cheated), { lives: LIVES, detected: pair.found, chanceOf: () => 1, ban: PAIR_BAN_STEPS }, next);
  rows.push(
    { metric: 'colluding pair in the reduction: merges in which it can cheat', value: 100 * pair.cheated, unit: '%' },
    { metric: 'colluding pair in the reduction: of these, found', value: 100 * pair.found, unit: '%' },
    { metric: 'colluding pair in the reduction: others named for it', value: pair.wronged, unit: '' },
    earned('colluding pair in the reduction: income', paid),
  );
  return { name: 'audit', environment: { ...environment(), backends: names.join(', ') }, rows };
}
