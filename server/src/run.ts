/**
 * One training run: the coordinator's effects carried out. An input is handled at once and its effects are carried out
 * when it is durable; what needs time (hashing, merging, disk) happens behind the queues of commands, merges and
 * checkpoints.
 */
import { type Crossing, crossingOf } from '@starling/codecs';
import { type Coordinator, type Effect, type Input, type LeaseRecord, LIMITS } from '@starling/coordinator';
import { flopsOf, type OptimizerConfig } from '@starling/model';
import {
  type AuditEntry,
  eventKind,
  explain,
  type ReceiptEntry,
  type RoundWork,
  type RunConfig,
  type RunEvent,
  type StepPoint,
  SwarmError,
  type Work,
} from '@starling/protocol';
import type { Agreement } from '@starling/reduce';
import type { Handled, JournalPorts, Row, Store } from '@starling/store';
import { type Activations, type Key, type StoredTensor, scopeOf } from './activations.ts';
import { Auditor } from './audits/auditor.ts';
import type { Panel } from './audits/panel.ts';
import type { Witnessed } from './audits/witness.ts';
import { gradientOwner } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import type { Checkpoints } from './checkpoints.ts';
import { MinerCommands, type Outlet } from './commands.ts';
import type { Sampler } from './corpus.ts';
import { Merges } from './merges.ts';
import type { ClosedStep, Models } from './models.ts';
import { movesOf } from './moves.ts';
import { auditsOf, eventOf, eventRow, pointRow, receiptsOf, rowsOf } from './records.ts';
import { type Recovered, recover } from './recovery.ts';
import { Reductions } from './reductions.ts';
import { ledgerAfter, ledgerOf, openRound, Rounds, roundRow, unverifiedRow } from './rounds.ts';
import type { RunJournal } from './run-log.ts';
import { Saving } from './saving.ts';
import { tallyOf } from './scores.ts';
import type { StageStates } from './stage-states.ts';
import { RunView } from './view.ts';

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>;

export interface RunParts {
  config: RunConfig;
  /** A step that stands still may close with so many microbatches. */
  minMicrobatches: number;
  /** Share of merged shards that are computed once more although their reducers agree. */
  spotCheck: number;
  /** Of this data folder: what is drawn with it nobody foresees. */
  secret: string;
  corpusHash: string;
  optimizer: OptimizerConfig;
  sampler: Sampler;
  store: Store;
  blobs: Blobs;
  checkpoints: Checkpoints;
  checkpointEvery: number;
  /** Steps in a round of the ledger, and steps for which work is held before it counts. */
  roundSteps: number;
  heldSteps: number;
  /** Ms in which what counts is worth half. */
  halfLife: number;
  models: Models;
  /** Who audits; null: nobody. */
  panel: Panel | null;
  log: (line: string) => void;
}

/** A tensor that comes with an input and is kept if what came of the input wants it. */
export type WithTensor = (effects: readonly Effect[]) => { key: Key; tensor: StoredTensor } | null;

/** The coordinator refused an input; it is in the miner's history. */
export class Refusal extends SwarmError {}

export class Run {
  readonly view: RunView;
  /** What crosses between stages. */
  readonly crossing: Crossing;
  readonly activations: Activations;
  /** Resolves when the last step is merged; never for a run without end. */
  readonly completed: Promise<void>;
  /** Resolves with what makes going on impossible: the process must end, and the next goes on from the log. */
  readonly failed: Promise<SwarmError>;
  private readonly parts: RunParts;
  private readonly journal: RunJournal;
  private readonly states: StageStates;
  private readonly reductions: Reductions;
  private readonly commands: MinerCommands;
  private readonly merges: Merges;
  private readonly saving: Saving;
  /** Null where what miners compute cannot be computed again from what is public: with inner steps. */
  readonly auditor: Auditor | null;
  /** Durable, and not carried out yet. */
  private due: Handled<Input, Effect>[] = [];
  /** Of steps whose closing is being written. */
  private readonly points = new WeakMap<Effect, StepPoint>();
  private rounds!: Rounds;
  /** Rounds whose closing is being written. */
  private readonly closedRounds = new WeakMap<Effect, RoundWork>();
  private readonly roundListeners = new Set<(round: RoundWork) => void>();
  /** Events that no input caused: they are written with the next one. */
  private unwritten: Row[] = [];
  private readonly stepListeners = new Set<(point: StepPoint) => void>();
  private timer: NodeJS.Timeout | null = null;
  private tickedAt = performance.now();
  private complete!: () => void;

