/**
 * The whole model as it was at some steps, for whoever wants to try it, compare it, or take it home: parameters only, one file
 * a stage. The newest few steps are kept close together, older ones ever further apart.
 *
 * ```
 * DIR/<version, 12 digits>-<stage>.frame   a tensor frame [n] float32; its head holds its own SHA-256
 * ```
 */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { encodeFrame, SwarmError } from '@starling/protocol';
import { DurableFiles, type FileSystem } from './durable-files.ts';
import type { StageVersion } from './stage-states.ts';

/** Versions on disk, at most. */
const KEEP = 12;
/** The newest step that is offered without being on disk is so old at most, when somebody asks. */
const FRESH_MS = 10_000;

/** All stages after the same step. */
export interface ClosedStep {
  version: number;
  stages: Pick<StageVersion, 'parameters'>[];
}

const fileName = (version: number, stage: number) => `${String(version).padStart(12, '0')}-${stage}.frame`;

/**
 * The version to give up, of more than can be kept: the one whose absence leaves the smallest gap, measured against the age
 * of what is older. So gaps grow with age; the first and the newest always stay.
 */
export function dispensable(versions: readonly number[]): number {
  const newest = versions.at(-1)!;
  const gap = (i: number) => (versions[i + 1]! - versions[i - 1]!) / (newest - versions[i - 1]!);
  let chosen = 1;
  for (let i = 2; i < versions.length - 1; i++) if (gap(i) < gap(chosen)) chosen = i;
  return versions[chosen]!;
}

export class Models {
  private readonly files: DurableFiles;
  private readonly folder: string;
  private readonly stages: number;
  /** On disk, ascending. */
  private kept: number[] = [];
  /** Steps that were offered lately, and are not on disk: the newest, and the one before, which may still be fetched. */
  private fresh: { at: number; step: ClosedStep }[] = [];

  private constructor(files: DurableFiles, folder: string, stages: number) {
    this.files = files;
    this.folder = folder;
    this.stages = stages;
  }

  /** Throws `CHECKPOINT_FAILED` when the folder cannot be used. */
  static async open(folder: string, temporary: string, stages: number, fs?: FileSystem): Promise<Models> {
    const models = new Models(new DurableFiles(temporary, fs), folder, stages);
    try {
      await models.files.open(folder);
      const names = new Set(await models.files.list(folder));
      const versions = new Set([...names].map((name) => Number(name.split('-')[0])));
      models.kept = [...versions].filter((version) => models.names(version).every((name) => names.has(name))).sort((a, b) => a - b);
    } catch (error) {
      throw new SwarmError('CHECKPOINT_FAILED', `The folder ${folder} cannot be used: ${(error as Error).message}.`, { cause: error });
    }
    return models;
  }

  /** Keeps a step for good, or until it is thinned out. Throws `CHECKPOINT_FAILED`; what was there before stays. */
  async keep({ version, stages }: ClosedStep): Promise<void> {
    if (this.kept.includes(version)) return;
    try {
      for (const [stage, { parameters }] of stages.entries()) {
        await this.files.write(this.folder, fileName(version, stage), await encodeFrame(parameters, [parameters.length]));
      }
      this.kept = [...this.kept, version].sort((a, b) => a - b);
      while (this.kept.length > KEEP) this.kept.splice(this.kept.indexOf(dispensable(this.kept)), 1);
      await this.files.removeAllBut(this.folder, new Set(this.kept.flatMap((kept) => this.names(kept))));
    } catch (error) {
      throw new SwarmError('CHECKPOINT_FAILED', `The model of step ${version} could not be kept: ${(error as Error).message}.`, {
        cause: error,
      });
    }
  }

  /** Versions that can be fetched now, ascending. `newest`: the last step that was closed. */
  offer(newest: ClosedStep | null, now: number): number[] {
    const last = this.fresh.at(-1);
    if (newest && newest.version !== last?.step.version && !(last && now - last.at < FRESH_MS)) {
      this.fresh = [...this.fresh.slice(-1), { at: now, step: newest }];
    }
    const versions = new Set([...this.kept, ...this.fresh.slice(-1).map(({ step }) => step.version)]);
    return [...versions].sort((a, b) => a - b);
  }

  /** The frame of one stage's parameters. Throws `NOT_FOUND`. */
  async read(version: number, stage: number): Promise<Readable> {
    const step = this.fresh.find((known) => known.step.version === version)?.step;
    const parameters = step?.stages[stage]?.parameters;
    if (parameters) return Readable.from([Buffer.from((await encodeFrame(parameters, [parameters.length])).buffer)]);
    if (this.kept.includes(version) && stage < this.stages) return createReadStream(join(this.folder, fileName(version, stage)));
    throw new SwarmError('NOT_FOUND', `Stage ${stage} of the model after step ${version} is not here (any more).`);
  }

  private names(version: number): string[] {
    return Array.from({ length: this.stages }, (_, stage) => fileName(version, stage));
  }
}
