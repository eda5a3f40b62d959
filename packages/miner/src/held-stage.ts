/** The stage a miner holds at one version: its vectors on the host, its parameters on the device, its gradient so far. */
import { type Crossing, crossingOf } from '@starling/codecs';
import type { Kernels } from '@starling/kernels';
import { applyUpdate, type Crossed, layoutOf, type ParameterLayout, Stage, type StageGradient } from '@starling/model';
import {
  boundaryWidth,
  decodeFrame,
  type InnerNumbers,
  precisionOf,
  type RunConfig,
  type StageSpec,
  SwarmError,
  sha256Hex,
  type TensorData,
  type Update,
} from '@starling/protocol';
import { LocalSteps } from './local-steps.ts';

type Vector = Float32Array<ArrayBuffer>;
type Tokens = Int32Array<ArrayBuffer>;
/** Tokens, or numbers. */
export type Numbers = Vector | Tokens;

/** What a stage computes on. `tokens`: on the later stages of a model in a subspace. */
export interface StageInput {
  values: Numbers;
  tokens: Tokens | undefined;
}

export interface StageVectors {
  parameters: Vector;
  firstMoment: Vector;
  secondMoment: Vector;
}

/** Reads a stage vector `[n]` from its frame. Throws `TENSOR_SHAPE`. */
export async function readVector(bytes: Uint8Array, size: number): Promise<Vector> {
  const { data, shape } = await decodeFrame(bytes);
  if (!(data instanceof Float32Array) || data.length !== size)
    throw new SwarmError('TENSOR_SHAPE', `Expected a float32 vector [${size}], got [${shape}].`);
  return data;
}

export class HeldStage {
  readonly spec: StageSpec;
  readonly layout: ParameterLayout;
  version: number;
  parameterHash = '';
  /** The gradient sum so far: the round it belongs to, and the microbatches in the order they were added. */
  private sum: { round: number; microbatches: number[] } = { round: 0, microbatches: [] };
  /** Stage inputs kept for backwards, by microbatch, each as long as one of the forwards that brought it may count. */
  private readonly inputs = new Map<number, { input: StageInput; leases: Set<string> }>();
  private readonly run: RunConfig;
  private readonly crossing: Crossing;
  private readonly vectors: StageVectors;
  private readonly stage: Stage;
  private disposed = false;

  /** Between merges; null where gradients are merged. */
  private readonly local: LocalSteps | null;
  /** Gradients that count and are not in a local step yet. */
  private accepted: StageGradient[] = [];

  private constructor(
    kernels: Kernels,
    run: RunConfig,
    spec: StageSpec,
    version: number,
    vectors: StageVectors,
    inner: InnerNumbers | null,
  ) {
    this.run = run;
    this.crossing = crossingOf(run);
    this.spec = spec;
    this.version = version;
    this.vectors = vectors;
    this.layout = layoutOf(run.model, spec);
    this.local = inner && new LocalSteps(this.layout, vectors.parameters, inner);
    this.stage = new Stage(kernels, run.model, spec, { sequences: run.sequences });
  }

  /** `inner`: of the steps it takes by itself, where the run has some. */
  static async load(
    kernels: Kernels,
    run: RunConfig,
    spec: StageSpec,
    version: number,
    vectors: StageVectors,
    inner: InnerNumbers | null,
  ): Promise<HeldStage> {
    const held = new HeldStage(await kernels.withPrecision(precisionOf(run)), run, spec, version, vectors, inner);
    await held.upload();
    return held;
  }

  /** Compiles everything, and then one forward and backward on zeros, before a deadline runs. */
  async warmUp(onProgress?: (done: number, of: number) => void): Promise<void> {
    await this.stage.prepare(onProgress);
    const { sequences, model } = this.run;
    const tokens = new Int32Array(sequences * model.context);
    const activations = new Float32Array(tokens.length * boundaryWidth(model));
    const values = this.spec.isFirst ? tokens : activations;
    if (!this.spec.isLast) await this.stage.forward(values, tokens);
    const { gradient } = await this.stage.backward(values, this.spec.isLast ? tokens : activations, tokens);
    this.stage.discard(gradient);
  }

  /** What crosses to the next stage, as it crosses. */
  async forward({ values, tokens }: StageInput): Promise<TensorData> {
    return this.packed(await this.stage.forwardAs(this.crossing.format, values, tokens));
  }

  loss({ values, tokens }: StageInput, targets: Tokens): Promise<number> {
    return this.stage.loss(values, targets, tokens);
  }

