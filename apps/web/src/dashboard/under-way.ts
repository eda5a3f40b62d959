import type { RunSnapshot, StageView } from '@starling/protocol';

/** The step under way, counted from 1; of a run that is complete the last. A stage that has already merged it computes the next one, and has no say. */
export function underWay(run: Pick<RunSnapshot, 'step' | 'phase' | 'stages'>): { step: number; share: number; phase: string } {
  const behind = run.stages.filter(({ version }) => version === run.step);
  const done = behind.reduce((sum, stage) => sum + stage.done, 0);
  const total = behind.reduce((sum, stage) => sum + stage.total, 0);
  const isComplete = run.phase === 'complete';
  const step = isComplete ? run.step : run.step + 1;
  const share = isComplete ? 1 : total > 0 ? Math.min(1, done / total) : 0;
  const merging = behind.length > 0 && behind.every(({ phase }) => phase === 'merging');
  return { step, share, phase: run.phase !== 'training' ? run.phase : merging ? 'merging' : 'computing' };
}

/** Microbatches that a stage has done of its step. One that is complete stands before a step that nobody will begin: it has done all. */
export const doneIn = ({ phase, done, total }: Pick<StageView, 'phase' | 'done' | 'total'>): number =>
  phase === 'complete' ? total : done;
