/**
 * One training run: the coordinator's effects carried out. Inputs go in one at a time; what an effect needs time for
 * (hashing, merging, disk) happens behind a queue, so that commands to one miner keep their order.
 */
import { Coordinator, type Effect, type Input } from '@starling/coordinator';
import { learningRateAt, type OptimizerConfig } from '@starling/model';
import {
  type CommandName,
  type Commands,
  decodeFrame,
  isFiniteTensor,
  type RunConfig,
  type StepPoint,
  SwarmError,
} from '@starling/protocol';
import { Activations, type Purpose } from './activations.ts';
import type { Blobs } from './blobs.ts';
import type { Checkpoint, Checkpoints } from './checkpoints.ts';
import type { Sampler } from './corpus.ts';
import { encodeVectors, type SavedRun } from './saved-run.ts';
import type { StageStates, StageVersion } from './stage-states.ts';
import { RunView } from './view.ts';

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>;

/** How the run reaches miners; a command to a miner that is not connected is dropped. */
export type SendCommand = <K extends CommandName>(minerId: string, name: K, message: Commands[K]) => void;

export interface RunParts {
  config: RunConfig;
  corpusHash: string;
  optimizer: OptimizerConfig;
  sampler: Sampler;
  states: StageStates;
  blobs: Blobs;
  checkpoints: Checkpoints;
  checkpointEvery: number;
  resumed: SavedRun | null;
  log: (line: string) => void;
}

/** Coordinator time-outs are seconds long; four looks a second are enough. */
const TICK_MS = 250;

const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/** A microbatch is in one gradient of a stage's step, and miners may well send equal gradients (zeros, say). */
const gradientKey = (stage: number, version: number, microbatches: readonly number[]) => `${stage}@${version} ${Math.min(...microbatches)}`;

export class Run {
  readonly coordinator: Coordinator;
  readonly view: RunView;
  readonly activations: Activations;
  readonly completed: Promise<void>;
  private readonly parts: RunParts;
  private send: SendCommand = () => {};
  private readonly queues = new Map<string, Promise<void>>();
  private readonly gradients = new Map<string, Float32Array<ArrayBuffer>>();
  private readonly stepListeners = new Set<(point: StepPoint) => void>();
  private readonly timer: NodeJS.Timeout;
  private saving: Promise<void> = Promise.resolve();
  private lastClosed: { version: number; stages: StageVersion[] } | null = null;
  private lastSaved: number;
  private complete!: () => void;

  constructor(parts: RunParts) {
    this.parts = parts;
    const { config, sampler, states, resumed, blobs } = parts;
    const version = states.at(0).version;
    this.lastSaved = resumed ? version : -1;
    this.activations = new Activations(blobs);
    this.completed = new Promise((resolve) => {
      this.complete = resolve;
    });
    this.coordinator = new Coordinator({
      stages: config.stages.length,
      microbatchesPerStep: config.microbatchesPerStep,
      validationMicrobatches: sampler.validationMicrobatches,
      validateEvery: config.validateEvery,
      steps: config.steps,
      tokensPerMicrobatch: config.sequences * config.model.context,
      version,
      parameterHashes: config.stages.map((_, stage) => states.at(stage).parameterHash),
      leasePrefix: Date.now().toString(36),
    });
    const sizes = states.layouts.map((layout) => layout.size);
    this.view = new RunView(config, this.coordinator, sizes, resumed ?? { points: [], tokens: 0, startedAt: Date.now() });
    if (config.steps > 0 && version >= config.steps) this.complete();
    this.timer = setInterval(() => this.handle({ type: 'tick' }), TICK_MS);
  }

  connect(send: SendCommand): void {
    this.send = send;
  }

  onStep(listener: (point: StepPoint) => void): () => void {
    this.stepListeners.add(listener);
    return () => this.stepListeners.delete(listener);
  }

  /** `[sequences, context, width]`: what crosses between stages. */
  get boundaryShape(): number[] {
    const { sequences, model } = this.parts.config;
    return [sequences, model.context, model.width];
  }

  get tokensPerMicrobatch(): number {
    return this.parts.config.sequences * this.parts.config.model.context;
  }

