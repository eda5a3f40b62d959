/** Why somebody waits, as a code and a sentence. Times are left out so that a reason stays the same while it holds. */
import type { Reason, ReasonCode } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import { isSettled, type Task } from './flow.ts';
import { isHeldBack } from './granting.ts';
import type { MinerRecord } from './miner.ts';
import type { StageRecord } from './stage.ts';
import type { State } from './state.ts';

const list = (stages: readonly StageRecord[]) =>
  `${stages.length > 1 ? 'stages' : 'stage'} ${stages.map((stage) => stage.index).join(', ')}`;

/** Why `stage` gets nothing done at the moment, or null when it has work under way. */
export function stageReason(state: State, stage: StageRecord): Reason | null {
  const { index, version } = stage;
  if (stage.phase === 'complete') return { code: 'COMPLETE', message: 'The run has reached its last step.' };
  if (stage.phase === 'merging') {
    const { size } = stage.merge.collecting;
    if (stage.applying) return { code: 'MERGING', message: `Stage ${index} applies what came of step ${version - 1}.` };
    if (stage.merge.summed && state.config.clip === 'global') {
      const others = state.stages.filter((other) => other.version === version && !other.merge.summed);
      if (others.length > 0)
        return { code: 'MERGING', message: `Stage ${index} waits for the gradient norm of ${list(others)} in step ${version}.` };
    }
    const what = size > 0 ? `collecting the gradients of ${size} miner${size > 1 ? 's' : ''}` : adding(stage);
    return { code: 'MERGING', message: `Stage ${index} is ${what} of step ${version}.` };
  }
  const empty = state.stages.filter((other) => other.phase !== 'complete' && state.crews[other.index]!.staff === 0);
  if (empty.length > 0) {
    const missing = empty.length === 1 ? 'one more miner starts the run' : `${empty.length} more miners start the run`;
    return { code: 'STAGE_EMPTY', message: `No miner holds ${list(empty)} yet; ${missing}.` };
  }
  const step = state.stepOf(stage);
  if (!step) {
    const behind = state.stages.filter((other) => other.version < version);
    return { code: 'OTHER_STAGES', message: `Step ${version} starts when ${list(behind)} has finished step ${version - 1}.` };
  }
  let inputMissing = false;
  let heldBack = false;
  for (const flow of step.flows) {
    const { forward, backward } = flow.cells[index]!;
    for (const [slot, task] of [
      ['forward', forward],
      ['backward', backward],
    ] as const) {
      if (task && !isSettled(task) && task.forfeits.length >= LIMITS.forfeitsPerTask)
        return {
          code: 'USELESS',
          message: `Microbatch ${flow.microbatch} is useless in whosever hands, and no more may be left out of step ${version}.`,
        };
      if (task?.state === 'leased') return null;
      if (task?.state !== 'ready') continue;
      if (!isHeldBack(state, step, stage, flow, slot)) return whyNobody(state.crews[index]!);
      heldBack = true;
    }
    const first: Task = (forward ?? backward)!;
    inputMissing ||= first.state === 'blocked';
  }
  if (heldBack)
    return { code: 'PIPELINE_FULL', message: `${step.underWay} microbatches are under way; stage 0 starts the next when one is done.` };
  if (step.settledAt(index)) return { code: 'MERGING', message: `Stage ${index} waits for the last gradients of step ${version}.` };
  return inputMissing
    ? { code: 'UPSTREAM', message: `Waiting for activations from stage ${index - 1}.` }
    : { code: 'DOWNSTREAM', message: `Waiting for gradients from stage ${index + 1}.` };
}

function adding({ merge: { butterfly } }: StageRecord): string {
  if (butterfly?.phase !== 'reducing') return 'adding up the gradients';
  const { shards } = butterfly.view;
  return `adding up the gradients (${shards.filter(({ settled }) => settled !== null).length} of ${shards.length} shards)`;
}

/** Why nobody takes what is ready; null when it will be granted. */
function whyNobody({ stage: { index }, fit, members }: Crew): Reason | null {
  if (fit > 0) return null;
  const fetching = [...members.values()].some((miner) => miner.phase !== 'ready');
  return fetching
    ? { code: 'LOADING', message: `The miners of stage ${index} are still fetching it.` }
    : { code: 'RESTING', message: `The miners of stage ${index} are away or at rest.` };
}

/** Why a miner has no lease. */
export function minerReason(state: State, miner: MinerRecord, ofStage: Reason | null): Reason {
  const stage = state.stageOf(miner);
  if (stage.phase !== 'complete' && miner.bannedUntil > state.now) {
    const { code, message } = state.credits.get(miner.id)!.banned!;
    return { code, message: `No leases for a while: ${message}.` };
  }
  if (miner.restUntil > state.now) return { code: 'RESTING', message: 'This miner asked for a rest.' };
  if (miner.phase === 'loading') return { code: 'LOADING', message: `Stage ${stage.index} is being fetched.` };
  if (miner.phase === 'applying') return { code: 'APPLYING', message: `The merge of step ${miner.version} is being applied.` };
  if (ofStage) return ofStage;
  if (miner.kept >= LIMITS.keptInputs)
    return { code: 'DOWNSTREAM', message: `It keeps ${miner.kept} inputs and waits for their gradients from stage ${stage.index + 1}.` };
  return { code: 'OTHER_MINERS', message: `The other miners of stage ${stage.index} have the rest of step ${stage.version}.` };
}

/** When a wait ends, where that is known. */
function endOf(miner: MinerRecord, code: ReasonCode): number | null {
  if (code === 'BANNED' || code === 'BANNED_WRONG') return miner.bannedUntil;
  return code === 'RESTING' ? miner.restUntil : null;
}

/** Tells every miner without a lease why, when the reason has changed. */
export function explainWaits(state: State): void {
  const reasons = state.stages.map((stage) => stageReason(state, stage));
  for (const miner of state.miners.values()) {
    if (!miner.connected || miner.leases.size > 0) continue;
    const { code, message } = minerReason(state, miner, reasons[miner.stage]!);
    const until = endOf(miner, code);
    if (miner.waiting?.message === message && miner.waiting.until === until) continue;
    const since = miner.waiting?.code === code ? miner.waiting.since : state.now;
    miner.waiting = { code, message, since, until };
    state.emit({ type: 'wait', minerId: miner.id, reason: { code, message }, since, until });
  }
}

/** Backward passes of training microbatches settled at `stage`, of how many. */
export function progressOf(state: State, stage: StageRecord): { done: number; total: number } {
  let done = 0;
  let total = 0;
  for (const flow of state.flowsOf(stage)) {
    if (flow.purpose !== 'train') continue;
    total += 1;
    if (isSettled(flow.cells[stage.index]!.backward!)) done += 1;
  }
  return { done, total };
}
