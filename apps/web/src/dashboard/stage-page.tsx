import '../styles/dashboard.css';
import type { MinerView } from '@starling/protocol';
import { useMemo, useState } from 'react';
import { ALL, type Range, stageColumns } from '../chart-data.ts';
import { Chart, type Line } from '../charts/chart.tsx';
import { RangeFields } from '../charts/range-fields.tsx';
import { bytes, compact, count, layers, plural, took, traffic } from '../format.ts';
import { useLive } from '../live.ts';
import { situation } from '../mine/activity.ts';
import { nameOf } from '../names.ts';
import { useNow } from '../now.ts';
import { onDemand, Part } from '../part.tsx';
import { Notice, Progress, Stat, Wait } from '../parts.tsx';
import { minerPath, stagePath } from '../paths.ts';
import { Link } from '../router.tsx';
import { TablePanel } from '../table.tsx';
import { doneIn } from './under-way.ts';

const Bars = onDemand(() => import('../charts/bars.tsx'));

const NORM: Line[] = [{ label: 'gradient norm', color: 'var(--violet)', width: 1.5 }];
const PACE: Line[] = [{ label: 'tokens per second', color: 'var(--violet)', width: 1.5 }];
const QUEUE: Line[] = [{ label: 'ready tasks that no miner has', color: 'var(--violet)', width: 1.5 }];
const COMPUTE: Line[] = [{ label: 'ms per lease', color: 'var(--violet)', width: 1.5 }];
const COLUMNS = [
  'Miner',
  'Does',
  'On',
  { number: 'Tokens/s' },
  { number: 'Leases' },
  { number: 'Counted' },
  { number: 'Refused' },
  { number: 'Version' },
];
/** Rows shown before somebody asks for all. */
const FIRST = 100;
const EMPTY = 'The first point comes when a step closes.';
// Outside, since a chart is made anew for another one.
const norm = (value: number | null) => (value === null ? '–' : value.toPrecision(3));
const duration = (value: number | null) => (value === null ? '–' : took(value));
const tasks = (value: number | null) => (value === null ? '–' : value.toFixed(1));

