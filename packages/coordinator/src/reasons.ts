/** Why somebody waits, as a code and a sentence. Times are left out so that a reason stays the same while it holds. */
import type { Flow } from './flow.ts';
import type { MinerRecord } from './miner.ts';
import type { StageRecord } from './stage.ts';

export interface Reason {
  code: string;
  message: string;
}

const list = (stages: readonly StageRecord[]) =>
  `${stages.length > 1 ? 'stages' : 'stage'} ${stages.map((stage) => stage.index).join(', ')}`;

/** Why `stage` gets nothing done at the moment, or null when it has work under way. */
export function stageReason(
  stage: StageRecord,
  stages: readonly StageRecord[],
  flows: readonly Flow[],
  empty: readonly StageRecord[],
): Reason | null {
  if (stage.phase === 'complete') return { code: 'COMPLETE', message: 'The run has reached its last step.' };
  if (stage.phase === 'merging')
    return { code: 'MERGING', message: `Stage ${stage.index} is merging the gradients of step ${stage.version}.` };
  if (empty.length > 0) return { code: 'STAGE_EMPTY', message: `No miner holds ${list(empty)} yet; one more miner starts the run.` };
  if (flows.length === 0) {
    const behind = stages.filter((other) => other.version < stage.version);
    return { code: 'OTHER_STAGES', message: `Step ${stage.version} starts when ${list(behind)} has finished step ${stage.version - 1}.` };
  }
  const cells = flows.map((flow) => flow.cells[stage.index]!);
  const tasks = cells.flatMap((cell) => [cell.forward, cell.backward]).filter((task) => task !== null);
  if (tasks.some((task) => task.state === 'leased' || task.state === 'ready')) return null;
  const inputMissing = cells.some((cell) => (cell.forward ?? cell.backward)!.state === 'blocked');
  return inputMissing
    ? { code: 'UPSTREAM', message: `Waiting for activations from stage ${stage.index - 1}.` }
    : { code: 'DOWNSTREAM', message: `Waiting for gradients from stage ${stage.index + 1}.` };
}

/** Why a miner that could work has no lease. */
export function minerReason(miner: MinerRecord, stage: StageRecord, ofStage: Reason | null, now: number): Reason {
  if (miner.timedOutUntil > now && stage.phase !== 'complete') {
    return {
      code: 'TIMED_OUT',
      message: `Leases came back late ${miner.late} times in a row, so none is granted for a while. Close other heavy tabs; it goes on by itself.`,
    };
  }
  return ofStage ?? { code: 'OTHER_MINERS', message: `The other miners of stage ${stage.index} have the rest of step ${stage.version}.` };
}
