/**
 * A swarm's arithmetic in one process: the stages, codecs, reduction and optimizer of the product, every tensor crossing as it does between
 * machines, without the machines. Replicas of a stage hold the same bits, so that one device copy serves them in turn.
 */
import { crossingOf } from '@starling/codecs';
import type { Kernels } from '@starling/kernels';
import {
  applyAdamW,
  applyOuter,
  cutStages,
  initialParameters,
  normOf,
  type OuterConfig,
  optimizerNumbers,
  type Preset,
  Stage,
  type TokenBatch,
} from '@starling/model';
import type { ModelShape, RunConfig, Squeeze, StageSpec } from '@starling/protocol';
import {
  alignmentOf,
  CODECS,
  type CodecName,
  cutShards,
  ErrorFeedback,
  encodeShards,
  pairsOf,
  reduceShard,
  type Shard,
} from '@starling/reduce';

type Vector = Float32Array<ArrayBuffer>;

export interface SwarmVariant {
  /** How the numbers that cross between stages are written, and what narrows them. */
  boundary: RunConfig['boundary'];
  squeeze: Pick<Squeeze, 'kind' | 'rank'> | null;
  /** How a contribution is written, and how the merge. */
  gradient: CodecName;
  merged: CodecName;
  /** Local steps between two merges; with `outer`. */
  innerSteps: number;
  /** Null: gradients are merged, at every step. */
  outer: OuterConfig | null;
  /** Forwards and backwards of a step run on the version before the newest, as they would while the merge runs. */
  overlap: boolean;
}

export const PLAIN: SwarmVariant = {
  ...{ boundary: 'f32', squeeze: null, gradient: 'f32', merged: 'f32' },
  ...{ innerSteps: 1, outer: null, overlap: false },
};

/** The model of a variant. */
export function shapeOf(shape: ModelShape, { squeeze }: SwarmVariant, seed: number): ModelShape {
  return squeeze ? { ...shape, squeeze: { ...squeeze, seed } } : shape;
}

export interface VirtualSwarmOptions {
  preset: Preset;
  stages: number;
  /** Miners of each stage; a step has one microbatch for each. */
  replicas: number;
  seed: number;
  variant: SwarmVariant;
}

/** A miner: with inner steps its parameters and moments are its own between merges. */
interface Replica {
  parameters: Vector;
  firstMoment: Vector;
  secondMoment: Vector;
  feedback: ErrorFeedback | null;
}

interface VirtualStage {
  spec: StageSpec;
  device: Stage;
  /** What all replicas agreed on last. */
  parameters: Vector;
  /** The version before, on which overlapped steps compute. */
  before: Vector;
  outerMomentum: Vector | null;
  replicas: Replica[];
  shards: Shard[];
}

/** Bytes that crossed the wire, ever. */
export interface Traffic {
  /** Between stages, both ways. */
  boundary: number;
  /** Contributions and merges, of all miners. */
  merge: number;
  tokens: number;
}

export class VirtualSwarm {
  readonly traffic: Traffic = { boundary: 0, merge: 0, tokens: 0 };
  private readonly options: VirtualSwarmOptions;
  private readonly crossing: ReturnType<typeof crossingOf>;
  private readonly stages: VirtualStage[];
  private steps = 0;

  constructor(kernels: Kernels, options: VirtualSwarmOptions) {
    const { preset, seed, variant, replicas } = options;
    const { sequences } = preset;
    const shape = shapeOf(preset.shape, variant, seed);
    this.options = options;
    this.crossing = crossingOf({ boundary: variant.boundary, sequences, model: shape });
    this.stages = cutStages(shape, options.stages).map((spec) => {
      const parameters = initialParameters(shape, spec, seed);
      const size = parameters.length;
      const device = new Stage(kernels, shape, spec, { sequences });
      device.load(parameters);
      return {
        spec,
        device,
        parameters,
        before: parameters.slice(),
        outerMomentum: variant.outer?.momentum ? new Float32Array(size) : null,
        shards: cutShards(size, pairsOf(replicas), alignmentOf(CODECS[variant.gradient], CODECS[variant.merged])),
        replicas: Array.from({ length: replicas }, () => ({
          // Without inner steps replicas are equal at every version: they share one vector of each kind.
          parameters: variant.outer ? parameters.slice() : parameters,
          firstMoment: new Float32Array(size),
          secondMoment: new Float32Array(size),
          feedback: variant.gradient === 'topk2bit' ? new ErrorFeedback(size) : null,
        })),
      };
    });
  }

  /** One step over one microbatch for each replica; the mean loss per token before it, in nats. */
  async step(microbatches: readonly TokenBatch[]): Promise<number> {
    const { stages, traffic } = this;
    const { outer, innerSteps } = this.options.variant;
    let lossSum = 0;
    const gradients: Vector[][] = stages.map(() => []);
    for (const [index, microbatch] of microbatches.entries()) lossSum += await this.backward(microbatch, index, gradients);
    const tokens = microbatches.reduce((sum, batch) => sum + batch.tokens.length, 0);
    traffic.tokens += tokens;
    this.steps += 1;
    for (const [index, stage] of stages.entries()) {
      if (outer) {
        this.innerStep(stage, gradients[index]!, tokens / microbatches.length);
        if (this.steps % innerSteps === 0) this.outerStep(stage, outer);
      } else {
        this.mergeGradients(stage, gradients[index]!, tokens);
      }
    }
    return lossSum / tokens;
  }

