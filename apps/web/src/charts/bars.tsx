/** A small chart of bars, by name: for few values that change rarely. What grows with the run is in chart.tsx. */
import { useState } from 'react';
import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts';
import { textScale } from '../text-scale.ts';
import { wholeTicks } from './whole-ticks.ts';

export interface BarsProps {
  /** What a screen reader hears; the numbers are in a table beside it. */
  label: string;
  rows: readonly { name: string; values: readonly number[] }[];
  /** One of each in every row. */
  series: readonly { name: string; color: string }[];
  format: (value: number) => string;
}

const TEXT = { fill: 'var(--ink-2)', fontSize: '1.2rem' };
/** Pixels, as wide as most characters of that text are. */
const CHARACTER = 7;
const VALUES = 56;
/** Characters of a name that stands on end. */
const LONGEST = 14;

export default function Bars({ label, rows, series, format }: BarsProps) {
  const [width, setWidth] = useState(Number.POSITIVE_INFINITY);
  const data = rows.map(({ name, values }) => ({ name, ...Object.fromEntries(values.map((value, i) => [`v${i}`, value])) }));
  const ticks = wholeTicks(Math.max(0, ...rows.flatMap(({ values }) => values)));
  const scale = textScale();
  const longest = Math.max(0, ...rows.map(({ name }) => name.length));
  // Every bar has its name: where names have no room beside each other, they stand on end.
  const standing = (longest + 1) * CHARACTER * scale * rows.length > width - VALUES * scale;
  const shown = standing ? Math.min(longest, LONGEST) : longest;
  const names = standing
    ? { angle: -90, textAnchor: 'end' as const, dy: -4 * scale, dx: -6 * scale, height: (shown * CHARACTER + 8) * scale }
    : { height: 24 * scale };
  return (
    <div role="img" aria-label={label} className="bars">
      <ResponsiveContainer onResize={setWidth}>
        <BarChart data={data} accessibilityLayer={false} margin={{ top: 4, right: 4, bottom: 0, left: 0 }}>
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="name"
            {...{ tick: TEXT, tickLine: false, stroke: 'var(--line)', interval: 0 }}
            {...names}
            tickFormatter={(name: string) => (name.length > shown ? `${name.slice(0, shown - 1)}…` : name)}
          />
          <YAxis
            {...{ tick: TEXT, tickLine: false, axisLine: false, width: VALUES * scale }}
            {...{ ticks, domain: [0, ticks.at(-1)!], tickFormatter: format }}
          />
          <Tooltip
            cursor={{ fill: 'var(--line)', opacity: 0.4 }}
            contentStyle={{ background: 'var(--card)', border: '1px solid var(--line)', color: 'var(--ink)' }}
            formatter={(value) => format(Number(value))}
            isAnimationActive={false}
          />
          {/* In the order of the bars, not of the alphabet. */}
          {series.length > 1 && <Legend itemSorter={null} wrapperStyle={{ fontSize: '1.2rem' }} />}
          {series.map(({ name, color }, i) => (
            <Bar key={name} dataKey={`v${i}`} name={name} fill={color} isAnimationActive={false} maxBarSize={28} />
          ))}
        </BarChart>
      </ResponsiveContainer>
    </div>
  );
}
