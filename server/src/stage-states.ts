/**
 * The canonical parameters of every stage, and what a merge does to them. A merge makes new arrays, so whoever holds
 * the ones before (a checkpoint being written, a joiner being served) sees them unchanged.
 */
import type { Merge, Summed } from '@starling/coordinator';
import {
  applyUpdate,
  initialParameters,
  innerNumbersOf,
  layoutOf,
  learningRateAt,
  normOf,
  type OptimizerConfig,
  optimizerNumbers,
  type ParameterLayout,
} from '@starling/model';
import {
  encodeFrame,
  type InnerNumbers,
  type ModelShape,
  type RunConfig,
  type StageSpec,
  type StageState,
  SwarmError,
  sha256Hex,
  type Update,
} from '@starling/protocol';
import { ShardedGradient } from '@starling/reduce';
import { mergeOwner, stateOwner } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import { formatsOf } from './reductions.ts';

type Vector = Float32Array<ArrayBuffer>;

/** One stage at one version: vectors `[n]`, n the stage's parameter count. */
export interface StageVersion {
  version: number;
  parameters: Vector;
  firstMoment: Vector;
  secondMoment: Vector;
  parameterHash: string;
}

/** What a checkpoint holds of a stage, or a new run begins with. */
export type StageVectors = Pick<StageVersion, 'version' | 'parameters' | 'firstMoment' | 'secondMoment'>;

export function initialVectors(shape: ModelShape, stage: StageSpec, seed: number): StageVectors {
  const { size } = layoutOf(shape, stage);
  const parameters = initialParameters(shape, stage, seed);
  return { version: 0, parameters, firstMoment: new Float32Array(size), secondMoment: new Float32Array(size) };
}

/** What of a run says how gradients become parameters. */
type MergeRules = Pick<RunConfig, 'gradient' | 'merged' | 'inner' | 'overlap'>;

export class StageStates {
  readonly layouts: ParameterLayout[];
  private readonly current: StageVersion[];
  /** Computed, and not yet in the log. */
  private readonly next: (StageVersion | null)[];
  private readonly served = new Map<string, Promise<StageState>>();
  private readonly blobs: Blobs;
  private readonly optimizer: OptimizerConfig;
  private readonly run: MergeRules;
  /** Merges whose gradients are kept, by stage, ascending. */
  private readonly kept: number[][];

  private constructor(layouts: ParameterLayout[], current: StageVersion[], optimizer: OptimizerConfig, run: MergeRules, blobs: Blobs) {
    this.layouts = layouts;
    this.current = current;
    this.next = current.map(() => null);
    this.kept = current.map(() => []);
    this.optimizer = optimizer;
    this.run = run;
    this.blobs = blobs;
  }

  static async open(
    shape: ModelShape,
    stages: readonly StageSpec[],
    vectors: readonly StageVectors[],
    optimizer: OptimizerConfig,
    run: MergeRules,
    blobs: Blobs,
  ): Promise<StageStates> {
    const layouts = stages.map((stage) => layoutOf(shape, stage));
    const current = await Promise.all(
      vectors.map(async (stage): Promise<StageVersion> => ({ ...stage, parameterHash: await sha256Hex(stage.parameters) })),
    );
    return new StageStates(layouts, current, optimizer, run, blobs);
  }

  at(stage: number): StageVersion {
    return this.current[stage]!;
  }

  /** What a merge's numbers follow from is in the log: they need not be. */
  updateOf({ version, clipNorm, tokens }: Pick<Merge, 'version' | 'clipNorm' | 'tokens'>): Update {
    const { inner } = this.run;
    if (tokens === 0) return { kind: 'none' };
    if (!inner) return { kind: 'adamw', ...optimizerNumbers(this.optimizer, this.updatesIn(version), clipNorm, tokens) };
    const { learningRate, momentum } = inner;
    return { kind: 'outer', learningRate, momentum, inner: innerNumbersOf(this.optimizer, version + 1, inner.steps) };
  }

  /** With overlap the first step's gradients are in the second version: one update less than versions. */
  private updatesIn(version: number): number {
    return this.run.overlap ? version - 1 : version;
  }

  /** For a miner that begins at `version`; null where it takes no steps of its own. */
  innerNumbersAt(version: number): InnerNumbers | null {
    const { inner } = this.run;
    return inner && innerNumbersOf(this.optimizer, version + 1, inner.steps);
  }

  /** Of the step that makes `version`. */
  learningRateOf(version: number): number {
    const { inner } = this.run;
    return inner
      ? innerNumbersOf(this.optimizer, version, inner.steps).learningRate
      : learningRateAt(this.optimizer, this.updatesIn(version));
  }

