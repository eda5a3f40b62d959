import 'uplot/dist/uPlot.min.css';
import { useEffect, useEffectEvent, useRef, useState } from 'react';
import uPlot from 'uplot';
import { ALL, type Columns, logTicks, type Range, rowsOf, shownOf, valueAt, type XAxis } from '../chart-data.ts';
import { csvOf } from '../csv.ts';
import { compact, count, elapsed } from '../format.ts';
import { save } from '../save.ts';
import { textScale } from '../text-scale.ts';
import { onTheme } from '../theme.ts';

export interface Line {
  label: string;
  /** Any CSS colour, also `var(--…)`: it is looked up again whenever the theme changes. */
  color: string;
  width: number;
  /** Few values far apart: marked by dots. */
  sparse?: boolean;
  /** Drawn, but not in the legend. */
  unlisted?: boolean;
}

export interface ChartProps {
  title: string;
  /** `[x, y…]`, one column per line. */
  data: Columns;
  lines: readonly Line[];
  axis: XAxis;
  /** What of the axis is shown, the same in all charts of a page; dragging asks for another. */
  range: Range;
  onRange: (range: Range) => void;
  log?: boolean;
  format: (value: number | null) => string;
  /** What to say while there is nothing to draw. */
  empty: string;
}

/** One uPlot for as long as its lines and axes stay the same; data, size and theme only redraw it. */
export function Chart({ title, data, lines, axis, range, onRange, log = false, format, empty }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const [cursor, setCursor] = useState<number | null>(null);

  const show = useEffectEvent(() => {
    const u = plot.current!;
    const shown = shownOf(data[0], range);
    u.batch(() => {
      u.setData(data as uPlot.AlignedData, shown === null);
      if (shown) u.setScale('x', { min: shown[0], max: shown[1] });
      // What was dragged over, in whichever chart, is what is shown now.
      u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    });
  });
  const dragged = useEffectEvent(onRange);

  useEffect(() => {
    const element = box.current!;
    const size = () => ({ width: element.clientWidth, height: element.clientHeight });
    const u = new uPlot(
      { ...options(element, lines, axis, log, format, (range) => dragged(range), setCursor), ...size() },
      undefined,
      element,
    );
    plot.current = u;
    show();
    const resized = new ResizeObserver(() => u.setSize(size()));
    resized.observe(element);
    const forget = onTheme(() => u.redraw(false));
    return () => {
      forget();
      resized.disconnect();
      u.destroy();
    };
  }, [lines, axis, log, format]);

  useEffect(show, [data, range]);

  const index = cursor ?? data[0].length - 1;
  const values = (line: number) => valueAt(data[line + 1], index);
  return (
    <figure className="chart">
      <figcaption>
        <h3>{title}</h3>
        <ul className="legend">
          {lines.map(
            (line, i) =>
              !line.unlisted && (
                <li key={line.label}>
                  <i style={{ background: line.color }} />
                  {lines.length > 1 && <span>{line.label}</span>}
                  <b>{format(values(i))}</b>
                </li>
              ),
          )}
        </ul>
        <span className="chart-x">{cursor !== null && X_FORMATS[axis].full(data[0][cursor])}</span>
        <span className="chart-save">
          <button
            type="button"
            title={`Save ${title} as CSV`}
            aria-label={`Save ${title} as CSV`}
            disabled={data[0].length === 0}
            onClick={() =>
              save(
                new Blob([csvOf([axis, ...lines.map(({ label, unlisted }) => (unlisted ? `${label} (raw)` : label))], rowsOf(data))], {
                  type: 'text/csv',
                }),
                `${fileName(title)}.csv`,
              )
            }
          >
            CSV
          </button>
          <button
            type="button"
            title={`Save ${title} as PNG`}
            aria-label={`Save ${title} as PNG`}
            disabled={data[0].length === 0}
            onClick={() => plot.current && savePicture(plot.current.ctx.canvas, box.current!, `${fileName(title)}.png`)}
          >
            PNG
          </button>
        </span>
      </figcaption>
      <div
        className="chart-box"
        ref={box}
        role="img"
        title="Drag to zoom, double-click to see all"
        aria-label={`${title}: ${lines.map((line, i) => `${line.label} ${format(values(i))}`).join(', ')}`}
      />
      {data[0].length === 0 && <p className="chart-empty empty">{empty}</p>}
    </figure>
  );
}

