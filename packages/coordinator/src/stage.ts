import type { StagePhase } from '@starling/protocol';
import type { Cell, Flow } from './flow.ts';
import { LeaseTimes } from './times.ts';
import type { Contributed } from './types.ts';

/** One stage's progress: which step it works on, and who has handed in what. `version` = steps applied so far. */
export interface StageRecord {
  index: number;
  version: number;
  parameterHash: string;
  phase: Exclude<StagePhase, 'waiting'>;
  /** Accepted gradient sums of the present step. */
  contributions: Contributed[];
  /** Asked for a gradient, and over which microbatches; empty unless `merging`. */
  collecting: Map<string, number[]>;
  collectDeadline: number;
  times: LeaseTimes;
}

export function newStage(index: number, version: number, parameterHash: string): StageRecord {
  return {
    index,
    version,
    parameterHash,
    phase: 'training',
    contributions: [],
    collecting: new Map(),
    collectDeadline: 0,
    times: new LeaseTimes(),
  };
}

/** Microbatch numbers at `stage` whose accepted gradient is still only in `minerId`'s memory, ascending. */
export function uncontributed(flows: readonly Flow[], stage: number, minerId?: string): { flow: Flow; cell: Cell }[] {
  return flows
    .filter((flow) => flow.purpose === 'train')
    .map((flow) => ({ flow, cell: flow.cells[stage]! }))
    .filter(({ cell }) => cell.backward?.state === 'done' && !cell.contributed)
    .filter(({ cell }) => minerId === undefined || cell.backward?.minerId === minerId);
}

/** Backward passes accepted at `stage`, of how many. */
export function progressOf(flows: readonly Flow[], stage: number): { done: number; total: number } {
  const training = flows.filter((flow) => flow.purpose === 'train');
  return { done: training.filter((flow) => flow.cells[stage]!.backward!.state === 'done').length, total: training.length };
}