  /** Blobs of the stage's present version, made when somebody first needs them. */
  serve(stage: number): { version: number; state: Promise<StageState> } {
    const now = this.current[stage]!;
    const key = stateOwner(stage, now.version);
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
        this.blobs.put(await encodeFrame(vector, [vector.length]), stateOwner(stage, version)),
      ),
    );
    return { parameters: p!, firstMoment: m!, secondMoment: v! };
  }

  /**
   * Keeps a merged gradient, so that every replica can apply it, and the next process too: its shards are on disk already,
   * whoever made them. Throws `BLOB_NOT_FOUND`.
   */
  sum(stage: number, step: number, shards: string[], tokens: number): Summed {
    const owner = mergeOwner(stage, this.versionWith(step));
    for (const hash of shards) this.blobs.add(hash, this.blobs.get(hash), owner);
    return { shards, norm: normOf(this.assemble(stage, shards), this.run.inner ? 1 : tokens), tokens };
  }

  /** The version that will hold the gradients of this step. */
  private versionWith(step: number): number {
    return step + (this.run.overlap ? 2 : 1);
  }

  private assemble(stage: number, shards: readonly string[]): Vector {
    if (shards.length === 0) return new Float32Array(0); // a step that came to nothing
    const gradient = new ShardedGradient(formatsOf(this.run), this.layouts[stage]!.size, shards.length);
    return gradient.assemble(shards.map((hash) => this.blobs.get(hash)));
  }

  /** Clips the sum by this norm and applies AdamW. `commit` makes the result the stage's version. */
  async apply(stage: number, summed: Summed, clipNorm: number): Promise<Merge> {
    const version = this.at(stage).version + 1;
    const after = await this.after(stage, this.assemble(stage, summed.shards), { version, clipNorm, tokens: summed.tokens });
    this.next[stage] = after;
    return { ...summed, version, parameterHash: after.parameterHash, clipNorm };
  }

  /** Has the sum of a merge that is under way from disk. Throws `BLOB_NOT_FOUND`. */
  async restoreSum(stage: number, step: number, { shards }: Summed): Promise<void> {
    for (const hash of shards) await this.blobs.restore(hash, mergeOwner(stage, this.versionWith(step)));
  }

  /** The merge is in the log. */
  commit(stage: number, version: number): void {
    const next = this.next[stage];
    if (next?.version !== version) return;
    this.current[stage] = next;
    this.next[stage] = null;
    this.kept[stage]!.push(version);
    // Someone may still be fetching the version before this one; older ones are of no use to anybody.
    this.blobs.release(stateOwner(stage, version - 2));
    this.served.delete(stateOwner(stage, version - 2));
  }

  /** Forgets the gradients of merges up to this version, but not the newest `atLeast`, which miners may yet need. */
  forgetMerges(upTo: number, atLeast: number): void {
    this.kept.forEach((versions, stage) => {
      while (versions.length > atLeast && versions[0]! <= upTo) this.blobs.release(mergeOwner(stage, versions.shift()!));
    });
  }

  /** Does again what the log says was done, from the gradient on disk. Throws `BLOB_NOT_FOUND` or `LOG_UNREADABLE`. */
  async replay(stage: number, merge: Merge): Promise<void> {
    const { version, shards, parameterHash } = merge;
    for (const hash of shards) await this.blobs.restore(hash, mergeOwner(stage, version));
    this.kept[stage]!.push(version);
    if (version <= this.current[stage]!.version) return; // in the checkpoint; kept for miners that are behind
    if (version !== this.current[stage]!.version + 1)
      throw new SwarmError('LOG_UNREADABLE', `The merge of stage ${stage} to version ${version} does not follow what is there.`);
    const after = await this.after(stage, this.assemble(stage, shards), merge);
    if (after.parameterHash !== parameterHash)
      throw new SwarmError('LOG_UNREADABLE', `Stage ${stage} at version ${version} comes out with other parameters than the log says.`);
    this.current[stage] = after;
  }

  private async after(stage: number, sum: Vector, merge: Pick<Merge, 'version' | 'clipNorm' | 'tokens'>): Promise<StageVersion> {
    const before = this.current[stage]!;
    const vectors = {
      parameters: before.parameters.slice(),
      firstMoment: before.firstMoment.slice(),
      secondMoment: before.secondMoment.slice(),
    };
    applyUpdate(vectors, sum, this.updateOf(merge), this.layouts[stage]!);
    return { version: merge.version, ...vectors, parameterHash: await sha256Hex(vectors.parameters) };
  }
}
