/** A small chart of bars, by name: for few values that change rarely. What grows with the run is in chart.tsx. */
import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts';
import { textScale } from '../text-scale.ts';

export interface BarsProps {
  /** What a screen reader hears; the numbers are in a table beside it. */
  label: string;
  rows: readonly { name: string; values: readonly number[] }[];
  /** One of each in every row. */
  series: readonly { name: string; color: string }[];
  format: (value: number) => string;
}

const TEXT = { fill: 'var(--ink-2)', fontSize: '1.2rem' };

export default function Bars({ label, rows, series, format }: BarsProps) {
  const data = rows.map(({ name, values }) => ({ name, ...Object.fromEntries(values.map((value, i) => [`v${i}`, value])) }));
  return (
    <div role="img" aria-label={label} className="bars">
      <ResponsiveContainer>
        <BarChart data={data} accessibilityLayer={false} margin={{ top: 4, right: 4, bottom: 0, left: 0 }}>
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis dataKey="name" tick={TEXT} tickLine={false} stroke="var(--line)" interval="preserveStartEnd" />
          <YAxis tick={TEXT} tickLine={false} axisLine={false} width={56 * textScale()} tickFormatter={format} />
          <Tooltip
            cursor={{ fill: 'var(--line)', opacity: 0.4 }}
            contentStyle={{ background: 'var(--card)', border: '1px solid var(--line)', color: 'var(--ink)' }}
            formatter={(value) => format(Number(value))}
            isAnimationActive={false}
          />
          {series.length > 1 && <Legend wrapperStyle={{ fontSize: '1.2rem' }} />}
          {series.map(({ name, color }, i) => (
            <Bar key={name} dataKey={`v${i}`} name={name} fill={color} isAnimationActive={false} maxBarSize={28} />
          ))}
        </BarChart>
      </ResponsiveContainer>
    </div>
  );
}
