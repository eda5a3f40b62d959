import { type RunSnapshot, type StepPoint, thinning } from '@starling/protocol';
import { useMemo, useState } from 'react';
import { ALL, byteSteps, column, lossColumns, type Range, stageColumns, type XAxis } from '../chart-data.ts';
import { bytes, compact, count, loss, small, took } from '../format.ts';
import { Choice, type Option } from '../parts.tsx';
import { Chart, type Line } from './chart.tsx';
import { RangeFields } from './range-fields.tsx';

const AXES: Option<XAxis>[] = [
  { value: 'step', label: 'Step' },
  { value: 'tokens', label: 'Tokens' },
  { value: 'time', label: 'Time' },
];
const SCALES: Option<'linear' | 'log'>[] = [
  { value: 'linear', label: 'Linear' },
  { value: 'log', label: 'Log' },
];

const LOSS: Line[] = [
  { label: 'training', color: 'var(--faint)', width: 1, unlisted: true },
  { label: 'training', color: 'var(--violet)', width: 2 },
  { label: 'validation', color: 'var(--green)', width: 2, sparse: true },
];
const RATE: Line[] = [{ label: 'tokens per second', color: 'var(--violet)', width: 1.5 }];
const USE: Line[] = [{ label: 'utilisation', color: 'var(--violet)', width: 1.5 }];
const TRAFFIC: Line[] = [{ label: 'bytes per token', color: 'var(--violet)', width: 1.5 }];
const LEARNING: Line[] = [{ label: 'learning rate', color: 'var(--violet)', width: 1.5 }];

/** From the first stage's colour to the last one's. */
const stageColor = (stage: number, stages: number) =>
  `color-mix(in oklch, var(--green) ${stages > 1 ? Math.round((stage / (stages - 1)) * 100) : 0}%, var(--violet))`;

export function Curves({ run, points }: { run: RunSnapshot; points: StepPoint[] }) {
  const [axis, setAxis] = useState<XAxis>('step');
  const [scale, setScale] = useState<'linear' | 'log'>('linear');
  const [range, setRange] = useState<Range>(ALL);
  const [smoothing, setSmoothing] = useState(0.6);
  const { startedAt } = run;
  const stages = run.stages.length;

  const losses = useMemo(() => lossColumns(points, axis, startedAt, smoothing), [points, axis, startedAt, smoothing]);
  const rates = useMemo(() => column(points, axis, startedAt, 'tokensPerSecond'), [points, axis, startedAt]);
  const learning = useMemo(() => column(points, axis, startedAt, 'learningRate'), [points, axis, startedAt]);
  const use = useMemo(() => column(points, axis, startedAt, 'utilisation'), [points, axis, startedAt]);
  const traffic = useMemo(() => column(points, axis, startedAt, 'bytesPerToken'), [points, axis, startedAt]);
  const indices = useMemo(() => Array.from({ length: stages }, (_, stage) => stage), [stages]);
  const norms = useMemo(() => stageColumns(points, axis, startedAt, indices, 'gradientNorms'), [points, axis, startedAt, indices]);
  const compute = useMemo(() => stageColumns(points, axis, startedAt, indices, 'computeMs'), [points, axis, startedAt, indices]);
  const pace = useMemo(() => stageColumns(points, axis, startedAt, indices, 'stageTokensPerSecond'), [points, axis, startedAt, indices]);
  const queue = useMemo(() => stageColumns(points, axis, startedAt, indices, 'queue'), [points, axis, startedAt, indices]);
  const stageLines = useMemo(
    () => indices.map((stage): Line => ({ label: `stage ${stage}`, color: stageColor(stage, stages), width: 1.25 })),
    [indices, stages],
  );
  const thin = points.length > 0 ? thinning(points[0]!.step, points.at(-1)!.step) : null;
  const common = { axis, range, onRange: setRange, empty: 'The first point comes when step 1 closes.' };

  const change = (next: XAxis) => {
    setAxis(next);
    // Its numbers mean something else on another axis.
    setRange(ALL);
  };

  return (
    <section className="panel curves" aria-labelledby="curves">
      <div className="panel-head">
        <h2 id="curves">Curves</h2>
        <div className="curve-controls">
          <label className="smoothing">
            Smoothing
            <input
              type="range"
              min="0"
              max="0.98"
              step="0.02"
              value={smoothing}
              onChange={(event) => setSmoothing(event.target.valueAsNumber)}
            />
          </label>
          <Choice name="scale" legend="Loss axis" options={SCALES} value={scale} onChange={setScale} />
          <Choice name="axis" legend="Horizontal axis" options={AXES} value={axis} onChange={change} />
          <RangeFields axis={axis} x={losses[0]} range={range} onRange={setRange} />
        </div>
      </div>
      {thin && (
        <p className="hint">
          Of the steps before {count(thin.before)} one in {count(thin.every)} is shown, and written as CSV; of the newer ones every one.
        </p>
      )}
      <div className="chart-large">
        <Chart title="Loss, nats per token" data={losses} lines={LOSS} {...common} log={scale === 'log'} cutsSpikes format={loss} />
      </div>
      <div className="chart-row">
        <Chart title="Tokens per second" data={rates} lines={RATE} {...common} format={compact} />
        <Chart title="Learning rate" data={learning} lines={LEARNING} {...common} format={small} />
        <Chart title="Gradient norm by stage" data={norms} lines={stageLines} {...common} format={norm} />
      </div>
      <div className="chart-row">
        <Chart title="Utilisation of the miners" data={use} lines={USE} {...common} format={percent} />
        <Chart title="Server bytes per token" data={traffic} lines={TRAFFIC} {...common} steps={byteSteps} format={size} />
        <Chart title="Lease time by stage" data={compute} lines={stageLines} {...common} format={duration} />
      </div>
      <div className="chart-row">
        <Chart title="Tokens per second while each stage works" data={pace} lines={stageLines} {...common} format={compact} />
        <Chart title="Queue of ready tasks, by stage" data={queue} lines={stageLines} {...common} format={tasks} />
      </div>
    </section>
  );
}

const percent = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(0)} %`);
const size = (value: number | null) => (value === null ? '–' : bytes(value));
const duration = (value: number | null) => (value === null ? '–' : took(value));
const tasks = (value: number | null) => (value === null ? '–' : value.toFixed(1));
const norm = (value: number | null) => (value === null ? '–' : value.toPrecision(3));
