/**
 * Virtual time, network, disk and miners around the real coordinator, journal and store. A seed is a whole run with its
 * faults; the same seed is the same run, to the last input.
 */
import type { Coordinator, CoordinatorConfig, Input, Outcome } from '@starling/coordinator';
import { LIMITS } from '@starling/coordinator';
import { type LeaseKind, SwarmError } from '@starling/protocol';
import { SqliteStore } from '@starling/store';
import type { Command, Reply, Request } from './messages.ts';
import { Wire } from './network.ts';
import { Random } from './random.ts';
import { CALM, type Schedule } from './schedule.ts';
import { Timeline } from './timeline.ts';
import { type Temper, VirtualMiner } from './virtual-miner.ts';
import { VirtualServer } from './virtual-server.ts';

export interface Options {
  stages: number;
  miners: number;
  steps: number;
  microbatchesPerStep: number;
  minMicrobatches: number;
  validationMicrobatches: number;
  schedule: Schedule;
  /** By default the stage's. */
  clip?: CoordinatorConfig['clip'];
  /** Merge while the next step is computed. */
  overlap?: boolean;
  /** Look at every invariant after every input. */
  check: boolean;
  /** Ms of every transfer; each miner's own when absent. */
  transfer?: number;
  /** Inputs between snapshots. */
  snapshotEvery: number;
  /** Miners alike, a network and a disk without jitter: the seed decides nothing but what the schedule draws. */
  uniform?: boolean;
  /** Of the servers that are killed, stop every other one as it should be, and have one with other rules go on. */
  upgrades?: boolean;
  /** Faults by (who, when) instead of by chance. */
  strikes?: Strikes;
  /** Gets a line for everything that happens; slow. */
  trace?: (line: string) => void;
}

/** What an injected fault does to the message at hand; what it does to the miner it has done itself by then. */
export type Spoil = 'lost' | 'twice' | 'useless' | 'lie' | 'busy' | null;

export interface Strikes {
  /** A command reaches a miner, a request is to leave it, or an answer reaches it. */
  miner?(miner: VirtualMiner, boundary: string): Spoil;
  /** An input was handled (and is not durable yet), or is durable (and nobody was told). True: the server is killed. */
  server?(input: Input, moment: 'handled' | 'durable', world: World): boolean;
}

export interface Result {
  seed: number;
  /** A broken invariant, or a run that stopped making progress. */
  problem: string | null;
  /** SHA-256 of nothing fancy: the newest parameters of all stages, which name everything that was merged. */
  outcome: string;
  faults: Record<string, number>;
  inputs: number;
  /** Virtual ms until the last step closed. */
  tookMs: number;
  computed: number;
  counted: number;
  /** Stages fetched. */
  assigned: number;
  counters: Readonly<Coordinator['counters']> | null;
}

/** Numbers of a stage's gradient: as many shards as four miners have pairs, at most. */
const SIZE = 6 * 4_096;
/** A run that needs longer than this for a step has stopped making progress. */
const PATIENCE_MS = 60 * 60_000;
/** After the last step, for everybody to get the newest parameters. */
const QUIET_MS = 3 * LIMITS.phaseDeadline;

export class World {
  readonly options: Options;
  readonly config: CoordinatorConfig;
  readonly timeline = new Timeline();
  readonly random: Random;
  readonly stats = { inputs: 0, computed: 0, counted: 0, assigned: 0, faults: new Map<string, number>() };
  readonly miners: VirtualMiner[] = [];
  private readonly store = new SqliteStore(':memory:', { synchronous: 'OFF' });
  readonly server: VirtualServer;
  private readonly seed: number;
  private problem: string | null = null;
  private closedSteps = 0;
  private closedAt = 0;
  /** Microbatches merged by stage and version: the same again after a restart, or it is not a repetition. */
  private readonly merges = new Map<string, string>();
  private readonly receipts = new Map<string, Outcome>();
  private readonly poison = new Map<number, boolean>();
  private draining = false;

  constructor(seed: number, options: Options) {
    this.seed = seed;
    this.options = options;
    this.random = new Random(seed);
    this.config = {
      stages: options.stages,
      microbatchesPerStep: options.microbatchesPerStep,
      minMicrobatches: options.minMicrobatches,
      validationMicrobatches: options.validationMicrobatches,
      validateEvery: 2,
      steps: options.steps,
      clip: options.clip ?? 'stage',
      tokensPerMicrobatch: 8,
      overlap: options.overlap ?? false,
      reduction: {
        parameters: new Array<number>(options.stages).fill(SIZE),
        codec: 'f32',
        merged: 'f32',
        means: false,
        medianClip: null,
        spotCheck: 0.1,
      },
      version: 0,
      parameterHashes: Array.from({ length: options.stages }, (_, stage) => `initial ${stage}`),
      leasePrefix: 's',
    };
    this.server = new VirtualServer(this, this.store);
  }

  // ── what its parts tell it ────────────────────────────────────────────────────────────────────