  /** Hands one input to the coordinator and sees to its effects. Returns the refusal, or null. */
  handle(input: Input): SwarmError | null {
    const effects = this.coordinator.handle(input, Date.now());
    for (const effect of effects) this.carryOut(effect);
    const refusal = effects.find((effect) => effect.type === 'refuse');
    return refusal ? new SwarmError(refusal.code, refusal.message) : null;
  }

  /** Keeps a checked gradient sum that was accepted until its stage merges. */
  addGradient(stage: number, version: number, microbatches: readonly number[], gradient: Float32Array<ArrayBuffer>): void {
    this.gradients.set(gradientKey(stage, version, microbatches), gradient);
  }

  /**
   * Checks a gradient upload: frame, size, and that the sum of a step's gradients cannot overflow float32.
   * Throws the code that says what is wrong.
   */
  async readGradient(stage: number, bytes: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
    const frame = await decodeFrame(bytes);
    const size = this.parts.states.layouts[stage]?.size;
    if (!(frame.data instanceof Float32Array) || frame.shape.join() !== `${size}`) {
      throw new SwarmError('TENSOR_SHAPE', `The gradient of stage ${stage} is [${size}] float32, not [${frame.shape}] ${frame.dtype}.`);
    }
    if (!isFiniteTensor(frame.data, LARGEST_FLOAT32 / this.parts.config.microbatchesPerStep)) {
      throw new SwarmError('TENSOR_NOT_FINITE', `The gradient of stage ${stage} holds NaN, infinity, or a number too large to be summed.`);
    }
    return frame.data;
  }