  private constructor(parts: RunParts, recovered: Recovered, failed: Promise<SwarmError>) {
    this.parts = { ...parts, config: recovered.config };
    this.journal = recovered.journal;
    this.states = recovered.states;
    this.activations = recovered.activations;
    this.failed = failed;
    this.completed = new Promise((resolve) => {
      this.complete = resolve;
    });
    const { config } = recovered;
    const { corpusHash, checkpointEvery, checkpoints, models, sampler, blobs, panel, secret } = parts;
    const { coordinator, states, activations } = this;
    const fault = (error: unknown) => this.fault(error);
    this.crossing = crossingOf(config);
    this.reductions = new Reductions(config, states.layouts, blobs, secret);
    this.auditor = panel && config.inner === null ? this.newAuditor(panel) : null;
    this.merges = new Merges({
      ...{ coordinator, states, reductions: this.reductions, blobs, auditor: this.auditor, fault },
      submit: (input) => this.submit(input),
      isOpen: () => this.timer !== null,
    });
    const sizes = states.layouts.map((layout) => layout.size);
    this.view = new RunView(config, coordinator, sizes, recovered);
    const { view } = this;
    this.commands = new MinerCommands({ config, coordinator, states, activations, sampler, view, fault });
    this.saving = new Saving({ config, corpusHash, every: checkpointEvery, checkpoints, models, states, view, fault }, recovered.saved);
  }

  private newAuditor(panel: Panel): Auditor {
    return new Auditor({
      run: this.parts.config,
      coordinator: this.coordinator,
      panel,
      work: { flopsOf: (work) => this.flopsOf(work), stakes: () => this.rounds.stakes() },
      gradientOf: (stage, hashes) => this.reductions.contributionOf(stage, hashes),
      submit: (input) => this.submit(input),
      tell: (code, message) => this.timer && this.report('warning', code, message),
    });
  }

  /** Goes on with the run that is in the store, or begins it. Throws what `recover` throws. */
  static async open(parts: RunParts): Promise<Run> {
    let run: Run | null = null;
    const failed = Promise.withResolvers<SwarmError>();
    const ports: JournalPorts<Input, Effect> = {
      // A wall clock may be set back or forth; the time since the process began is neither.
      now: () => performance.timeOrigin + performance.now(),
      soon: setImmediate,
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      deliver: (handled) => run!.deliver(handled),
      describe: (handled) => run!.describe(handled),
      onTrouble: (error) => {
        run?.trouble(error);
        if (error && error.code !== 'STORE_FAILED') failed.resolve(error);
      },
    };
    const { sampler } = parts;
    const recovered = await recover({ ...parts, validationMicrobatches: sampler.validationMicrobatches }, ports);
    run = new Run(parts, recovered, failed.promise);
    await run.start(recovered.resumed);
    return run;
  }

  private async start(resumed: boolean): Promise<void> {
    const { config, minMicrobatches, store, roundSteps, heldSteps, halfLife } = this.parts;
    const cost = (work: Pick<Work, 'kind' | 'stage'>) => this.flopsOf(work);
    const factsOf = (id: string) => this.coordinator.miner(id)?.facts ?? this.coordinator.credit(id)?.facts ?? null;
    this.rounds = new Rounds(
      { steps: roundSteps, hold: Math.ceil(heldSteps / roundSteps), halfLife, audited: this.auditor !== null, flopsOf: cost, factsOf },
      await openRound(store, cost),
      tallyOf(await ledgerOf(store)),
    );
    const { steps, validateEvery } = config;
    const wanted = { steps, validateEvery, minMicrobatches };
    // First: it tells from the time of the input before it how long nobody was here.
    if (resumed) await this.journal.submit({ type: 'restart' });
    const { config: has } = this.coordinator;
    if (Object.entries(wanted).some(([goal, value]) => has[goal as keyof typeof wanted] !== value)) {
      await this.journal.submit({ type: 'configure', goals: wanted });
    }
    if (steps > 0 && this.view.snapshot(Date.now()).step >= steps) this.complete();
    this.timer = setInterval(() => this.tick(), LIMITS.tick);
  }

  private flopsOf({ kind, stage }: Pick<Work, 'kind' | 'stage'>): number {
    const { model, stages, sequences } = this.parts.config;
    return flopsOf(model, stages[stage]!, sequences, kind);
  }

  /** While nothing can be let out no clock runs: miners cannot answer what they were never asked. */
  private tick(): void {
    if (this.view.trouble || this.journal.overdueMs > LIMITS.tickLate) return;
    const now = performance.now();
    const idleMs = now - this.tickedAt - LIMITS.tick;
    this.tickedAt = now;
    void this.submit(idleMs > LIMITS.tickLate ? { type: 'tick', idleMs } : { type: 'tick' }).catch(() => {});
  }

