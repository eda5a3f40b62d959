/** Where stages and miners are drawn: stages as columns from left to right, each one's miners in as many lines as fit. Pure. */
import type { RunSnapshot } from '@starling/protocol';

export interface Dot {
  id: string;
  name: string;
  stage: number;
  x: number;
  y: number;
  radius: number;
  connected: boolean;
  working: boolean;
  banned: boolean;
}

export interface Column {
  stage: number;
  x: number;
  /** Half of its width. */
  reach: number;
  phase: string;
  version: number;
  /** Share of the step's microbatches that are done. */
  done: number;
  dots: Dot[];
  /** There is room for names beside the dots. */
  named: boolean;
}

const LARGEST = 22;
/** Of a name beside a dot. */
const NAME = 84;
const SMALLEST = 3;
/** Above and below the miners: the stage's name, and its progress. */
export const HEAD = 34;
const FOOT = 16;
const IDLE = new Set(['waiting', 'stopped', 'connecting']);

/** Columns in a box of `width` × `height` pixels. A miner's area is as its share of the fastest one's tokens per second. */
export function layOut({ stages }: Pick<RunSnapshot, 'stages'>, width: number, height: number, now: number): Column[] {
  const fastest = Math.max(1e-9, ...stages.flatMap(({ miners }) => miners.map((miner) => miner.tokensPerSecond)));
  const pitch = width / Math.max(1, stages.length);
  return stages.map(({ index, miners, phase, version, done, total }): Column => {
    const x = pitch * (index + 0.5);
    const room = { width: pitch * 0.78, height: Math.max(20, height - HEAD - FOOT) };
    const { lines, rows } = gridOf(miners.length, room.width, room.height);
    const cell = Math.min(room.width / lines, room.height / rows, 3.4 * LARGEST);
    const named = room.width / lines >= cell + NAME;
    const across = named ? cell + NAME : cell;
    const largest = Math.min(LARGEST, 0.42 * cell);
    const dots = miners.map(({ id, name, tokensPerSecond, connected, activity, bannedUntil }, i): Dot => {
      const [line, row] = [i % lines, Math.floor(i / lines)];
      const inRow = Math.min(lines, miners.length - row * lines);
      const share = Math.sqrt(Math.min(1, tokensPerSecond / fastest));
      return {
        ...{ id, name: name || id, stage: index, connected },
        x: x + (line - (inRow - 1) / 2) * across,
        y: HEAD + room.height / 2 + (row - (rows - 1) / 2) * cell,
        radius: Math.max(Math.min(SMALLEST, largest), share * largest),
        // Between two leases a miner is at work, too.
        working: connected && (!IDLE.has(activity) || tokensPerSecond > 0),
        banned: bannedUntil !== null && bannedUntil > now,
      };
    });
    return {
      stage: index,
      x,
      reach: pitch / 2,
      phase,
      version,
      done: total > 0 ? Math.min(1, done / total) : 0,
      dots,
      named,
    };
  });
}

/** Lines and rows for n cells, as near to squares as the room allows. */
function gridOf(n: number, width: number, height: number): { lines: number; rows: number } {
  if (n === 0) return { lines: 1, rows: 1 };
  const lines = Math.min(n, Math.max(1, Math.round(Math.sqrt((n * width) / height) * 0.75)));
  return { lines, rows: Math.ceil(n / lines) };
}

/** What is under a point: the nearest miner that is `near` it, in pixels from its edge, or else the stage whose column it is. */
export function under(columns: readonly Column[], x: number, y: number, near = 6): { dot: Dot } | { stage: number } | null {
  const away = ({ x: dotX, y: dotY, radius }: Dot) => Math.hypot(dotX - x, dotY - y) - radius;
  let nearest: Dot | null = null;
  for (const { dots } of columns) {
    for (const dot of dots) if (away(dot) <= (nearest ? away(nearest) : near)) nearest = dot;
  }
  if (nearest) return { dot: nearest };
  const column = columns.find((one) => Math.abs(one.x - x) <= one.reach);
  return column ? { stage: column.stage } : null;
}
