/**
 * One training run: the coordinator's effects carried out. An input is handled at once and its effects are carried out
 * when it is durable; what an effect needs time for (hashing, merging, disk) happens behind a queue, so that commands to
 * one miner keep their order.
 */
import { type Crossing, crossingOf } from '@starling/codecs';
import { type Coordinator, type Effect, type Input, type LeaseRecord, LIMITS } from '@starling/coordinator';
import { flopsOf, type OptimizerConfig } from '@starling/model';
import {
  type AuditEntry,
  type CommandName,
  type Commands,
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
import { type Activations, type Key, type Purpose, type StoredTensor, scopeOf } from './activations.ts';
import { Auditor } from './audits/auditor.ts';
import type { Panel } from './audits/panel.ts';
import type { Witnessed } from './audits/witness.ts';
import { gradientOwner } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import type { Checkpoint, Checkpoints } from './checkpoints.ts';
import type { Sampler } from './corpus.ts';
import { Merges } from './merges.ts';
import type { ClosedStep, Models } from './models.ts';
import { movesOf } from './moves.ts';
import { auditsOf, eventOf, eventRow, pointRow, receiptsOf, rowsOf } from './records.ts';
import { type Recovered, recover } from './recovery.ts';
import { Reductions } from './reductions.ts';
import { ledgerAfter, ledgerOf, openRound, Rounds, roundRow, unverifiedRow } from './rounds.ts';
import type { RunJournal } from './run-log.ts';
import { encodeVectors, type SavedRun } from './saved-run.ts';
import { tallyOf } from './scores.ts';
import type { StageStates, StageVersion } from './stage-states.ts';
import { RunView } from './view.ts';

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>;

/** How the run reaches miners; a command to a miner that is not connected is dropped. */
export interface Outlet {
  send<K extends CommandName>(minerId: string, name: K, message: Commands[K]): void;
  /** Closes its socket, so that it says hello again. */
  dismiss(minerId: string): void;
}

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
  private readonly merges: Merges;
  /** Null where what miners compute cannot be computed again from what is public: with inner steps. */
  readonly auditor: Auditor | null;
  private outlet: Outlet = { send: () => {}, dismiss: () => {} };
  private readonly queues = new Map<string, Promise<void>>();
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
  private saving: Promise<void> = Promise.resolve();
  private lastClosed: { version: number; stages: StageVersion[] } | null = null;
  private lastSaved: number;
  private complete!: () => void;

  private constructor(parts: RunParts, recovered: Recovered, failed: Promise<SwarmError>) {
    this.parts = { ...parts, config: recovered.config };
    this.journal = recovered.journal;
    this.states = recovered.states;
    this.activations = recovered.activations;
    this.lastSaved = recovered.saved;
    this.failed = failed;
    this.completed = new Promise((resolve) => {
      this.complete = resolve;
    });
    const sizes = this.states.layouts.map((layout) => layout.size);
    this.crossing = crossingOf(recovered.config);
    this.reductions = new Reductions(recovered.config, this.states.layouts, parts.blobs, parts.secret);
    this.auditor = parts.panel && recovered.config.inner === null ? this.newAuditor(parts.panel) : null;
    this.merges = new Merges({
      ...{ coordinator: this.coordinator, states: this.states, reductions: this.reductions, blobs: parts.blobs, auditor: this.auditor },
      submit: (input) => this.submit(input),
      enqueue: (stage, task) => this.enqueue(`stage ${stage}`, task),
      fault: (error) => this.fault(error),
      isOpen: () => this.timer !== null,
    });
    this.view = new RunView(recovered.config, this.coordinator, sizes, recovered);
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
    this.outlet = outlet;
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
    return this.lastSaved;
  }

  /** The last step that every stage has merged; null before the first of this process. */
  get closedStep(): ClosedStep | null {
    return this.lastClosed;
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
        if (waiting) this.tell(id, 'wait', waiting);
      }
    }
  }

  // ── effects ───────────────────────────────────────────────────────────────────────────────────

  private carryOut(effect: Effect, at: number, input: Input, seq: number): void {
    switch (effect.type) {
      case 'assign':
        this.enqueue(effect.minerId, () => this.assign(effect));
        break;
      case 'grant':
        this.enqueue(effect.minerId, () => this.grant(effect));
        break;
      case 'cancel':
        this.tell(effect.minerId, 'cancel', { leaseId: effect.leaseId });
        break;
      case 'collect': {
        const { minerId, type: _, ...collect } = effect;
        this.tell(minerId, 'collect', collect);
        break;
      }
      case 'wait': {
        const { minerId, reason, since, until } = effect;
        this.tell(minerId, 'wait', { ...explain(reason), since, until });
        break;
      }
      case 'distribute': {
        const { version, shards, parameterHash } = effect.merge;
        const update = this.states.updateOf(effect.merge);
        this.tell(effect.minerId, 'merge', { stage: effect.stage, version, shards, update, parameterHash });
        break;
      }
      case 'dismiss':
        this.enqueue(effect.minerId, async () => this.outlet.dismiss(effect.minerId));
        break;
      case 'draw':
      case 'recompute':
      case 'sum':
      case 'apply':
        this.merges.carryOut(effect);
        break;
      case 'reduce': {
        const { minerId, type: _, contributions, ...task } = effect;
        const { shards } = this.coordinator.stage(effect.stage).merge;
        const uploads = contributions.map(({ hash, scale }) => ({ hash, scale }));
        this.tell(minerId, 'reduce', { ...task, shards, contributions: uploads });
        break;
      }
      case 'release':
        this.activations.release(effect.stage, effect.version);
        break;
      case 'forget':
        this.parts.blobs.release(gradientOwner(effect.stage, effect.version));
        break;
      case 'prefetch':
        this.tell(effect.minerId, 'prefetch', { stage: effect.stage, shards: effect.shards });
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

  /** Runs tasks of one miner (or one stage's merges) one after the other. */
  private enqueue(key: string, task: () => Promise<void>): void {
    const before = this.queues.get(key) ?? Promise.resolve();
    const after = before.then(task).catch((error: unknown) => this.fault(error));
    this.queues.set(key, after);
    void after.then(() => {
      if (this.queues.get(key) === after) this.queues.delete(key);
    });
  }

  private tell<K extends CommandName>(minerId: string, name: K, message: Commands[K]): void {
    this.enqueue(minerId, async () => this.outlet.send(minerId, name, message));
  }

  private async assign({ minerId, stage, round, why }: Of<'assign'>): Promise<void> {
    const { version, state } = this.states.serve(stage);
    this.outlet.send(minerId, 'assign', { stage, round, version, state: await state, inner: this.states.innerNumbersAt(version), why });
  }

  private async grant({ minerId, lease }: Of<'grant'>): Promise<void> {
    const { id, kind, stage, version, microbatch, round, deadlineMs, sendInput } = lease;
    const purpose: Purpose = kind === 'evaluate' ? 'validate' : 'train';
    const last = stage === this.parts.config.stages.length - 1;
    await this.sample({ stage, version, purpose, microbatch });
    const tensor = (slot: Key['slot']) => this.activations.get({ stage, version, purpose, microbatch, slot });
    const input = tensor('input');
    if (!input) return; // the stage has merged this step while the command waited: the lease is void
    const lent = {
      id,
      kind,
      stage,
      version,
      microbatch,
      round,
      deadlineMs,
      input: sendInput ? input.payload : null,
      inputHash: input.hash,
      outputGradient: kind === 'backward' && !last ? (tensor('outputGradient')?.payload ?? null) : null,
      targets: last && kind !== 'forward' ? (tensor('targets')?.payload ?? null) : null,
      tokens: sendInput ? (tensor('tokens')?.payload ?? null) : null,
    };
    const inline = [lent.input, lent.outputGradient, lent.targets, lent.tokens].filter((payload) => payload instanceof Uint8Array);
    this.view.carried(inline.reduce((sum, bytes) => sum + bytes.byteLength, 0));
    this.outlet.send(minerId, 'lease', lent);
  }

  /** Puts what this stage needs of the microbatch's text into memory, once. It follows from the corpus. */
  private async sample(of: Omit<Key, 'slot'>): Promise<void> {
    const { sampler, config } = this.parts;
    const { stage, version, purpose, microbatch } = of;
    const slots: ('input' | 'targets' | 'tokens')[] = [];
    if (stage === 0) slots.push('input');
    else if (config.model.squeeze?.kind === 'subspace') slots.push('tokens');
    if (stage === config.stages.length - 1) slots.push('targets');
    const missing = slots.filter((slot) => !this.activations.get({ ...of, slot }));
    if (missing.length === 0 || this.states.at(stage).version !== version) return;
    const { tokens, targets } = purpose === 'train' ? sampler.train(microbatch) : sampler.validation(microbatch);
    const shape = [config.sequences, config.model.context];
    // A byte is enough for a byte: these cross besides what is made as small as can be.
    const small = config.model.vocabulary <= 256 ? Uint8Array.from(tokens) : tokens;
    const data = { input: tokens, targets, tokens: small };
    for (const slot of missing) {
      const tensor = await this.activations.encode(data[slot], shape);
      if (this.states.at(stage).version !== version) return; // merged meanwhile
      this.activations.put({ ...of, slot }, tensor);
    }
  }

  private closed(effect: Of<'closed'>): void {
    const { config, checkpointEvery } = this.parts;
    const version = effect.step + 1;
    const point = this.points.get(effect)!;
    this.view.addPoint(point);
    // No stage can be past this version yet: its next step needs every other stage to have this one.
    this.lastClosed = { version, stages: config.stages.map((_, stage) => this.states.at(stage)) };
    const done = config.steps > 0 && version >= config.steps;
    if (done || version % checkpointEvery === 0) void this.checkpoint();
    for (const listener of this.stepListeners) listener(point);
    const round = this.closedRounds.get(effect);
    if (round) for (const listener of this.roundListeners) listener(round);
    if (done) this.complete();
  }

  // ── checkpoints ───────────────────────────────────────────────────────────────────────────────

  /** Writes the last closed step, unless it is on disk already. A failure is reported and harms nothing. */
  private checkpoint(): Promise<void> {
    this.saving = this.saving.then(() => this.save()).catch((error: unknown) => this.fault(error));
    return this.saving;
  }

  private async save(): Promise<void> {
    const closed = this.lastClosed;
    if (!closed || closed.version <= this.lastSaved) return;
    const { config, corpusHash, checkpoints, models } = this.parts;
    const { points, startedAt } = this.view;
    const tokens = points.findLast((point) => point.step === closed.version)?.tokens ?? this.view.tokens;
    const run: SavedRun = { config, corpusHash, startedAt, tokens, points: points.filter((point) => point.step <= closed.version) };
    const checkpoint: Checkpoint = {
      version: closed.version,
      cursor: closed.version * config.microbatchesPerStep,
      tokens,
      run,
      stages: await Promise.all(closed.stages.map(encodeVectors)),
    };
    await checkpoints.save(checkpoint);
    this.lastSaved = closed.version;
    // Should the newest turn out damaged, the one before it and the merges since do as well.
    this.states.forgetMerges(checkpoints.versions().at(-2) ?? -1, LIMITS.mergesKept);
    await models.keep(closed);
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
    await this.checkpoint();
    if (!this.view.trouble) await this.journal.close().catch((error: unknown) => this.fault(error));
    await this.parts.store.close();
  }
}
