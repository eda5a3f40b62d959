import { useMemo } from 'react';
import { smooth, sparkline } from '../chart-data.ts';
import { compact, count, loss } from '../format.ts';
import { useLive } from '../live.ts';
import { Progress } from '../parts.tsx';
import { Link } from '../router.tsx';

const WIDTH = 320;
const HEIGHT = 72;
/** Enough to see the shape through the noise. */
const SMOOTHING = 0.8;

/** What all miners are making together, on one glance. */
export function SharedRun() {
  const { run, points, connection } = useLive();
  const path = useMemo(() => {
    const losses = points.map((point) => point.loss);
    return sparkline(smooth(losses, SMOOTHING), WIDTH, HEIGHT);
  }, [points]);
  const wait = run?.reason;
  const steps = run?.config.steps ?? 0;
  const miners = run?.stages.reduce((sum, stage) => sum + stage.miners.filter((miner) => miner.connected).length, 0) ?? null;
  return (
    <section className="panel shared" aria-labelledby="shared">
      <div className="panel-head">
        <h2 id="shared">The shared model</h2>
        <Link to="/dashboard">All curves</Link>
      </div>
      <div className="shared-loss">
        <div>
          <span className="big">{loss(run?.loss ?? null)}</span>
          <span className="muted"> {run && run.loss === null ? 'the first loss comes when step 1 closes' : 'loss, nats per token'}</span>
        </div>
        <svg viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} preserveAspectRatio="none" aria-hidden="true">
          <path d={path} fill="none" stroke="var(--violet)" strokeWidth="1.6" vectorEffect="non-scaling-stroke" strokeLinejoin="round" />
        </svg>
      </div>
      {run && steps > 0 && <Progress done={run.step} total={steps} label="Steps of the run" />}
      <p className="shared-note">
        {run
          ? `Step ${count(run.step)}${steps > 0 ? ` of ${count(steps)}` : ''} · ${
              run.phase === 'complete' ? 'the run is complete' : `${compact(run.tokensPerSecond)} tokens/s · ${count(miners)} mining`
            }`
          : waiting(connection)}
      </p>
      {wait && <p className="shared-wait">{wait.message}</p>}
    </section>
  );
}

const waiting = (connection: string) => (connection === 'lost' ? 'The server cannot be reached; trying again.' : 'Asking the server…');
