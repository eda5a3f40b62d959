import type { RunSnapshot, StepPoint } from '@starling/protocol';
import { stepPace } from '../chart-data.ts';
import { roughly } from '../format.ts';
import { onThisClock } from '../server-clock.ts';

const RADIUS = 30;
const AROUND = 2 * Math.PI * RADIUS;

/** The step under way: how far it is, in which phase, and about how long it will take yet. */
export function Dial({ run, points, now }: { run: RunSnapshot; points: StepPoint[]; now: number }) {
  const behind = run.stages.filter(({ version }) => version === run.step);
  const done = behind.reduce((sum, stage) => sum + stage.done, 0);
  const total = behind.reduce((sum, stage) => sum + stage.total, 0);
  const share = run.phase === 'complete' ? 1 : total > 0 ? Math.min(1, done / total) : 0;
  const merging = behind.length > 0 && behind.every(({ phase }) => phase === 'merging');
  const phase = run.phase !== 'training' ? run.phase : merging ? 'merging' : 'computing';
  const pace = stepPace(points);
  const since = onThisClock(points.at(-1)?.time ?? run.startedAt);
  const left = run.phase === 'training' && pace !== null ? pace - (now - since) : null;
  return (
    <div
      className="dial"
      role="img"
      aria-label={`Step ${run.step + 1}: ${phase}, ${Math.round(100 * share)} % of its microbatches are done`}
    >
      <svg viewBox="-36 -36 72 72" aria-hidden="true">
        <circle r={RADIUS} className="dial-all" />
        <circle r={RADIUS} className="dial-done" strokeDasharray={`${share * AROUND} ${AROUND}`} transform="rotate(-90)" />
        <text y="5">{Math.round(100 * share)}%</text>
      </svg>
      <p>
        <b>{phase}</b>
        <span className="muted">{left === null ? 'no pace yet' : left > 0 ? `about ${roughly(left)} left` : 'any moment'}</span>
      </p>
    </div>
  );
}
