/**
 * Real chaos: a real server process, real miners (Node processes and Chromium tabs, on wasm), and faults on a schedule.
 * Calm and rough phases take turns within one run, so that what the machine does beside them strikes both alike; then
 * the whole run is computed again in one process, from its log.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { launchMiners, type Miners } from '@starling/headless';
import { startMinerProcess } from '@starling/miner/process';
import type { RunEvent, StepPoint } from '@starling/protocol';
import { loadCorpus } from '@starling/server/log';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { drawSchedule, type Fault } from './churn-schedule.ts';
import { Line } from './line.ts';
import { readRun, recompute } from './recompute.ts';
import { environment, type Report, type Row } from './report.ts';

export interface ChurnOptions {
  /** Minutes with faults; as many are calm. */
  minutes: number;
  /** Faults in 30 minutes. torchft + DiLoCo survived 62 with 32 replicas. */
  faultsPer30Minutes: number;
  nodeMiners: number;
  tabs: number;
  seed: number;
  /** Steps computed again, at most. */
  verifySteps: number;
}

const STAGES = 3;
const PHASES = 3;
const WARM_UP_STEPS = 20;
/** A killed miner's page is opened again after so long. */
const COME_BACK_MS = 3_000;

/** A miner process behind its own line, started again when it dies. */
class ProcessMiner {
  readonly line: Line;
  private child: ChildProcess;
  private readonly start: () => ChildProcess;
  private closing = false;

  constructor(line: Line, name: string, folder: string) {
    this.line = line;
    this.start = () => {
      const child = startMinerProcess({ url: line.url, name, backend: 'wasm', sessionFile: join(folder, `${name}.session`) });
      child.on('exit', () => {
        if (!this.closing) setTimeout(() => (this.child = this.start()), COME_BACK_MS);
      });
      return child;
    };
    this.child = this.start();
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  freeze(ms: number): void {
    const { child } = this;
    child.kill('SIGSTOP');
    setTimeout(() => child.kill('SIGCONT'), ms);
  }

  close(): void {
    this.closing = true;
    this.child.kill('SIGCONT');
    this.child.kill('SIGKILL');
    this.line.close();
  }
}

interface Phase {
  rough: boolean;
  /** Tokens of the steps that closed in it, and how long it was: a standstill at its end counts. */
  tokens: number;
  ms: number;
}

class Arena {
  private readonly args: string[];
  private readonly options: ChurnOptions;
  readonly dataDir: string;
  private readonly processes: ProcessMiner[] = [];
  private tabs: Miners | null = null;
  private server!: ServerProcess;
  readonly faults = new Map<Fault['kind'], number>();

  constructor(dataDir: string, options: ChurnOptions) {
    this.dataDir = dataDir;
    this.options = options;
    this.args = ['--data', dataDir, '--preset', 'nano', '--stages', `${STAGES}`, '--seed', '1', '--min-microbatches', '6'];
    this.args.push('--checkpoint-every', '50', '--validate-every', '1000000');
  }

  async open(): Promise<void> {
    this.server = await startServerProcess(['--port', '0', ...this.args]);
    for (let i = 0; i < this.options.nodeMiners; i++) {
      this.processes.push(new ProcessMiner(await Line.to(this.server.port), `process-${i}`, this.dataDir));
    }
    if (this.options.tabs > 0) {
      this.tabs = await launchMiners({ url: this.server.url, count: this.options.tabs, backend: 'wasm', namePrefix: 'tab' });
    }
  }

  async points(): Promise<StepPoint[]> {
    return (await fetch(`${this.server.url}/v1/run/points`)).json() as Promise<StepPoint[]>;
  }

  async events(): Promise<RunEvent[]> {
    return (await fetch(`${this.server.url}/v1/run/events`)).json() as Promise<RunEvent[]>;
  }

  async reached(step: number): Promise<void> {
    for (;;) {
      const last = (await this.points()).at(-1)?.step ?? 0;
      if (last >= step) return;
      await sleep(500);
    }
  }

  async strike(fault: Fault): Promise<void> {
    this.faults.set(fault.kind, (this.faults.get(fault.kind) ?? 0) + 1);
    switch (fault.kind) {
      case 'kill miner':
        this.processes[fault.miner]!.kill();
        break;
      case 'freeze miner':
        this.processes[fault.miner]!.freeze(fault.ms);
        break;
      case 'drop socket':
        this.processes[fault.miner]!.line.drop();
        break;
      case 'cut line':
        this.processes[fault.miner]!.line.hold(fault.ms);
        break;
      case 'crash tab':
        await this.tabs!.killTab(fault.tab, { comeBack: true });
        break;
      case 'kill server':
        await this.server.kill();
        this.server = await startServerProcess(['--port', `${this.server.port}`, ...this.args]);
        break;
    }
  }