/** One stage: what it holds, what it waits for, who mines it, and how long that takes. */
export default function StagePage({ index }: { index: number }) {
  const { run, points } = useLive();
  const now = useNow();
  const stage = run?.stages[index];
  const startedAt = run?.startedAt ?? 0;
  const [range, setRange] = useState<Range>(ALL);
  const [all, setAll] = useState(false);
  const norms = useMemo(() => stageColumns(points, 'step', startedAt, [index], 'gradientNorms'), [points, startedAt, index]);
  const pace = useMemo(() => stageColumns(points, 'step', startedAt, [index], 'stageTokensPerSecond'), [points, startedAt, index]);
  const queue = useMemo(() => stageColumns(points, 'step', startedAt, [index], 'queue'), [points, startedAt, index]);
  const compute = useMemo(() => stageColumns(points, 'step', startedAt, [index], 'computeMs'), [points, startedAt, index]);
  if (!run) return <p className="empty page-loading">Asking for the run…</p>;
  if (!stage)
    return (
      <Notice tone="wait" title={`There is no stage ${index}.`}>
        <p>
          This run has {plural(run.stages.length, 'stage')}, from 0 on. <Link to="/dashboard">The dashboard shows them all.</Link>
        </p>
      </Notice>
    );
  const common = { axis: 'step', range, onRange: setRange, empty: EMPTY } as const;
  const shown = all ? stage.miners : stage.miners.slice(0, FIRST);
  const connected = stage.miners.filter((miner) => miner.connected);
  const merged = points.at(-1)?.mergeBytes?.[index];
  const rate = connected.reduce((sum, miner) => sum + miner.tokensPerSecond, 0);
  return (
    <div className="dashboard stage-page">
      <section className="panel headline" aria-labelledby="stage">
        <div className="headline-step">
          <h1 id="stage">
            Stage {index} <span className={`pill ${stage.phase === 'waiting' ? 'wait' : 'work'}`}>{stage.phase}</span>
          </h1>
          <p className="muted">
            {layers(stage.layers)} of {run.config.preset}, {compact(stage.parameters)} parameters · SHA-256{' '}
            <code title={stage.parameterHash}>{stage.parameterHash.slice(0, 16)}…</code>
          </p>
          <Progress done={doneIn(stage)} total={stage.total} label="Microbatches of this step" />
          <p className="muted">
            {run.phase === 'complete'
              ? `The run is complete: ${plural(stage.version, 'step')}.`
              : `${stage.done} of ${stage.total} microbatches of step ${count(stage.version)} are done here`}
          </p>
          {run.stages.length > 1 && (
            <p>
              {index > 0 && <Link to={stagePath(index - 1)}>stage {index - 1}</Link>}{' '}
              {index < run.stages.length - 1 && <Link to={stagePath(index + 1)}>stage {index + 1}</Link>}
            </p>
          )}
          <div className="stage-wait">{stage.reason && <Wait key={stage.reason.message} wait={stage.reason} />}</div>
        </div>
        <dl className="stats">
          <Stat label="Miners" value={count(connected.length)} note={`${count(stage.miners.length - connected.length)} disconnected`} />
          <Stat label="Tokens per second" value={compact(rate)} note="backwards that counted" />
          <Stat label="To come" value={count(stage.total - doneIn(stage))} note="microbatches of this step" />
          <Stat label="Leases" value={count(stage.leases)} note="held by miners now" />
          <Stat
            label="Last merge"
            value={merged ? bytes(merged.uploaded + merged.sent) : '–'}
            note={merged ? traffic(merged) : 'nothing is known of its bytes'}
            title="Gradients, and what came of them, through the server"
          />
        </dl>
      </section>
      <section className="panel curves" aria-labelledby="curves">
        <h2 id="curves" className="visually-hidden">
          Curves of the stage
        </h2>
        <RangeFields axis="step" x={pace[0]} range={range} onRange={setRange} />
        <div className="chart-row">
          <Chart title="Tokens per second while the stage works" data={pace} lines={PACE} {...common} format={compact} />
          <Chart title="Queue of ready tasks" data={queue} lines={QUEUE} {...common} format={tasks} />
        </div>
        <div className="chart-row">
          <Chart title="Gradient norm" data={norms} lines={NORM} {...common} format={norm} />
          <Chart title="Computing a lease" data={compute} lines={COMPUTE} {...common} format={duration} />
        </div>
      </section>
      <Shares miners={connected} />
      <TablePanel
        id="crew"
        title="Who holds it"
        caption={`Miners of stage ${index}`}
        columns={COLUMNS}
        empty={`Nobody holds this stage${stage.phase === 'complete' ? ', and nobody has to any more.' : ': training waits for a miner.'}`}
        after={
          shown.length < stage.miners.length && (
            <button type="button" className="quiet" onClick={() => setAll(true)}>
              Show all {count(stage.miners.length)}
            </button>
          )
        }
      >
        {shown.map((miner) => (
          <tr key={miner.id}>
            <th scope="row">
              <Link className="who" to={minerPath(miner.id)} title={nameOf(miner)}>
                {nameOf(miner)}
              </Link>
            </th>
            <td>{situation(miner, now).title}</td>
            <td>{miner.adapter}</td>
            <td className="number">{compact(miner.tokensPerSecond)}</td>
            <td className="number">{count(miner.leases)}</td>
            <td className="number">{count(miner.microbatches)}</td>
            <td className="number">{count(miner.rejected)}</td>
            <td className="number">{count(miner.version)}</td>
          </tr>
        ))}
      </TablePanel>
    </div>
  );
}

const SERIES = [{ name: 'tokens per second', color: 'var(--violet)' }];
/** Miners that are drawn: the quickest. */
const DRAWN = 16;

function Shares({ miners }: { miners: readonly MinerView[] }) {
  const quickest = miners.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond).slice(0, DRAWN);
  const rows = quickest.map((miner) => ({ name: nameOf(miner), values: [miner.tokensPerSecond] }));
  return (
    <section className="panel" aria-labelledby="quickest">
      <div className="panel-head">
        <h2 id="quickest">Who does how much</h2>
        <p className="muted">Tokens per second{miners.length > DRAWN ? `, the ${DRAWN} quickest` : ''}.</p>
      </div>
      <Part name="The chart" wait={<div className="bars" />}>
        <Bars label="Tokens per second by miner" rows={rows} series={SERIES} format={compact} />
      </Part>
    </section>
  );
}
