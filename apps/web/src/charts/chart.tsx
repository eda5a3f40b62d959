import 'uplot/dist/uPlot.min.css';
import { type KeyboardEvent, useEffect, useEffectEvent, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import { ALL, type Columns, logTicks, type Range, rowsOf, shownOf, spikesOf, valueAt, type XAxis } from '../chart-data.ts';
import { csvOf } from '../csv.ts';
import { compact, count, elapsed } from '../format.ts';
import { save } from '../save.ts';
import { textScale } from '../text-scale.ts';
import { onTheme } from '../theme.ts';
import { inTurn } from './in-turn.ts';

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
  /** Single spikes leave the picture rather than flatten it, until they are asked for. */
  cutsSpikes?: boolean;
  /** Increments of the vertical axis whose largest value is `high`; absent: decimal ones. */
  steps?: (high: number) => number[];
  format: (value: number | null) => string;
  /** What to say while there is nothing to draw. */
  empty: string;
}

/** One uPlot for as long as its lines and axes stay the same; data, size and theme only redraw it. */
export function Chart({ title, data, lines, axis, range, onRange, log = false, cutsSpikes = false, steps, format, empty }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  const [whole, setWhole] = useState(false);
  const shown = useMemo(() => shownOf(data[0], range), [data, range]);
  const spikes = useMemo(
    () => (cutsSpikes ? spikesOf(data, ...(shown ?? ([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY] as const))) : null),
    [cutsSpikes, data, shown],
  );
  const top = spikes && !whole ? spikes.top : Number.POSITIVE_INFINITY;
  const ceiling = useRef(top);

  const show = useEffectEvent(() => {
    const u = plot.current!;
    ceiling.current = top;
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
      {
        ...options({ element, lines, axis, log, steps, format, ceiling, onRange: (range) => dragged(range), onCursor: setCursor }),
        ...size(),
      },
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
  }, [lines, axis, log, steps, format]);

  useEffect(() => inTurn(() => show()), [data, shown, top]);

  /** What the pointer does, by keyboard: from point to point, to the first and the last one that is shown, and away. */
  const onKeyDown = (event: KeyboardEvent) => {
    const u = plot.current!;
    const { min = 0, max = 0 } = u.scales.x!;
    const first = data[0].findIndex((x) => x >= min!);
    const last = data[0].findLastIndex((x) => x <= max!);
    const at = cursor ?? last + 1;
    const target = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: first, End: last, Escape: null }[event.key];
    if (target === undefined || first < 0 || last < first) return;
    event.preventDefault();
    if (target === null) return away();
    const x = data[0][Math.min(last, Math.max(first, target))]!;
    u.setCursor({ left: u.valToPos(x, 'x'), top: u.over.clientHeight / 2 });
  };
  const away = () => plot.current!.setCursor({ left: -10, top: -10 });

  const isShown = (x: number) => !shown || (x >= shown[0] && x <= shown[1]);
  const index = cursor ?? data[0].findLastIndex(isShown);
  const first = Math.max(0, data[0].findIndex(isShown));
  const values = (line: number) => valueAt(data[line + 1], index, first);
  const saveTable = () => {
    const head = lines.map(({ label, unlisted }) => (unlisted ? `${label} (raw)` : label));
    const rows = rowsOf(data).filter(([x]) => isShown(x!));
    save(new Blob([csvOf([axis, ...head], rows)], { type: 'text/csv' }), `${fileName(title)}.csv`);
  };
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
            onClick={saveTable}
          >
            CSV
          </button>
          <button
            type="button"
            title={`Save ${title} as PNG`}
            aria-label={`Save ${title} as PNG`}
            disabled={data[0].length === 0}
            onClick={() => plot.current && savePicture(plot.current.ctx.canvas, box.current!, title, lines)}
          >
            PNG
          </button>
        </span>
      </figcaption>
      <div className="chart-plot">
        <div
          className="chart-box"
          ref={box}
          role="img"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys go along its points.
          tabIndex={0}
          onKeyDown={onKeyDown}
          onBlur={away}
          title="Drag to zoom, double-click to see all; arrow keys go from point to point"
          aria-label={`${title}: ${lines.map((line, i) => `${line.label} ${format(values(i))}`).join(', ')}`}
        />
        {spikes && (
          <button type="button" className="chart-cut" onClick={() => setWhole(!whole)}>
            {whole ? 'Cut spikes off' : `Spikes up to ${format(spikes.highest)} are cut off: show them`}
          </button>
        )}
      </div>
      {data[0].length === 0 && <p className="chart-empty empty">{empty}</p>}
    </figure>
  );
}