  /** Mean loss per token in nats on the newest merged version. */
  async evaluate(microbatches: readonly TokenBatch[]): Promise<number> {
    let lossSum = 0;
    let tokens = 0;
    for (const { device, parameters } of this.stages) device.load(parameters);
    for (const batch of microbatches) {
      let input: Vector | Int32Array = batch.tokens;
      for (const { spec, device } of this.stages) {
        if (spec.isLast) lossSum += await device.loss(input, batch.targets, batch.tokens);
        else input = this.cross(await device.forward(input, batch.tokens)).tensor;
      }
      tokens += batch.tokens.length;
    }
    return lossSum / tokens;
  }

  dispose(): void {
    for (const { device } of this.stages) device.dispose();
  }

  /** Along one path through all stages and back; adds its gradients to `gradients`, a list for each stage by replica. */
  private async backward({ tokens, targets }: TokenBatch, path: number, gradients: Vector[][]): Promise<number> {
    const { stages } = this;
    const { overlap } = this.options.variant;
    const holders: number[] = [];
    const inputs: (Vector | Int32Array)[] = [tokens];
    for (const [index, { spec, device, before, replicas }] of stages.entries()) {
      // Another pairing at every step and stage, as routing has it.
      const holder = (path + this.steps * (index + 1)) % replicas.length;
      holders.push(holder);
      device.load(overlap ? before : replicas[holder]!.parameters);
      if (!spec.isLast) inputs.push(this.cross(await device.forward(inputs[index]!, tokens)).counted(this.traffic));
    }
    let upstream: Vector | Int32Array = targets;
    let lossSum = 0;
    for (let index = stages.length - 1; index >= 0; index--) {
      const { device } = stages[index]!;
      const result = await device.backward(inputs[index]!, upstream, tokens);
      device.accumulate(result.gradient);
      gradients[index]![holders[index]!] = await device.takeGradient();
      if (result.lossSum !== null) lossSum = result.lossSum;
      if (result.inputGradient) upstream = this.cross(result.inputGradient).counted(this.traffic);
    }
    return lossSum;
  }

  /** As the next stage gets it. */
  private cross(x: Vector): { tensor: Vector; counted(traffic: Traffic): Vector } {
    const packed = this.crossing.pack(x);
    const tensor = this.crossing.input(packed);
    return {
      tensor,
      counted(traffic) {
        traffic.boundary += packed.byteLength;
        return tensor;
      },
    };
  }

  private mergeGradients(stage: VirtualStage, gradients: Vector[], tokens: number): void {
    const { optimizer } = this.options.preset;
    const { parameters, replicas, device } = stage;
    const { firstMoment, secondMoment } = replicas[0]!;
    const sum = this.merge(stage, gradients);
    stage.before.set(parameters);
    const numbers = optimizerNumbers(optimizer, this.steps, normOf(sum, tokens), tokens);
    applyAdamW({ parameters, firstMoment, secondMoment }, sum, numbers, device.layout);
  }

  private innerStep({ replicas, device }: VirtualStage, gradients: Vector[], tokens: number): void {
    for (const [index, replica] of replicas.entries()) {
      const gradient = gradients[index]!;
      const numbers = optimizerNumbers(this.options.preset.optimizer, this.steps, normOf(gradient, tokens), tokens);
      applyAdamW(replica, gradient, numbers, device.layout);
    }
  }

  private outerStep(stage: VirtualStage, outer: OuterConfig): void {
    const { parameters, replicas, outerMomentum } = stage;
    const changes = replicas.map((replica) => parameters.map((start, i) => start - replica.parameters[i]!));
    const change = this.merge(stage, changes).map((value) => value / replicas.length);
    applyOuter(parameters, outerMomentum, change, outer);
    for (const replica of replicas) replica.parameters.set(parameters);
  }

  /** The sum of what every replica says, as it arrives at all of them. */
  private merge({ shards, replicas }: VirtualStage, vectors: Vector[]): Vector {
    const codec = CODECS[this.options.variant.gradient];
    const merged = CODECS[this.options.variant.merged];
    const sent = vectors.map((vector, i) => replicas[i]!.feedback?.encode(codec, vector, shards) ?? encodeShards(codec, vector, shards));
    const sum = new Float32Array(vectors[0]!.length);
    for (const [index, { offset, length }] of shards.entries()) {
      const contributions = sent.map((encoded) => ({ bytes: encoded[index]!, scale: 1 }));
      const bytes = reduceShard({ codec, merged }, length, contributions);
      sum.set(merged.decode(bytes, length), offset);
      // Up once, and the share that a reducer fetches and writes; docs/reduce.md counts the same.
      for (const { bytes: up } of contributions) this.traffic.merge += 3 * up.length;
      this.traffic.merge += (2 + replicas.length) * bytes.length;
    }
    return sum;
  }
}