  private carryOut(effect: Effect): void {
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
      case 'collect':
        this.tell(effect.minerId, 'collect', { stage: effect.stage, version: effect.version, microbatches: effect.microbatches });
        break;
      case 'wait':
        this.tell(effect.minerId, 'wait', { code: effect.code, message: effect.message });
        break;
      case 'distribute':
        this.distribute(effect);
        break;
      case 'reduce':
        this.enqueue(`stage ${effect.stage}`, () => this.reduce(effect));
        break;
      case 'release':
        this.activations.release(effect.stage, effect.version);
        break;
      case 'closed':
        this.closed(effect);
        break;
      case 'event':
        this.report(effect.level, effect.code, effect.message);
        break;
      case 'refuse': // the caller's to tell
        break;
    }
  }

  /**
   * Runs tasks of one miner (or one stage's merges) one after the other, never before the request that caused them was
   * answered: a miner must know that its receipt counts before it is asked for the gradient.
   */
  private enqueue(key: string, task: () => Promise<void>): void {
    const before = this.queues.get(key) ?? new Promise<void>((resolve) => setImmediate(resolve));
    const after = before.then(task).catch((error: unknown) => this.fault(error));
    this.queues.set(key, after);
    void after.then(() => {
      if (this.queues.get(key) === after) this.queues.delete(key);
    });
  }

  private tell<K extends CommandName>(minerId: string, name: K, message: Commands[K]): void {
    this.enqueue(minerId, async () => this.send(minerId, name, message));
  }

  private async assign({ minerId, stage, why }: Of<'assign'>): Promise<void> {
    const { version, state } = this.parts.states.serve(stage);
    this.send(minerId, 'assign', { stage, version, state: await state, why });
  }

  private async grant({ minerId, lease }: Of<'grant'>): Promise<void> {
    const { id, kind, stage, version, microbatch, deadlineMs, sendInput } = lease;
    const purpose: Purpose = kind === 'evaluate' ? 'validate' : 'train';
    const last = stage === this.parts.config.stages.length - 1;
    if (stage === 0 || last) await this.sample(stage, version, purpose, microbatch);
    const tensor = (slot: 'input' | 'outputGradient' | 'targets') => this.activations.get(stage, version, purpose, microbatch, slot);
    const input = tensor('input');
    if (!input) return; // the stage has merged this step while the command waited: the lease is void
    this.send(minerId, 'lease', {
      id,
      kind,
      stage,
      version,
      microbatch,
      deadlineMs,
      input: sendInput ? input.payload : null,
      inputHash: input.hash,
      outputGradient: kind === 'backward' && !last ? (tensor('outputGradient')?.payload ?? null) : null,
      targets: last && kind !== 'forward' ? (tensor('targets')?.payload ?? null) : null,
    });
  }

  /** Puts the microbatch's tokens (first stage) or targets (last stage) into the store, once. */
  private async sample(stage: number, version: number, purpose: Purpose, microbatch: number): Promise<void> {
    const { sampler, config, states } = this.parts;
    const slots = [stage === 0 && 'input', stage === config.stages.length - 1 && 'targets'] as const;
    const missing = slots
      .filter((slot) => slot !== false)
      .filter((slot) => !this.activations.get(stage, version, purpose, microbatch, slot));
    if (missing.length === 0 || states.at(stage).version !== version) return;
    const { tokens, targets } = purpose === 'train' ? sampler.train(microbatch) : sampler.validation(microbatch);
    const shape = [config.sequences, config.model.context];
    for (const slot of missing) {
      const tensor = await this.activations.encode(slot === 'input' ? tokens : targets, shape);
      if (states.at(stage).version !== version) return; // merged meanwhile
      this.activations.put(stage, version, purpose, microbatch, slot, tensor);
    }
  }

  private distribute({ minerId, stage, version }: Of<'distribute'>): void {
    const merge = this.parts.states.mergeOf(stage);
    const { parameterHash } = this.parts.states.at(stage);
    if (merge?.version !== version) return; // a newer merge follows
    this.tell(minerId, 'merge', { stage, version, gradient: merge.gradient, optimizer: merge.optimizer, parameterHash });
  }

  private async reduce({ stage, version: before, tokens, contributions }: Of<'reduce'>): Promise<void> {
    const keys = contributions.map(({ microbatches }) => gradientKey(stage, before, microbatches));
    const gradients = keys.map((key) => this.gradients.get(key)!);
    const { version, parameterHash } = await this.parts.states.merge(stage, gradients, tokens);
    for (const key of keys) this.gradients.delete(key);
    this.handle({ type: 'merged', stage, version, parameterHash });
  }

  private closed({ step, tokens, lossSum, validation }: Of<'closed'>): void {
    const { config, states, optimizer, checkpointEvery } = this.parts;
    const now = Date.now();
    const version = step + 1;
    this.view.trained(tokens, now);
    const point: StepPoint = {
      step: version,
      tokens: this.view.tokens,
      time: now,
      loss: lossSum / tokens,
      validationLoss: validation ? validation.lossSum / validation.tokens : null,
      learningRate: learningRateAt(optimizer, version),
      gradientNorms: config.stages.map((_, stage) => states.mergeOf(stage)!.norm),
      tokensPerSecond: this.view.tokensPerSecond(now),
    };
    this.view.addPoint(point);
    // No stage can be past this version yet: its next step needs every other stage to have this one.
    this.lastClosed = { version, stages: config.stages.map((_, stage) => states.at(stage)) };
    const done = config.steps > 0 && version >= config.steps;
    if (done || version % checkpointEvery === 0) void this.checkpoint();
    for (const listener of this.stepListeners) listener(point);
    if (done) this.complete();
  }

  /** Writes the last closed step, unless it is on disk already. A failure is reported and harms nothing. */
  private checkpoint(): Promise<void> {
    this.saving = this.saving.then(() => this.save()).catch((error: unknown) => this.fault(error));
    return this.saving;
  }

  private async save(): Promise<void> {
    const closed = this.lastClosed;
    if (!closed || closed.version <= this.lastSaved) return;
    const { config, corpusHash } = this.parts;
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
    await this.parts.checkpoints.save(checkpoint);
    this.lastSaved = closed.version;
  }

  private fault(error: unknown): void {
    const fault = SwarmError.from(error);
    this.report('error', fault.code, `${fault.message} ${fault.hint}`);
    if (fault.code === 'INTERNAL') this.parts.log(fault.cause instanceof Error ? (fault.cause.stack ?? '') : String(fault.cause));
  }

  report(level: 'info' | 'warning' | 'error', code: string, message: string): void {
    this.view.addEvent({ time: Date.now(), level, code, message });
    this.parts.log(`${level === 'info' ? '' : `${level}: `}${message} [${code}]`);
  }

  /** Stops the clock and writes what was closed since the last checkpoint. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.checkpoint();
  }
}