  async backward({ values, tokens }: StageInput, outputGradient: Numbers) {
    const { inputGradient, ...result } = await this.stage.backwardAs(this.crossing.format, values, outputGradient, tokens);
    return { ...result, inputGradient: inputGradient && this.packed(inputGradient) };
  }

  /** As it crosses the wire. It was packed on the device where it could be: reading back is the dear part. */
  private packed(crossed: Crossed): TensorData {
    return crossed instanceof Uint8Array ? crossed : this.crossing.pack(crossed);
  }

  /** Keeps the input of this forward for the microbatch's backward. */
  keep(leaseId: string, microbatch: number, input: StageInput): void {
    const kept = this.inputs.get(microbatch) ?? { input, leases: new Set() };
    kept.leases.add(leaseId);
    this.inputs.set(microbatch, kept);
  }

  /** This forward does not count. Another lease for the same microbatch may have brought the input, too. */
  forget(leaseId: string, microbatch: number): void {
    const kept = this.inputs.get(microbatch);
    if (kept?.leases.delete(leaseId) && kept.leases.size === 0) this.inputs.delete(microbatch);
  }

  /** The input kept for this microbatch's backward, which needs it no more afterwards. */
  takeInput(microbatch: number): StageInput | undefined {
    const kept = this.inputs.get(microbatch);
    this.inputs.delete(microbatch);
    return kept?.input;
  }

  /** The receipt counts: the microbatch's gradient joins the sum of its round. A later round starts at zero. */
  accept(round: number, microbatch: number, gradient: StageGradient): void {
    if (this.disposed || round < this.sum.round) {
      this.stage.discard(gradient);
      return;
    }
    if (round > this.sum.round) {
      this.stage.resetGradient();
      this.sum = { round, microbatches: [] };
    }
    this.sum.microbatches.push(microbatch);
    // A local step changes the parameters: it must wait until nothing computes with them.
    if (this.local) this.accepted.push(gradient);
    else this.stage.accumulate(gradient);
  }

  /** Takes the local steps that are due. To be called when nothing is being computed. */
  async catchUp(): Promise<void> {
    const { local, run } = this;
    if (!local) return;
    const size = run.inner!.microbatches;
    while (this.accepted.length >= size) await this.localStep(local, this.accepted.splice(0, size));
  }

  private async localStep(local: LocalSteps, gradients: StageGradient[]): Promise<void> {
    for (const gradient of gradients) this.stage.accumulate(gradient);
    const sum = await this.stage.takeGradient();
    if (this.disposed) return;
    local.step(sum, gradients.length * this.run.sequences * this.run.model.context);
    this.stage.load(local.parameters);
  }

  /** Computes with the parameters of the last merge, wherever the local steps have led. */
  async canonically<T>(compute: () => Promise<T>): Promise<T> {
    const { local, stage, vectors } = this;
    if (!local) return compute();
    stage.load(vectors.parameters);
    try {
      return await compute();
    } finally {
      if (!this.disposed) stage.load(local.parameters);
    }
  }

  /** A part of a step that was not handed in yet. */
  get hasGradient(): boolean {
    return this.sum.microbatches.length > 0;
  }

  discard(gradient: StageGradient): void {
    this.stage.discard(gradient);
  }

  /**
   * What this round has to hand in `[n]`, the gradient sum or how far the local steps led, and the microbatches in it, in the order they
   * were added; null when it is not here.
   */
  async takeGradient(round: number): Promise<{ sum: Vector; microbatches: number[] } | null> {
    const { local } = this;
    const { microbatches } = this.sum;
    if (this.sum.round !== round || microbatches.length === 0) return null;
    this.sum = { round, microbatches: [] };
    if (!local) return { sum: await this.stage.takeGradient(), microbatches };
    await this.catchUp();
    if (this.accepted.length > 0) await this.localStep(local, this.accepted.splice(0));
    return { sum: local.takeChange(), microbatches };
  }

  /** The merge, null where it came to nothing: afterwards this is `version + 1` with its new parameter hash. */
  async apply(merged: Vector | null, update: Update): Promise<void> {
    if (merged) applyUpdate(this.vectors, merged, update, this.layout);
    if (update.kind === 'outer') this.local?.restart(this.vectors.parameters, update.inner);
    this.version += 1;
    this.inputs.clear();
    for (const gradient of this.accepted.splice(0)) this.stage.discard(gradient);
    this.stage.resetGradient(); // of a round that came too late
    this.sum.microbatches = [];
    await this.upload();
  }

  dispose(): void {
    this.disposed = true;
    this.inputs.clear();
    this.stage.dispose();
  }

  private async upload(): Promise<void> {
    this.stage.load(this.vectors.parameters);
    this.parameterHash = await sha256Hex(this.vectors.parameters);
  }
}
