/**
 * With overlap, what a step's gradients become is merged while the next step is computed: version n + 1 holds the gradients up to step
 * n − 1. A stage stands still only while its miners apply the merge before, and a gradient that is lost is left out, since the
 * parameters it was computed with are gone.
 */
import { SwarmError } from '@starling/protocol';
import type { MinerRecord } from './miner.ts';
import { beginReduction, endReduction, giveUp } from './reducing.ts';
import { type Claim, enterStagePhase, type MergeWork, noMerge, type StageRecord } from './stage.ts';
import type { State } from './state.ts';
import { redoAfter } from './times.ts';

/**
 * When the stage's step is settled and the merge before it is done: that is applied, and the step's own begins. `collect` asks for its
 * gradients.
 */
export function turnOver(state: State, stage: StageRecord, collect: () => void): void {
  if (stage.phase === 'training' && state.stepOf(stage)?.settledAt(stage.index)) enterStagePhase(stage, 'merging', state.now);
  const { summed, version } = stage.merge;
  if (stage.phase !== 'merging' || stage.applying || !summed) return;
  endReduction(state, stage);
  state.emit({ type: 'forget', stage: stage.index, version });
  stage.merge = noMerge(stage.version);
  stage.applying = summed;
  collect();
  emitApplying(state, stage);
  mergeWhenComplete(state, stage);
}

export function emitApplying(state: State, { index, version, applying }: StageRecord): void {
  if (!applying) throw new SwarmError('INTERNAL', `Stage ${index} has nothing to apply.`);
  state.emit({ type: 'apply', stage: index, version, summed: applying, clipNorm: applying.norm });
}

/** The stage stands still for this gradient only, it takes unusually long, and there is enough without it. */
export function isDispensable(
  state: State,
  { phase, applying, merge, times }: StageRecord,
  { connected }: MinerRecord,
  { since }: Claim,
): boolean {
  if (phase !== 'merging' || applying || (connected && state.now - since < redoAfter(times.collect))) return false;
  return isEnough(state, merge);
}

const isEnough = (state: State, { contributions }: MergeWork) =>
  contributions.reduce((n, { microbatches }) => n + microbatches.length, 0) >= Math.max(1, state.config.minMicrobatches);

/** Nobody waits for this gradient any more. */
export function leaveOut(state: State, stage: StageRecord, minerId: string): void {
  const { merge } = stage;
  merge.voided.set(minerId, merge.collecting.get(minerId)!.round);
  merge.collecting.delete(minerId);
  const message = `The gradient of miner ${minerId} did not come in time; it is left out of step ${merge.version}.`;
  state.inform('CONTRIBUTION_LATE', message, 'warning');
  mergeWhenComplete(state, stage);
}

/** When nobody's gradient is awaited any more: with enough of them a merge begins, with too few it is over. */
export function mergeWhenComplete(state: State, stage: StageRecord): void {
  const { merge } = stage;
  if (merge.collecting.size > 0 || merge.butterfly || merge.summed) return;
  if (isEnough(state, merge)) beginReduction(state, stage);
  else giveUp(state, stage);
}
