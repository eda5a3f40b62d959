/**
 * A run in one process, with all of it that would be public: what every stage was given in a step, and the parameters it had.
 * Calibration, the attack zoo and tests compute on it.
 */
import { applyAdamW, initialParameters, layoutOf, normOf, type OptimizerConfig, optimizerNumbers, type TokenBatch } from '@starling/model';
import { sha256Hex, type TensorData } from '@starling/protocol';
import type { AuditedRun, GivenLease, StageWork } from '../evidence.ts';
import type { Replayed } from '../replay.ts';

/** Whatever computes: a `Replayer` here, or a thread. */
export type Compute = (run: AuditedRun, work: StageWork) => Promise<Replayed>;

export interface RehearsalOptions {
  run: AuditedRun;
  seed: number;
  optimizer: OptimizerConfig;
  microbatchesPerStep: number;
  /** Microbatch number `cursor`. */
  text(cursor: number): TokenBatch;
}

type Vector = Float32Array<ArrayBuffer>;

export class Rehearsal {
  version = 0;
  /** Mean loss per token of the step done last, in nats. */
  loss = Number.NaN;
  private readonly options: RehearsalOptions;
  private readonly compute: Compute;
  private readonly vectors: { parameters: Vector; firstMoment: Vector; secondMoment: Vector }[];

  constructor(options: RehearsalOptions, compute: Compute) {
    this.options = options;
    this.compute = compute;
    const { run, seed } = options;
    this.vectors = run.stages.map((spec) => {
      const parameters = initialParameters(run.model, spec, seed);
      return { parameters, firstMoment: new Float32Array(parameters.length), secondMoment: new Float32Array(parameters.length) };
    });
  }

  /** Trains one step. Gives, for every stage, what it had to do: of each microbatch the forward and the backward, all in the sum. */
  async step(): Promise<StageWork[]> {
    const { run, microbatchesPerStep, text, optimizer } = this.options;
    const first = this.version * microbatchesPerStep;
    const batches = Array.from({ length: microbatchesPerStep }, (_, i) => text(first + i));
    const works = await Promise.all(
      this.vectors.map(async ({ parameters }, stage) => ({
        stage,
        parameters: parameters.slice(),
        parameterHash: await sha256Hex(parameters),
        leases: [] as GivenLease[],
      })),
    );
    const lease = (stage: number, kind: GivenLease['kind'], i: number, input: TensorData, upstream: TensorData | null): GivenLease => ({
      leaseId: `${this.version}/${stage}/${kind}/${first + i}`,
      ...{ kind, microbatch: first + i, input, upstream, inSum: kind === 'backward' },
      tokens: run.model.squeeze?.kind === 'subspace' && stage > 0 ? own(batches[i]!.tokens) : null,
    });
    let inputs: TensorData[] = batches.map(({ tokens }) => own(tokens));
    const inputsOf: TensorData[][] = [];
    for (const work of works) {
      inputsOf.push(inputs);
      if (work.stage === run.stages.length - 1) break;
      const forwards = inputs.map((input, i) => lease(work.stage, 'forward', i, input, null));
      work.leases.push(...forwards);
      inputs = (await this.compute(run, { ...work, leases: forwards })).outcomes.map(({ output }) => output!);
    }
    let upstreams: TensorData[] = batches.map(({ targets }) => own(targets));
    for (const work of works.toReversed()) {
      const backwards = inputsOf[work.stage]!.map((input, i) => lease(work.stage, 'backward', i, input, upstreams[i]!));
      work.leases.push(...backwards);
      const { outcomes, gradient } = await this.compute(run, { ...work, leases: backwards });
      if (work.stage > 0) upstreams = outcomes.map(({ output }) => output!);
      const tokens = microbatchesPerStep * run.sequences * run.model.context;
      if (work.stage === run.stages.length - 1) this.loss = outcomes.reduce((sum, { lossSum }) => sum + lossSum!, 0) / tokens;
      const numbers = optimizerNumbers(optimizer, this.version + 1, normOf(gradient!, tokens), tokens);
      applyAdamW(this.vectors[work.stage]!, gradient!, numbers, layoutOf(run.model, run.stages[work.stage]!));
    }
    this.version += 1;
    return works;
  }
}

const own = (tokens: Int32Array): Int32Array<ArrayBuffer> => new Int32Array(tokens);
