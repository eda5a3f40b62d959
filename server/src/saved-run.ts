/** What a checkpoint holds beside the vectors, and how vectors become blobs and back. */
import { boundaryName } from '@starling/codecs';
import { decodeFrame, encodeFrame, precisionOf, RunConfig, type StepPoint, SwarmError, sha256Hex } from '@starling/protocol';
import * as v from 'valibot';
import type { Checkpoint, StageBlobs, StoredBlob } from './checkpoints.ts';
import type { StageVersion } from './stage-states.ts';

const Saved = v.object({
  config: RunConfig,
  corpusHash: v.string(),
  startedAt: v.number(),
  tokens: v.number(),
  points: v.array(v.custom<StepPoint>((point) => typeof (point as StepPoint)?.step === 'number')),
});
export type SavedRun = v.InferOutput<typeof Saved>;

async function blobOf(vector: Float32Array<ArrayBuffer>): Promise<StoredBlob> {
  const bytes = await encodeFrame(vector, [vector.length]);
  return { sha256: await sha256Hex(bytes), bytes };
}

export async function encodeVectors({ parameters, firstMoment, secondMoment }: StageVersion): Promise<StageBlobs> {
  return { parameters: await blobOf(parameters), firstMoment: await blobOf(firstMoment), secondMoment: await blobOf(secondMoment) };
}

async function vectorOf({ bytes }: StoredBlob): Promise<Float32Array<ArrayBuffer>> {
  const { data } = await decodeFrame(bytes);
  if (!(data instanceof Float32Array)) throw new SwarmError('CHECKPOINT_CORRUPT', 'A stage vector in the checkpoint is not float32.');
  return data;
}

export async function readCheckpoint(checkpoint: Checkpoint) {
  const parsed = v.safeParse(Saved, checkpoint.run);
  if (!parsed.success)
    throw new SwarmError('CHECKPOINT_CORRUPT', `The checkpoint of version ${checkpoint.version} was written by another release.`);
  const vectors = await Promise.all(
    checkpoint.stages.map(async ({ parameters, firstMoment, secondMoment }) => ({
      parameters: await vectorOf(parameters),
      firstMoment: await vectorOf(firstMoment),
      secondMoment: await vectorOf(secondMoment),
    })),
  );
  return { saved: parsed.output, version: checkpoint.version, vectors };
}

/** A data folder holds one run. Throws `CONFIG_INVALID` naming the first thing in which the wanted run differs. */
export function assertSameRun(saved: { run: RunConfig; corpusHash: string }, wanted: RunConfig, corpusHash: string): void {
  const { run } = saved;
  const keys = ['preset', 'sequences', 'microbatchesPerStep', 'clip', 'gradient', 'merged', 'medianClip', 'overlap', 'seed'] as const;
  const differences: [isOther: boolean, why: string][] = [
    ...keys.map((key): [boolean, string] => [run[key] !== wanted[key], `${key} ${run[key]}, not ${wanted[key]}`]),
    [boundaryName(run) !== boundaryName(wanted), `boundary ${boundaryName(run)}, not ${boundaryName(wanted)}`],
    [precisionOf(run) !== precisionOf(wanted), `precision ${precisionOf(run)}, not ${precisionOf(wanted)}`],
    [run.stages.length !== wanted.stages.length, `${run.stages.length} stages, not ${wanted.stages.length}`],
    [JSON.stringify(run.inner) !== JSON.stringify(wanted.inner), 'other inner steps'],
    [saved.corpusHash !== corpusHash, 'another corpus'],
  ];
  const why = differences.find(([isOther]) => isOther)?.[1];
  if (why) throw new SwarmError('CONFIG_INVALID', `The data folder holds another run (${why}). Use another --data, or the same options.`);
}