  async phase(rough: boolean, ms: number, seed: number): Promise<Phase> {
    const began = Date.now();
    if (rough) {
      const count = Math.round((this.options.faultsPer30Minutes * ms) / (30 * 60_000));
      const schedule = drawSchedule(seed, count, ms, this.options.nodeMiners, this.options.tabs);
      for (const { at, fault } of schedule) {
        await sleep(Math.max(0, began + at - Date.now()));
        await this.strike(fault);
      }
    }
    await sleep(Math.max(0, began + ms - Date.now()));
    const ended = Date.now();
    const points = await this.points();
    const tokensAt = (moment: number) => points.findLast(({ time }) => time <= moment)?.tokens ?? 0;
    return { rough, tokens: tokensAt(ended) - tokensAt(began), ms: ended - began };
  }

  async close(): Promise<void> {
    for (const miner of this.processes) miner.close();
    await this.tabs?.close();
    await this.server.terminate();
  }
}

const perSecond = (phases: Phase[]) =>
  (1000 * phases.reduce((sum, { tokens }) => sum + tokens, 0)) / phases.reduce((sum, { ms }) => sum + ms, 0);

export async function churn(options: ChurnOptions): Promise<Report> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-churn-'));
  const arena = new Arena(dataDir, options);
  const phases: Phase[] = [];
  const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)}  ${text}`);
  try {
    await arena.open();
    await arena.reached(WARM_UP_STEPS);
    const ms = (options.minutes * 60_000) / PHASES;
    for (let i = 0; i < PHASES; i++) {
      for (const rough of [false, true]) {
        const phase = await arena.phase(rough, ms, options.seed + i);
        phases.push(phase);
        say(`${rough ? 'rough' : 'calm '} phase ${i + 1} of ${PHASES}: ${perSecond([phase]).toFixed(0)} tokens/s`);
      }
    }
  } finally {
    await arena.close();
  }
  const run = await readRun(join(dataDir, 'log.sqlite'));
  const { counters } = run.machine.coordinator;
  const again = await recompute(run, await loadCorpus(), options.verifySteps, (step, same) => {
    if (!same) say(`step ${step} comes out with other bits`);
    else if (step % 100 === 0) say(`step ${step} computed again: the same bits`);
  });
  await rm(dataDir, { recursive: true, force: true });

  const calm = perSecond(phases.filter(({ rough }) => !rough));
  const rough = perSecond(phases.filter((phase) => phase.rough));
  const faults = [...arena.faults.values()].reduce((sum, count) => sum + count, 0);
  const steps = Math.min(...run.machine.coordinator.view().map(({ stage }) => stage.version));
  const { microbatchesPerStep } = run.machine.coordinator.config;
  const needed = steps * microbatchesPerStep * (2 * STAGES - 1);
  const rows: Row[] = [
    { metric: 'faults survived', value: faults, unit: `in ${options.minutes} minutes` },
    ...[...arena.faults].map(([kind, count]): Row => ({ metric: `  ${kind}`, value: count, unit: 'times' })),
    { metric: 'tokens/s, calm', value: calm, unit: 'tokens/s' },
    { metric: 'tokens/s, rough', value: rough, unit: 'tokens/s', against: 'calm', ratio: rough / calm },
    { metric: 'throughput kept', value: (100 * rough) / calm, unit: '%' },
    { metric: 'receipts needed by the merged steps', value: needed, unit: 'receipts' },
    {
      metric: 'receipts that counted',
      value: run.receipts.counted,
      unit: 'receipts',
      against: 'needed',
      ratio: run.receipts.counted / needed,
    },
    { metric: 'microbatches in two gradients of one merge', value: run.countedTwice, unit: 'microbatches' },
    { metric: 'receipts that were not needed', value: run.receipts.surplus, unit: 'receipts' },
    { metric: 'leases hedged', value: counters.hedged, unit: 'leases' },
    { metric: 'gradients redone', value: counters.redone, unit: 'gradients' },
    { metric: 'stages fetched anew for other parameters', value: counters.resynchronised, unit: 'stages' },
    { metric: 'microbatches left out', value: counters.abandoned, unit: 'microbatches' },
    { metric: 'versions computed again in one process', value: again.total, unit: 'versions' },
    { metric: '  of these, equal to the bit', value: again.same, unit: 'versions', against: 'all', ratio: again.same / again.total },
  ];
  const { nodeMiners, tabs, seed } = options;
  return {
    name: 'churn',
    environment: { ...environment(), backend: 'wasm', preset: 'nano', stages: STAGES, nodeMiners, tabs, seed, steps },
    rows,
  };
}
