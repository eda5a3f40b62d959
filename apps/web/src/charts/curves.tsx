import type { RunSnapshot, StepPoint } from '@starling/protocol';
import { useMemo, useState } from 'react';
import { column, computeColumns, lossColumns, normColumns, type XAxis } from '../chart-data.ts';
import { bytes, compact, loss, small, took } from '../format.ts';
import { Choice, type Option } from '../parts.tsx';
import { Chart, type Line } from './chart.tsx';

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
  const [smoothing, setSmoothing] = useState(0.6);
  const { startedAt } = run;
  const stages = run.stages.length;

  const losses = useMemo(() => lossColumns(points, axis, startedAt, smoothing), [points, axis, startedAt, smoothing]);
  const rates = useMemo(() => column(points, axis, startedAt, 'tokensPerSecond'), [points, axis, startedAt]);
  const learning = useMemo(() => column(points, axis, startedAt, 'learningRate'), [points, axis, startedAt]);
  const norms = useMemo(() => normColumns(points, axis, startedAt, stages), [points, axis, startedAt, stages]);
  const use = useMemo(() => column(points, axis, startedAt, 'utilisation'), [points, axis, startedAt]);
  const traffic = useMemo(() => column(points, axis, startedAt, 'bytesPerToken'), [points, axis, startedAt]);
  const compute = useMemo(() => computeColumns(points, axis, startedAt, stages), [points, axis, startedAt, stages]);
  const normLines = useMemo(
    () => Array.from({ length: stages }, (_, i): Line => ({ label: String(i), color: stageColor(i, stages), width: 1.25 })),
    [stages],
  );
  const empty = 'The first point comes when step 1 closes.';

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
          <Choice name="axis" legend="Horizontal axis" options={AXES} value={axis} onChange={setAxis} />
        </div>
      </div>
      <div className="chart-large">
        <Chart title="Loss, nats per token" data={losses} lines={LOSS} axis={axis} log={scale === 'log'} format={loss} empty={empty} />
      </div>
      <div className="chart-row">
        <Chart title="Tokens per second" data={rates} lines={RATE} axis={axis} format={compact} empty={empty} />
        <Chart title="Learning rate" data={learning} lines={LEARNING} axis={axis} format={small} empty={empty} />
        <Chart title="Gradient norm by stage" data={norms} lines={normLines} axis={axis} format={norm} empty={empty} />
      </div>
      <div className="chart-row">
        <Chart title="Utilisation of the miners" data={use} lines={USE} axis={axis} format={percent} empty={empty} />
        <Chart title="Bytes per token, through the server" data={traffic} lines={TRAFFIC} axis={axis} format={size} empty={empty} />
        <Chart title="Computing a lease, by stage" data={compute} lines={normLines} axis={axis} format={duration} empty={empty} />
      </div>
    </section>
  );
}

const percent = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(0)} %`);
const size = (value: number | null) => (value === null ? '–' : bytes(value));
const duration = (value: number | null) => (value === null ? '–' : took(value));
const norm = (value: number | null) => (value === null ? '–' : value.toPrecision(3));