  get coordinator(): Coordinator {
    return this.journal.machine.coordinator;
  }

  connect(outlet: Outlet): void {
    this.commands.connect(outlet);
  }

  /** Resolves when all that was to be told this miner before is told. */
  told(minerId: string): Promise<void> {
    return this.commands.told(minerId);
  }

  onStep(listener: (point: StepPoint) => void): () => void {
    this.stepListeners.add(listener);
    return () => this.stepListeners.delete(listener);
  }

  /** Tells of every round when it is durable. */
  onRound(listener: (round: RoundWork) => void): () => void {
    this.roundListeners.add(listener);
    return () => this.roundListeners.delete(listener);
  }

  /** Version of the newest checkpoint; −1 before the first. */
  get checkpointed(): number {
    return this.saving.saved;
  }

  /** The last step that every stage has merged; null before the first of this process. */
  get closedStep(): ClosedStep | null {
    return this.saving.closed;
  }

  get tokensPerMicrobatch(): number {
    return this.parts.config.sequences * this.parts.config.model.context;
  }

  /** What became of a miner's receipts, the newest first. */
  receiptsOf(minerId: string, limit: number, before?: number): Promise<ReceiptEntry[]> {
    return receiptsOf(this.parts.store, minerId, limit, before);
  }

  /** Lines of the ledger after this round. */
  ledger(after: number, limit: number): Promise<RoundWork[]> {
    return ledgerAfter(this.parts.store, after, limit);
  }

  /** Audits of all miners, or of one, the newest first. */
  auditsOf(limit: number, before?: number, minerId?: string): Promise<AuditEntry[]> {
    return auditsOf(this.parts.store, limit, before, minerId);
  }

  // ── inputs ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Hands one input to the coordinator; resolves with its effects when it is durable. Throws the `Refusal`, if it is one.
   * `withTensor` is asked at once, so that the tensor is there before any effect is carried out.
   */
  async submit(input: Input, withTensor?: WithTensor): Promise<readonly Effect[]> {
    const effects = await this.journal.submit(input, (effects) => {
      const kept = withTensor?.(effects);
      if (!kept) return [];
      this.activations.put(kept.key, kept.tensor);
      return [this.activations.row(kept.key, kept.tensor)];
    });
    const refusal = effects.find((effect) => effect.type === 'refuse');
    if (refusal) throw new Refusal(refusal.code, refusal.message);
    return effects;
  }

  /** Σx² of every shard of an uploaded gradient, which is of the stage's present step. Throws the code that says what is wrong. */
  inspectGradient(stage: number, shards: readonly Uint8Array[]): number[] {
    return this.reductions.inspect(stage, shards, this.coordinator.stage(stage).merge.shards);
  }

  /** Throws the code that says why these bytes are no result for this shard. */
  inspectResult(stage: number, shard: number, bytes: Uint8Array): void {
    this.reductions.inspectResult(stage, shard, bytes, this.coordinator.stage(stage).merge.shards);
  }

  /** Of the merges so far, by stage: how often two miners' results for one shard were the same. */
  agreement(): Agreement[][] {
    return this.parts.config.stages.map((_, stage) => this.coordinator.stage(stage).agreement);
  }

  /** A receipt counted: what it was given and what it answered, for audits. */
  witness(
    { id, kind, stage, version, flow, minerId, round }: LeaseRecord,
    said: Witnessed['said'],
    tensors: Pick<Witnessed, 'input' | 'tokens' | 'upstream' | 'output'>,
  ): void {
    const { microbatch } = flow;
    const receipt = { leaseId: id, minerId, kind, microbatch, round, said, ...tensors };
    this.auditor?.saw(stage, version, receipt, flow, () => this.states.at(stage));
  }

  // ── what the journal asks ─────────────────────────────────────────────────────────────────────

  private describe(handled: Handled<Input, Effect>): { rows: Row[]; released: string[] } {
    const { effects, at } = handled;
    const closed = effects.find((effect) => effect.type === 'closed');
    const point = closed && this.view.close(closed, at, this.states.learningRateOf(closed.step + 1));
    const rows = [...this.unwritten.splice(0), ...rowsOf(handled, point)];
    const released: string[] = [];
    for (const effect of effects) {
      const round = this.rounds.take(effect, at);
      if (round) {
        this.closedRounds.set(effect, round);
        rows.push(roundRow(round));
      }
      if (effect.type === 'unverified') rows.push(unverifiedRow(effect.minerId, this.rounds.leaveOut(effect), at));
      if (effect.type === 'release') released.push(scopeOf(effect.stage, effect.version));
    }
    if (closed && point) {
      this.points.set(closed, point);
      rows.push(pointRow(point));
    }
    return { rows, released };
  }

