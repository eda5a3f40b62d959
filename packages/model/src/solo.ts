/** The uncut model in one process: what a swarm must equal, and what benchmarks compare it with. */
import type { Kernels } from '@starling/kernels';
import type { ModelShape, StageSpec } from '@starling/protocol';
import { initialParameters } from './initial.ts';
import { layoutOf, type ParameterLayout } from './layout.ts';
import { applyAdamW, normOf, type OptimizerConfig, optimizerNumbers } from './optimizer.ts';
import { cutStages } from './presets.ts';
import { Stage } from './stage.ts';

/** Token numbers `[B·T]`, and the token that follows each. */
export interface TokenBatch {
  tokens: Int32Array;
  targets: Int32Array;
}

export interface SoloOptions {
  shape: ModelShape;
  sequences: number;
  seed: number;
  optimizer: OptimizerConfig;
  /** Parts of the model whose gradients are clipped by their own norm, as the stages of a swarm are; default: the whole. */
  clipGroups?: readonly StageSpec[];
}

export class SoloTrainer {
  readonly parameters: Float32Array<ArrayBuffer>;
  private readonly firstMoment: Float32Array<ArrayBuffer>;
  private readonly secondMoment: Float32Array<ArrayBuffer>;
  private readonly stage: Stage;
  private readonly groups: ParameterLayout[];
  private readonly options: SoloOptions;
  private version = 0;

  constructor(kernels: Kernels, options: SoloOptions) {
    const { shape, sequences, seed } = options;
    const whole = cutStages(shape, 1)[0]!;
    this.options = options;
    this.parameters = initialParameters(shape, whole, seed);
    this.firstMoment = new Float32Array(this.parameters.length);
    this.secondMoment = new Float32Array(this.parameters.length);
    this.groups = (options.clipGroups ?? [whole]).map((group) => layoutOf(shape, group));
    this.stage = new Stage(kernels, shape, whole, { sequences });
    this.stage.load(this.parameters);
  }

  /** One step over these microbatches; returns the mean loss per token before it, in nats. */
  async step(microbatches: readonly TokenBatch[]): Promise<number> {
    let lossSum = 0;
    for (const { tokens, targets } of microbatches) {
      const result = await this.stage.backward(tokens, targets);
      this.stage.accumulate(result.gradient);
      lossSum += result.lossSum!;
    }
    const tokens = countTokens(microbatches);
    const gradient = await this.stage.takeGradient();
    this.version += 1;
    let start = 0;
    for (const layout of this.groups) {
      const part = (vector: Float32Array<ArrayBuffer>) => vector.subarray(start, start + layout.size);
      const vectors = { parameters: part(this.parameters), firstMoment: part(this.firstMoment), secondMoment: part(this.secondMoment) };
      const numbers = optimizerNumbers(this.options.optimizer, this.version, normOf(part(gradient), tokens), tokens);
      applyAdamW(vectors, part(gradient), numbers, layout);
      start += layout.size;
    }
    this.stage.load(this.parameters);
    return lossSum / tokens;
  }

  /** Mean loss per token in nats. */
  async evaluate(microbatches: readonly TokenBatch[]): Promise<number> {
    let lossSum = 0;
    for (const { tokens, targets } of microbatches) lossSum += await this.stage.loss(tokens, targets);
    return lossSum / countTokens(microbatches);
  }

  dispose(): void {
    this.stage.dispose();
  }
}

function countTokens(microbatches: readonly TokenBatch[]): number {
  return microbatches.reduce((sum, { tokens }) => sum + tokens.length, 0);
}
