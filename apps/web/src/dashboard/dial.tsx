import type { RunSnapshot, StepPoint } from '@starling/protocol';
import { stepPace } from '../chart-data.ts';
import { plural, roughly } from '../format.ts';
import { onThisClock } from '../server-clock.ts';
import { underWay } from './under-way.ts';

const RADIUS = 30;
const AROUND = 2 * Math.PI * RADIUS;

/** The step under way: how far it is, in which phase, and about how long it will take yet. */
export function Dial({ run, points, now }: { run: RunSnapshot; points: StepPoint[]; now: number }) {
  const { step, share, phase } = underWay(run);
  const pace = stepPace(points);
  const since = onThisClock(points.at(-1)?.time ?? run.startedAt);
  const left = run.phase === 'training' && pace !== null ? pace - (now - since) : null;
  return (
    <div className="dial" role="img" aria-label={`Step ${step}: ${phase}, ${Math.round(100 * share)} % of its microbatches are done`}>
      <svg viewBox="-36 -36 72 72" aria-hidden="true">
        <circle r={RADIUS} className="dial-all" />
        <circle r={RADIUS} className="dial-done" strokeDasharray={`${share * AROUND} ${AROUND}`} transform="rotate(-90)" />
        <text y="5">{Math.round(100 * share)}%</text>
      </svg>
      <p>
        <b>{phase}</b>
        <span className="muted">{phase === 'complete' ? plural(step, 'step') : whenOver(left)}</span>
      </p>
    </div>
  );
}

const whenOver = (left: number | null) => (left === null ? 'no pace yet' : left > 0 ? `about ${roughly(left)} left` : 'any moment');
