/**
 * The canonical parameters of every stage, and what a merge does to them. A merge makes new arrays, so whoever holds
 * the ones before (a checkpoint being written, a joiner being served) sees them unchanged.
 */
import {
  applyAdamW,
  initialParameters,
  layoutOf,
  normOf,
  type OptimizerConfig,
  optimizerNumbers,
  type ParameterLayout,
  sumGradients,
} from '@starling/model';
import { encodeFrame, type ModelShape, type OptimizerNumbers, type StageSpec, type StageState, sha256Hex } from '@starling/protocol';
import type { Blobs } from './blobs.ts';

type Vector = Float32Array<ArrayBuffer>;

/** One stage at one version: vectors `[n]`, n the stage's parameter count. */
export interface StageVersion {
  version: number;
  parameters: Vector;
  firstMoment: Vector;
  secondMoment: Vector;
  parameterHash: string;
}

export interface MergeRecord {
  version: number;
  /** Blob of the summed gradient. */
  gradient: string;
  optimizer: OptimizerNumbers;
  /** Norm of the mean gradient before clipping. */
  norm: number;
}

export class StageStates {
  readonly layouts: ParameterLayout[];
  private readonly current: StageVersion[];
  private readonly merges: (MergeRecord | null)[];
  private readonly served = new Map<string, Promise<StageState>>();
  private readonly blobs: Blobs;
  private readonly optimizer: OptimizerConfig;

  private constructor(layouts: ParameterLayout[], current: StageVersion[], optimizer: OptimizerConfig, blobs: Blobs) {
    this.layouts = layouts;
    this.current = current;
    this.merges = current.map(() => null);
    this.optimizer = optimizer;
    this.blobs = blobs;
  }

  /** Fresh parameters from the seed, or those of a checkpoint. */
  static async open(
    shape: ModelShape,
    stages: readonly StageSpec[],
    from: { seed: number } | { version: number; vectors: Pick<StageVersion, 'parameters' | 'firstMoment' | 'secondMoment'>[] },
    optimizer: OptimizerConfig,
    blobs: Blobs,
  ): Promise<StageStates> {
    const layouts = stages.map((stage) => layoutOf(shape, stage));
    const current = await Promise.all(
      stages.map(async (stage, index): Promise<StageVersion> => {
        const size = layouts[index]!.size;
        const vectors =
          'vectors' in from
            ? from.vectors[index]!
            : {
                parameters: initialParameters(shape, stage, from.seed),
                firstMoment: new Float32Array(size),
                secondMoment: new Float32Array(size),
              };
        return { version: 'vectors' in from ? from.version : 0, ...vectors, parameterHash: await sha256Hex(vectors.parameters) };
      }),
    );
    return new StageStates(layouts, current, optimizer, blobs);
  }

  at(stage: number): StageVersion {
    return this.current[stage]!;
  }

  /** The merge that made the present version; null before the first of this process. */
  mergeOf(stage: number): MergeRecord | null {
    return this.merges[stage]!;
  }

  /** Blobs of the stage's present version, made when somebody first needs them. */
  serve(stage: number): { version: number; state: Promise<StageState> } {
    const now = this.current[stage]!;
    const key = `${stage}@${now.version}`;
    let state = this.served.get(key);
    if (!state) {
      state = this.publish(stage, now);
      this.served.set(key, state);
    }
    return { version: now.version, state };
  }

  private async publish(stage: number, { version, parameters, firstMoment, secondMoment }: StageVersion): Promise<StageState> {
    const [p, m, v] = await Promise.all(
      [parameters, firstMoment, secondMoment].map(async (vector) =>
        this.blobs.put(await encodeFrame(vector, [vector.length]), `stage ${stage}@${version}`),
      ),
    );
    return { parameters: p!, firstMoment: m!, secondMoment: v! };
  }

  /**
   * Sums the contributions in the order given, clips by the norm of the mean gradient, applies AdamW, and publishes
   * the summed gradient so that every replica can do the same.
   */
  async merge(stage: number, contributions: readonly Vector[], tokens: number): Promise<StageVersion> {
    const before = this.current[stage]!;
    const version = before.version + 1;
    const sum = sumGradients(contributions);
    const norm = normOf(sum, tokens);
    const numbers = optimizerNumbers(this.optimizer, version, norm, tokens);
    const after = {
      parameters: before.parameters.slice(),
      firstMoment: before.firstMoment.slice(),
      secondMoment: before.secondMoment.slice(),
    };
    applyAdamW(after, sum, numbers, this.layouts[stage]!);
    const gradient = await this.blobs.put(await encodeFrame(sum, [sum.length]), `stage ${stage}@${version}`);
    const next: StageVersion = { version, ...after, parameterHash: await sha256Hex(after.parameters) };
    this.current[stage] = next;
    this.merges[stage] = { version, gradient, optimizer: numbers, norm };
    // Someone may still be fetching the version before this one; older ones are of no use to anybody.
    this.blobs.release(`stage ${stage}@${version - 2}`);
    this.served.delete(`${stage}@${version - 2}`);
    return next;
  }
}
