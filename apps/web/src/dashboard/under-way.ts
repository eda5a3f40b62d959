import type { RunSnapshot } from '@starling/protocol';

/** The step under way. A stage that has already merged it computes the next one, and has no say. */
export function underWay(run: Pick<RunSnapshot, 'step' | 'phase' | 'stages'>): { share: number; phase: string } {
  const behind = run.stages.filter(({ version }) => version === run.step);
  const done = behind.reduce((sum, stage) => sum + stage.done, 0);
  const total = behind.reduce((sum, stage) => sum + stage.total, 0);
  const share = run.phase === 'complete' ? 1 : total > 0 ? Math.min(1, done / total) : 0;
  const merging = behind.length > 0 && behind.every(({ phase }) => phase === 'merging');
  return { share, phase: run.phase !== 'training' ? run.phase : merging ? 'merging' : 'computing' };
}