  fail(why: string): void {
    this.problem ??= `${why} (at ${this.timeline.now.toFixed(0)} ms)`;
  }

  /** Whether this fault happens now; it is counted. */
  fault(name: keyof Schedule): boolean {
    if (!this.random.chance(this.schedule[name])) return false;
    this.count(name);
    return true;
  }

  count(name: string): void {
    this.stats.faults.set(name, (this.stats.faults.get(name) ?? 0) + 1);
    this.options.trace?.(`${this.timeline.now.toFixed(0)} fault ${name}`);
  }

  event(code: string, message: string): void {
    this.options.trace?.(`${this.timeline.now.toFixed(0)} ${code} ${message}`);
  }

  strike(miner: VirtualMiner, boundary: string): Spoil {
    return this.options.strikes?.miner?.(miner, boundary) ?? null;
  }

  isPoison(microbatch: number): boolean {
    let poison = this.poison.get(microbatch);
    if (poison === undefined) {
      // No more than may be left out of a step: what nobody can compute and nobody may leave out is asked for until somebody can.
      const { microbatchesPerStep, minMicrobatches } = this.options;
      const step = (of: number) => Math.floor(of / microbatchesPerStep);
      const others = [...this.poison].filter(([other, is]) => is && step(other) === step(microbatch)).length;
      poison = others < microbatchesPerStep - minMicrobatches && this.fault('poison');
      this.poison.set(microbatch, poison);
    }
    return poison;
  }

  computed(_kind: LeaseKind): void {
    this.stats.computed += 1;
  }

  settled(minerId: string, leaseId: string, outcome: Outcome): void {
    if (this.receipts.has(leaseId)) this.fail(`the receipt of ${leaseId} by ${minerId} was taken twice`);
    this.receipts.set(leaseId, outcome);
    if (outcome === 'counted') this.stats.counted += 1;
  }

  merging(stage: number, version: number, microbatches: ReadonlySet<number>): void {
    const key = `${stage}@${version}`;
    const now = [...microbatches].sort((a, b) => a - b).join();
    const before = this.merges.get(key);
    if (before !== undefined && before !== now) this.fail(`stage ${key} was merged of [${before}] and then of [${now}]`);
    this.merges.set(key, now);
  }

  merged(stage: number, version: number): void {
    this.options.trace?.(`${this.timeline.now.toFixed(0)} stage ${stage} is at version ${version}`);
  }

  /** May be told again of a step after a restart. */
  get stepsClosed(): number {
    return this.closedSteps;
  }

  closed(step: number): void {
    if (step < this.closedSteps) return;
    if (step !== this.closedSteps) this.fail(`step ${step} closed after step ${this.closedSteps - 1}`);
    this.closedSteps += 1;
    this.closedAt = this.timeline.now;
  }

  dial(minerId: string, latency: number, ends: { command(command: Command): void; closed(): void }): Wire | null {
    if (!this.server.running) return null;
    const wire = new Wire(this, latency, { client: ends.closed, server: () => this.server.closed(wire, minerId) });
    this.server.accept(wire, minerId, ends.command);
    return wire;
  }

  serve(wire: Wire, minerId: string, request: Request, answer: (reply: Reply) => void): void {
    this.server.serve(wire, minerId, request, answer);
  }

  /** Between these two; half way in a uniform world. */
  vary(low: number, high: number): number {
    return this.options.uniform ? (low + high) / 2 : this.random.between(low, high);
  }

  /** Resolves after so many virtual ms. */
  async wait(ms: number): Promise<void> {
    await this.timeline.after(ms);
    this.drain();
  }

  /** Time stands still until everything that is awaited now has been dealt with. */
  drain(): void {
    this.draining = true;
  }

  // ── the run ───────────────────────────────────────────────────────────────────────────────────

  get schedule(): Schedule {
    return this.closedSteps >= this.options.steps ? CALM : this.options.schedule;
  }

  async run(): Promise<Result> {
    this.startServer();
    await this.dealWith();
    for (let i = 0; i < this.options.miners; i++) {
      this.timeline.later(this.options.uniform ? 500 + 100 * i : this.random.between(0, 2_000), () => this.addMiner());
    }
    this.disturbLater();
    while (this.closedSteps < this.options.steps && !this.problem) {
      await this.advance();
      if (this.timeline.now - this.closedAt > PATIENCE_MS) this.fail(`no progress: ${this.standstill()}`);
    }
    const tookMs = this.closedAt;
    await this.quieten();
    await this.lastLook();
    await this.store.close();
    const { inputs, computed, counted, assigned, faults } = this.stats;
    const counters = this.server.coordinator?.counters ?? null;
    const outcome =
      this.server.coordinator
        ?.view()
        .map(({ stage }) => stage.parameterHash)
        .join() ?? '';
    return {
      seed: this.seed,
      problem: this.problem,
      outcome,
      faults: Object.fromEntries(faults),
      inputs,
      tookMs,
      computed,
      counted,
      assigned,
      counters,
    };
  }