const fileName = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

/** As it is seen, which the canvas is not: transparent, and without title and legend. */
function savePicture(canvas: HTMLCanvasElement, element: HTMLElement, title: string, lines: readonly Line[]): void {
  const unit = devicePixelRatio * textScale();
  const [margin, line] = [10 * unit, 20 * unit];
  const picture = document.createElement('canvas');
  picture.width = canvas.width + 2 * margin;
  picture.height = canvas.height + 2 * line + 2 * margin;
  const context = picture.getContext('2d')!;
  context.fillStyle = getComputedStyle(element.closest('.panel') ?? element).backgroundColor;
  context.fillRect(0, 0, picture.width, picture.height);
  context.textBaseline = 'middle';
  context.fillStyle = resolve(element, 'var(--ink)');
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  context.fillText(title, margin, margin + line / 2);
  context.font = `${12 * unit}px system-ui, sans-serif`;
  let x = margin;
  for (const { label, color, unlisted } of lines) {
    if (unlisted) continue;
    const y = margin + 1.5 * line;
    context.fillStyle = resolve(element, color);
    context.fillRect(x, y - 1.5 * unit, 12 * unit, 3 * unit);
    context.fillStyle = resolve(element, 'var(--ink-2)');
    context.fillText(label, x + 18 * unit, y);
    x += context.measureText(label).width + 34 * unit;
  }
  context.drawImage(canvas, margin, margin + 2 * line);
  picture.toBlob((blob) => blob && save(blob, `${fileName(title)}.png`), 'image/png');
}

const X_FORMATS: Record<XAxis, { name: string; short: (x: number) => string; full: (x: number) => string }> = {
  step: { name: 'step', short: (x) => trimmed(compact(x)), full: (x) => `step ${count(x)}` },
  tokens: { name: 'tokens', short: (x) => trimmed(compact(x)), full: (x) => `${compact(x)} tokens` },
  time: { name: 'time since the start', short: (x) => elapsed(x * 1000), full: (x) => `${elapsed(x * 1000)} since the start` },
};

/** Splits for elapsed time: seconds, minutes and hours that a clock would show. */
const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000,
];

interface Parts extends Pick<ChartProps, 'lines' | 'axis' | 'steps' | 'format' | 'onRange'> {
  element: HTMLElement;
  log: boolean;
  /** What is above it is not shown. */
  ceiling: { readonly current: number };
  onCursor: (index: number | null) => void;
}

function options(parts: Parts): Omit<uPlot.Options, 'width' | 'height'> {
  const { element, lines, axis, log, steps, format, ceiling, onRange, onCursor } = parts;
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
      y: {
        distr: log ? 3 : 1,
        range: (_u, low, highest) => {
          if (low === null) return [null, null];
          const high = Math.min(highest, ceiling.current);
          return log ? [low * 0.97, high * 1.03] : uPlot.rangeNum(low, high, 0.1, true);
        },
      },
    },
    axes: [
      {
        ...look,
        size: 24 * scale,
        label: X_FORMATS[axis].name,
        labelFont: look.font,
        labelSize: 15 * scale,
        labelGap: 0,
        space: 52 * scale,
        values: (_u, splits) => splits.map(X_FORMATS[axis].short),
        ...(axis === 'time' ? { incrs: TIME_STEPS } : { incrs: WHOLE_STEPS }),
      },
      {
        ...look,
        size: 52 * scale,
        space: 28 * scale,
        values: (_u, splits) => splits.map((y) => trimmed(format(y))),
        ...(steps && { incrs: (_u: uPlot, _axis: number, _low: number, high: number) => steps(high) }),
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
      draw: [
        (u) => {
          for (const [i, line] of lines.entries()) markCut(u, i + 1, resolve(element, line.color));
        },
      ],
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

/** An arrow at the upper edge wherever a line leaves the picture. */
function markCut(u: uPlot, line: number, color: string): void {
  const { ctx, bbox, data } = u;
  const { max } = u.scales.y!;
  const [first, last] = u.series[0]!.idxs!;
  const size = 5 * devicePixelRatio;
  ctx.fillStyle = color;
  for (let i = first; i <= last; i++) {
    if (!(data[line]![i]! > max!)) continue;
    const x = u.valToPos(data[0][i]!, 'x', true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x - size, bbox.top + 1.5 * size);
    ctx.lineTo(x + size, bbox.top + 1.5 * size);
    ctx.fill();
  }
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