const fileName = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

/** As it is seen: the canvas itself is transparent. */
function savePicture(canvas: HTMLCanvasElement, element: HTMLElement, name: string): void {
  const picture = document.createElement('canvas');
  picture.width = canvas.width;
  picture.height = canvas.height;
  const context = picture.getContext('2d')!;
  context.fillStyle = getComputedStyle(element.closest('.panel') ?? element).backgroundColor;
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(canvas, 0, 0);
  picture.toBlob((blob) => blob && save(blob, name), 'image/png');
}

const X_FORMATS: Record<XAxis, { short: (x: number) => string; full: (x: number) => string }> = {
  step: { short: (x) => trimmed(compact(x)), full: (x) => `step ${count(x)}` },
  tokens: { short: (x) => trimmed(compact(x)), full: (x) => `${compact(x)} tokens` },
  time: { short: (x) => elapsed(x * 1000), full: (x) => `${elapsed(x * 1000)} since the start` },
};

/** Splits for elapsed time: seconds, minutes and hours that a clock would show. */
const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000,
];

function options(
  element: HTMLElement,
  lines: readonly Line[],
  axis: XAxis,
  log: boolean,
  format: (value: number | null) => string,
  onRange: (range: Range) => void,
  onCursor: (index: number | null) => void,
): Omit<uPlot.Options, 'width' | 'height'> {
  const color = (name: string) => () => resolve(element, name);
  const scale = textScale();
  const look = {
    stroke: color('var(--ink-3)'),
    font: `${11 * scale}px system-ui, sans-serif`,
    grid: { stroke: color('var(--grid)'), width: 1 },
    ticks: { show: false },
  };
  return {
    legend: { show: false },
    padding: [8, 10, 0, 0],
    cursor: {
      // The range comes back from the page: only the cursor is told to the others directly.
      sync: { key: 'run', filters: { pub: (type) => type === 'mousemove' || type === 'mouseleave', sub: () => true } },
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false },
    },
    scales: {
      x: { time: false },
      y: log ? { distr: 3, range: (_u, low, high) => [low * 0.97, high * 1.03] } : {},
    },
    axes: [
      {
        ...look,
        size: 26 * scale,
        space: 52 * scale,
        values: (_u, splits) => splits.map(X_FORMATS[axis].short),
        ...(axis === 'time' ? { incrs: TIME_STEPS } : { incrs: WHOLE_STEPS }),
      },
      {
        ...look,
        size: 52 * scale,
        space: 28 * scale,
        values: (_u, splits) => splits.map((y) => trimmed(format(y))),
        ...(log && {
          splits: (_u: uPlot, _axis: number, low: number, high: number) => logTicks(low, high),
          filter: (_u: uPlot, splits: number[]) => splits,
        }),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: line.width,
        spanGaps: line.sparse ?? false,
        points: { show: line.sparse ?? false, size: 5, fill: color(line.color) },
      })),
    ],
    hooks: {
      setCursor: [(u) => onCursor(u.cursor.idx ?? null)],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          const unit = axis === 'time' ? 10 : 1;
          onRange({
            from: Math.floor(unit * u.posToVal(left, 'x')) / unit,
            to: Math.ceil(unit * u.posToVal(left + width, 'x')) / unit,
          });
        },
      ],
      ready: [(u) => u.over.addEventListener('dblclick', () => onRange(ALL))],
    },
  };
}

/** Steps and tokens are whole numbers. */
const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((mantissa) => mantissa * 10 ** power)).flat();

/** Axis labels without the zeros that only fill: `2.500` → `2.5`, `3.00e-4` → `3e-4`. */
const trimmed = (text: string) => text.replace(/(\.\d*?)0+(?=\D|$)/, '$1').replace(/\.(?=\D|$)/, '');

/** The colour as a canvas understands it, for the theme of this moment. */
function resolve(element: HTMLElement, color: string): string {
  element.style.color = color;
  return getComputedStyle(element).color;
}
