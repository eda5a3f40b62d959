/** Computes leases again, as a miner would: on the real stage, from the parameters of the version and the stored inputs. */
import { type Crossing, crossingOf, type Vector } from '@starling/codecs';
import type { Kernels } from '@starling/kernels';
import { Stage, splitMix32 } from '@starling/model';
import { precisionOf, type StageSpec, SwarmError, type TensorData } from '@starling/protocol';
import type { AuditedRun, GivenLease, StageWork } from './evidence.ts';

/** What one lease comes to. */
export interface Outcome {
  /** As it crosses the wire; null where the stage has none. */
  output: TensorData | null;
  lossSum: number | null;
}

export interface Replayed {
  /** In the order of the leases. */
  outcomes: Outcome[];
  /** Sum over the leases that are in it `[n]`; null when there are none. */
  gradient: Vector | null;
}

/** Relative: a unit in the last place of a float32, or two. */
const LAST_DIGIT = 2 ** -23;

/** The one place where audits make a stage. */
const makeStage = async (kernels: Kernels, run: AuditedRun, spec: StageSpec): Promise<Stage> =>
  new Stage(await kernels.withPrecision(precisionOf(run)), run.model, spec, { sequences: run.sequences });

const tokensOf = (tensor: TensorData | null): Int32Array<ArrayBuffer> | undefined => {
  if (tensor === null) return undefined;
  if (tensor instanceof Float32Array) throw new SwarmError('TENSOR_SHAPE', 'Tokens are int32 or uint8.');
  return tensor instanceof Int32Array ? tensor : Int32Array.from(tensor);
};

export class Replayer {
  private readonly kernels: Kernels;
  private readonly run: AuditedRun;
  private readonly crossing: Crossing;
  /** The stage used last, loaded. */
  private loaded: { index: number; hash: string; stage: Stage } | null = null;

  constructor(kernels: Kernels, run: AuditedRun) {
    this.kernels = kernels;
    this.run = run;
    this.crossing = crossingOf(run);
  }

  /**
   * With a `seed`, what other miners sent is moved by its last digit, up or down as the seed has it: how much the results move then
   * tells how much honest ones may differ. Throws `TENSOR_SHAPE` for work that does not fit the run. One at a time.
   */
  async replay(work: StageWork, seed?: number): Promise<Replayed> {
    const next = seed === undefined ? null : splitMix32(seed);
    const given = (x: Vector): Vector => (next ? x.map((value) => value * (next() & 1 ? 1 + LAST_DIGIT : 1 - LAST_DIGIT)) : x);
    const stage = await this.load(work);
    const outcomes: Outcome[] = [];
    let summed = false;
    stage.resetGradient();
    for (const lease of work.leases) {
      const { gradient, ...outcome } = await this.compute(stage, this.run.stages[work.stage]!, lease, given);
      if (gradient && lease.inSum) {
        stage.accumulate(gradient);
        summed = true;
      } else if (gradient) stage.discard(gradient);
      outcomes.push(outcome);
    }
    return { outcomes, gradient: summed ? await stage.takeGradient() : null };
  }

  /** Without rounding operands to halves; null where the run does not. */
  async replayUnrounded(work: StageWork): Promise<Replayed | null> {
    if (precisionOf(this.run) === 'f32') return null;
    const whole = new Replayer(this.kernels, { ...this.run, precision: 'f32' });
    try {
      return await whole.replay(work);
    } finally {
      whole.dispose();
    }
  }

  dispose(): void {
    this.loaded?.stage.dispose();
    this.loaded = null;
  }

  private async load({ stage: index, parameters, parameterHash }: StageWork): Promise<Stage> {
    if (this.loaded?.index !== index) {
      this.dispose();
      const spec = this.run.stages[index];
      if (!spec) throw new SwarmError('TENSOR_SHAPE', `The run has no stage ${index}.`);
      this.loaded = { index, hash: '', stage: await makeStage(this.kernels, this.run, spec) };
    }
    if (this.loaded.hash !== parameterHash) {
      this.loaded.stage.load(parameters);
      this.loaded.hash = parameterHash;
    }
    return this.loaded.stage;
  }

  private async compute(
    stage: Stage,
    { isFirst, isLast }: StageSpec,
    { kind, input, tokens, upstream }: GivenLease,
    given: (x: Vector) => Vector,
  ) {
    const { crossing } = this;
    const values = isFirst ? tokensOf(input)! : given(crossing.input(input));
    const known = tokensOf(tokens);
    const pack = (x: Vector | null) => x && crossing.pack(x);
    if (kind === 'backward') {
      if (!upstream) throw new SwarmError('TENSOR_SHAPE', 'A backward needs the gradient of its output, or targets.');
      const result = await stage.backward(values, isLast ? tokensOf(upstream)! : given(crossing.input(upstream)), known);
      return { output: pack(result.inputGradient), lossSum: result.lossSum, gradient: result.gradient };
    }
    if (!isLast) return { output: pack(await stage.forward(values, known)), lossSum: null, gradient: null };
    if (!upstream) throw new SwarmError('TENSOR_SHAPE', 'A loss needs targets.');
    return { output: null, lossSum: await stage.loss(values, tokensOf(upstream)!, known), gradient: null };
  }
}