  /**
   * Carries out what is durable when whoever caused it has been answered: a miner must know that its receipt counts
   * before it is asked for the gradient.
   */
  private deliver(handled: Handled<Input, Effect>): void {
    this.due.push(handled);
    if (this.due.length > 1) return;
    setImmediate(() => {
      for (const { input, effects, at, seq } of this.due.splice(0)) {
        if (input.type === 'merged') this.states.commit(input.stage, input.version);
        for (const move of movesOf(input, effects)) this.view.moved(move);
        for (const effect of effects) this.carryOut(effect, at, input, seq);
      }
    });
  }

  private trouble(error: SwarmError | null): void {
    this.view.trouble = error && { ...explain({ code: 'STORE', message: error.message }), since: Date.now(), until: null };
    if (error) this.report('error', error.code, `${error.message} ${error.hint}`);
    else this.report('info', 'STORE_WRITABLE', 'The log can be written again; the run goes on where it was.');
    // Afterwards everybody waits for what it waited for before, if it still does.
    for (const { miners } of this.coordinator.view()) {
      for (const { id } of miners) {
        const waiting = this.view.waitOf(id);
        if (waiting) this.commands.tell(id, 'wait', waiting);
      }
    }
  }

  // ── effects ───────────────────────────────────────────────────────────────────────────────────

  private carryOut(effect: Effect, at: number, input: Input, seq: number): void {
    switch (effect.type) {
      case 'assign':
      case 'grant':
      case 'cancel':
      case 'collect':
      case 'wait':
      case 'distribute':
      case 'reduce':
      case 'prefetch':
      case 'dismiss':
        this.commands.carryOut(effect);
        break;
      case 'draw':
      case 'recompute':
      case 'sum':
      case 'apply':
        this.merges.carryOut(effect);
        break;
      case 'release':
        this.activations.release(effect.stage, effect.version);
        break;
      case 'forget':
        this.parts.blobs.release(gradientOwner(effect.stage, effect.version));
        break;
      case 'closed':
        this.closed(effect);
        break;
      case 'event':
        this.show(eventOf(effect, at, seq, this.view.points.at(-1)));
        break;
      case 'settled':
        if (effect.outcome === 'counted' && input.type === 'receipt') this.view.computed(effect.work, input.computeMs, at);
        if (effect.work.kind === 'backward' && effect.outcome === 'counted') this.view.worked(effect.minerId, this.tokensPerMicrobatch, at);
        break;
      case 'lapse': // a row of its miner's history
        if (effect.code === 'REMOVED') this.parts.blobs.forget(effect.minerId);
        break;
      case 'included': // lines of the ledger
      case 'passed':
      case 'convicted':
      case 'refuse': // the caller's to tell
        break;
    }
  }

  private closed(effect: Of<'closed'>): void {
    const { steps } = this.parts.config;
    const version = effect.step + 1;
    const point = this.points.get(effect)!;
    this.view.addPoint(point);
    const done = steps > 0 && version >= steps;
    this.saving.stepClosed(version, done);
    for (const listener of this.stepListeners) listener(point);
    const round = this.closedRounds.get(effect);
    if (round) for (const listener of this.roundListeners) listener(round);
    if (done) this.complete();
  }

  // ── reports ───────────────────────────────────────────────────────────────────────────────────

  private fault(error: unknown): void {
    const fault = SwarmError.from(error);
    this.report('error', fault.code, `${fault.message} ${fault.hint}`);
    if (fault.code === 'INTERNAL') this.parts.log(fault.cause instanceof Error ? (fault.cause.stack ?? '') : String(fault.cause));
  }

  /** Something that happened beside the coordinator's inputs. */
  report(level: RunEvent['level'], code: string, message: string): void {
    const event = { time: Date.now(), level, code, message };
    this.unwritten.push(eventRow(event));
    this.show(event);
  }

  private show(event: RunEvent): void {
    const { level, code, message } = event;
    this.view.addEvent(event);
    // Whoever started the server is told of every step anyway.
    if (eventKind(event) !== 'merge') this.parts.log(`${level === 'info' ? '' : `${level}: `}${message} [${code}]`);
  }

  /** Stops the clock, and writes what was closed since the last checkpoint, and a snapshot at the end of the log. */
  async close(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
    await this.saving.save();
    if (!this.view.trouble) await this.journal.close().catch((error: unknown) => this.fault(error));
    await this.parts.store.close();
  }
}