  killServer(downMs: number): void {
    this.server.kill();
    this.timeline.later(downMs, () => this.startServer());
  }

  private upgradeServer(downMs: number): void {
    this.drain();
    this.server.upgrade().then(
      () => this.timeline.later(downMs, () => this.startServer()),
      (error: unknown) => this.fail(`the server does not stop: ${error}`),
    );
  }

  private startServer(): void {
    this.drain();
    this.server.start(this.config).catch((error: unknown) => {
      // As an operator would: a disk that is full at the start is tried again.
      if (error instanceof SwarmError && error.code === 'STORE_FAILED') this.timeline.later(1_000, () => this.startServer());
      else this.fail(`the server does not start: ${error}`);
    });
  }

  private async advance(): Promise<void> {
    this.timeline.step();
    await this.dealWith();
  }

  private async dealWith(): Promise<void> {
    await null;
    if (!this.draining) return;
    this.draining = false;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  private addMiner(): void {
    const { random } = this;
    if (this.options.uniform) {
      this.miners.push(new VirtualMiner(this, `m${this.miners.length}`, { pace: 100, latency: 20, transfer: 200 }));
      return;
    }
    const speed = random.next();
    const pace = speed < 0.2 ? 30 : speed < 0.8 ? 100 : speed < 0.97 ? 400 : 3_000;
    const temper: Temper = { pace: pace * random.between(0.7, 1.4), latency: random.between(5, 150), transfer: random.between(50, 1_000) };
    if (this.fault('slowLine')) temper.transfer = random.between(5_000, 120_000);
    if (this.options.transfer) temper.transfer = this.options.transfer;
    this.miners.push(new VirtualMiner(this, `m${this.miners.length}`, temper));
  }

  /** Once a virtual second, everything that strikes from outside. */
  private disturbLater(): void {
    this.timeline.later(1_000, () => {
      this.disturb();
      if (this.closedSteps < this.options.steps) this.disturbLater();
    });
  }

  private disturb(): void {
    const { random } = this;
    const alive = this.miners.filter((miner) => miner.alive);
    for (const miner of alive) {
      if (this.fault('crash')) miner.crash();
      else if (this.fault('leave')) miner.leave();
      else if (this.fault('drop')) miner.drop();
      if (this.fault('freeze')) miner.freeze(random.between(500, 120_000));
    }
    if (this.fault('join') || alive.length < this.options.stages) this.addMiner();
    if (this.fault('partition')) {
      const ms = random.between(1_000, 90_000);
      for (const miner of alive) if (random.chance(0.5)) miner.cut(ms);
    }
    if (this.fault('fullDisk')) this.server.disk.fill(random.between(500, random.chance(0.2) ? 120_000 : 5_000));
    if (this.server.running && this.fault('standstill')) this.server.freeze(random.between(500, 90_000));
    if (this.server.running && this.fault('kill')) {
      const downMs = random.between(100, 20_000);
      if (this.options.upgrades && random.chance(0.5)) this.upgradeServer(downMs);
      else this.killServer(downMs);
    }
  }

  private standstill(): string {
    const { coordinator } = this.server;
    if (!coordinator) return 'the server is down';
    return JSON.stringify(
      coordinator
        .view()
        .map(({ stage, reason, done, total, miners }) => [
          `${stage.index}@${stage.version} ${stage.phase} ${done}/${total}`,
          reason?.message,
          miners.map(({ id, phase, version, connected, leases }) => `${id} ${phase}@${version}${connected ? '' : ' away'} ${leases.size}`),
        ]),
    );
  }

  /** No more faults: everybody gets the newest parameters, sooner or later. */
  private async quieten(): Promise<void> {
    const until = this.timeline.now + QUIET_MS;
    let settled = false;
    const look = () => {
      settled = this.whoIsBehind() === null;
      if (!settled) this.timeline.later(5_000, look);
    };
    look();
    while (!this.problem && (!settled || !this.server.idle)) {
      await this.advance();
      if (this.timeline.now > until) return;
    }
  }

  private async lastLook(): Promise<void> {
    if (this.problem) return;
    const behind = this.whoIsBehind();
    if (behind) this.fail(behind);
    else await this.server.compare();
  }

  /** Somebody who is here and does not hold the newest parameters of the stage, as a sentence. */
  private whoIsBehind(): string | null {
    const { coordinator } = this.server;
    if (!coordinator) return 'the server is down';
    for (const miner of this.miners) {
      if (!miner.alive) continue;
      const record = coordinator.miner(miner.id);
      if (record?.owed) continue; // banned: it gets its stage when that is over
      if (!record) return `${miner.id} is here and not part of the run`;
      const { version, parameterHash } = coordinator.stage(record.stage);
      const { holds } = miner;
      if (holds?.version !== version || holds.parameterHash !== parameterHash)
        return `${miner.id} holds ${JSON.stringify(holds)}, its stage is at version ${version}`;
    }
    return null;
  }
}
