import '../styles/dashboard.css';
import { Curves } from '../charts/curves.tsx';
import { elapsed } from '../format.ts';
import { useLive } from '../live.ts';
import type { Live } from '../live-state.ts';
import { Bird } from '../marks.tsx';
import { useMiner } from '../mine/mining.ts';
import { Network } from '../network/network.tsx';
import { useNow } from '../now.ts';
import { Notice } from '../parts.tsx';
import { Link } from '../router.tsx';
import { Counts } from './counts.tsx';
import { Headline } from './headline.tsx';
import { RunLog } from './run-log.tsx';
import { Stages } from './stages.tsx';

export default function DashboardPage() {
  const live = useLive();
  if (!live.run) return <NoRun live={live} />;
  return (
    <div className={`dashboard ${live.connection === 'lost' ? 'stale' : ''}`}>
      <h1 className="visually-hidden">Dashboard</h1>
      <Situation live={live} />
      <Headline run={live.run} points={live.points} />
      <Network run={live.run} moves="live" />
      <Curves run={live.run} points={live.points} />
      <RunLog events={live.events} />
      <Counts counters={live.run.counters} />
      <Stages run={live.run} />
    </div>
  );
}

/** One banner for whatever keeps the run from training, with what to do. */
function Situation({ live }: { live: Live }) {
  const mining = useMiner() !== null;
  const run = live.run!;
  if (live.connection === 'lost') {
    return (
      <Notice tone="wait" title="Reconnecting.">
        {' '}
        <span>The server cannot be reached; what you see is its last word. This page tries again by itself and catches up.</span>{' '}
        <Since time={live.since} />
      </Notice>
    );
  }
  if (run.phase === 'complete') {
    return (
      <Notice tone="work" title="The run is complete.">
        {' '}
        <span>The curves stay here. Miners may leave; the server holds the finished model.</span>
      </Notice>
    );
  }
  const wait = run.reason;
  if (wait) {
    return (
      <Notice
        tone="wait"
        title="The run waits."
        action={
          !mining && (
            <Link to="/" className="button">
              Mine in this tab
            </Link>
          )
        }
      >
        {' '}
        <span>
          {wait.message} <span className="hint">{wait.remedy}</span> <code className="code">{wait.code}</code>
        </span>
      </Notice>
    );
  }
  return null;
}

/** Before the first snapshot there is nothing to show but how it stands. */
function NoRun({ live }: { live: Live }) {
  const lost = live.connection === 'lost';
  return (
    <div className="no-run" role="status">
      <Bird />
      <h1>{lost ? 'The server cannot be reached' : 'Connecting to the run'}</h1>
      <p className="muted">
        {lost
          ? 'This page tries again by itself. If it goes on: check the network here, or ask the operator whether the server runs.'
          : 'The first snapshot is on its way.'}
      </p>
      <Since time={live.since} />
    </div>
  );
}

/** Counts up for the eye only: a screen reader would hear every second of it. */
function Since({ time }: { time: number }) {
  const now = useNow();
  return (
    <span className="muted" aria-hidden="true">
      {elapsed(now - time)}
    </span>
  );
}
