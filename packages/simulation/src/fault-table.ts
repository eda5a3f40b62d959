/**
 * Every fault at every boundary of a miner's life, one at a time, in an otherwise calm run: what it costs. A run is
 * three stages with two miners each, eight microbatches a step; the fault strikes once, in the third step, or when its
 * miner joins.
 */
import type { Input } from '@starling/coordinator';
import { CALM } from './schedule.ts';
import type { VirtualMiner } from './virtual-miner.ts';
import { type Options, type Result, type Spoil, type Strikes, World } from './world.ts';

/** Miners by the stage they get: those who join go to stages 0, 1, 2, 0, 1, 2. */
export const VICTIMS = { 'first stage': 'm0', 'middle stage': 'm1', 'last stage': 'm2' } as const;
export type Victim = keyof typeof VICTIMS;

/** A moment between two messages, and for which victims it exists. */
const BOUNDARIES = [
  ...['gets assign', 'sends ready', 'is told of ready'],
  ...['gets forward', 'sends receipt of a forward', 'is told of receipt of a forward'],
  ...['gets backward', 'sends receipt of a backward', 'is told of receipt of a backward'],
  ...['gets collect', 'sends contribution', 'is told of contribution'],
  ...['gets reduce', 'sends result', 'is told of result'],
  ...['gets merge', 'sends applied', 'is told of applied'],
];
const JOINING = /assign|ready/;
/** The last stage has no forward of its own. */
const exists = (who: Victim, boundary: string) => who !== 'last stage' || !boundary.includes('forward');

type Blow = (miner: VirtualMiner) => Spoil;
const hit =
  (blow: (miner: VirtualMiner) => void): Blow =>
  (miner) => {
    blow(miner);
    return null;
  };

/** What strikes, and (where it is about a message) at which boundaries it makes sense. */
const FAULTS: Record<string, { blow: Blow; at?: RegExp }> = {
  crash: { blow: hit((miner) => miner.crash()) },
  leave: { blow: hit((miner) => miner.leave()) },
  'socket drops': { blow: hit((miner) => miner.drop()) },
  'frozen for 3 s': { blow: hit((miner) => miner.freeze(3_000)) },
  'frozen for 100 s': { blow: hit((miner) => miner.freeze(100_000)) },
  'cut off for 20 s': { blow: hit((miner) => miner.cut(20_000)) },
  'message lost': { blow: () => 'lost', at: /^(gets|sends)/ },
  'message twice': { blow: () => 'twice', at: /^(gets|sends)/ },
  busy: { blow: () => 'busy', at: /^gets (forward|backward)/ },
  useless: { blow: () => 'useless', at: /^sends (receipt|contribution)/ },
  'false hash': { blow: () => 'lie', at: /^sends (ready|result|applied)/ },
  'server frozen for 20 s': { blow: hit((miner) => miner.world.server.freeze(20_000)) },
  'its disk full for 20 s': { blow: hit((miner) => miner.world.server.disk.fill(20_000)) },
};

/** Inputs around which the server is killed. */
const INPUTS = ['join', 'ready', 'receipt', 'contribution', 'seed', 'result', 'summed', 'merged', 'applied', 'tick'] as const;
/** These come at the start only; of the others, those of the step in which it strikes. */
const AT_START: ReadonlySet<Input['type']> = new Set(['join', 'ready']);
const MOMENTS = { handled: 'before it is durable', durable: 'when it is durable, before anybody is told' } as const;

const OPTIONS: Options = {
  stages: 3,
  miners: 6,
  steps: 4,
  microbatchesPerStep: 8,
  minMicrobatches: 6,
  validationMicrobatches: 0,
  schedule: CALM,
  check: true,
  snapshotEvery: 50,
  uniform: true,
};
const SEED = 1;
/** The step in which it strikes: everybody is at work, and it is known how long things take. */
const STEP = 2;

export interface Cell {
  who: string;
  when: string;
  fault: string;
  result: Result;
  /** How often it struck: once, or the table is wrong. */
  struck: number;
}

/** The run in which nothing happens. */
export const calmRun = (): Promise<Result> => new World(SEED, OPTIONS).run();

async function struckRun(strikesOf: (strike: () => boolean) => Strikes, names: Pick<Cell, 'who' | 'when' | 'fault'>): Promise<Cell> {
  let struck = 0;
  // Once: a closure that is asked at every boundary says yes to the first that fits.
  const once = () => struck === 0 && ++struck > 0;
  const result = await new World(SEED, { ...OPTIONS, strikes: strikesOf(once) }).run();
  return { ...names, result, struck };
}

export function* cells(): Generator<Promise<Cell>> {
  for (const [who, id] of Object.entries(VICTIMS)) {
    for (const boundary of BOUNDARIES) {
      if (!exists(who as Victim, boundary)) continue;
      for (const [fault, { blow, at }] of Object.entries(FAULTS)) {
        if (at && !at.test(boundary)) continue;
        const miner = (strike: () => boolean) => (victim: VirtualMiner, reached: string) =>
          victim.id === id && reached === boundary && (JOINING.test(boundary) || victim.world.stepsClosed >= STEP) && strike()
            ? blow(victim)
            : null;
        yield struckRun((strike) => ({ miner: miner(strike) }), { who, when: boundary, fault });
      }
    }
  }
  for (const type of INPUTS) {
    for (const [moment, when] of Object.entries(MOMENTS)) {
      const server = (strike: () => boolean) => (input: Input, reached: string, world: World) =>
        input.type === type && reached === moment && (AT_START.has(type) || world.stepsClosed >= STEP) && strike();
      yield struckRun((strike) => ({ server: server(strike) }), { who: 'server', when: `${type} was handled`, fault: `killed ${when}` });
    }
  }
}

/** What it cost against the calm run, in words. */
export function costOf({ result }: Pick<Cell, 'result'>, calm: Result): string {
  if (result.problem) return `BROKEN: ${result.problem}`;
  const again = result.computed - calm.computed;
  const fetched = result.assigned - calm.assigned;
  const late = (result.tookMs - calm.tookMs) / 1000;
  const parts = [];
  if (again > 0) parts.push(`${again} again`);
  if (fetched > 0) parts.push(`${fetched} fetched`);
  if (late >= 0.1) parts.push(`${late.toFixed(1)} s`);
  return parts.join(', ') || '–';
}

/** The whole table as Markdown, and every cell that is not as it must be. */
export async function faultTable(): Promise<{ markdown: string; broken: string[]; cells: number }> {
  const calm = await calmRun();
  const broken: string[] = [];
  const rows = new Map<string, Map<string, string>>();
  let count = 0;
  for (const running of cells()) {
    const cell = await running;
    count += 1;
    const { who, when, fault, struck, result } = cell;
    const name = `${who}, ${when}, ${fault}`;
    if (struck !== 1) broken.push(`${name}: struck ${struck} times`);
    if (result.problem) broken.push(`${name}: ${result.problem}`);
    if (result.counters && result.counters.abandoned > 0) broken.push(`${name}: ${result.counters.abandoned} microbatches were left out`);
    const row = rows.get(`${who}: ${when}`) ?? new Map<string, string>();
    rows.set(`${who}: ${when}`, row.set(fault, costOf(cell, calm)));
  }
  return { markdown: markdownOf(rows), broken, cells: count };
}

function markdownOf(rows: ReadonlyMap<string, ReadonlyMap<string, string>>): string {
  const table = (chosen: [string, ReadonlyMap<string, string>][]) => {
    const faults = [...new Set(chosen.flatMap(([, row]) => [...row.keys()]))];
    const line = (first: string, rest: string[]) => `| ${[first, ...rest].join(' | ')} |`;
    return [
      line('when', faults),
      line(
        '---',
        faults.map(() => '---'),
      ),
      ...chosen.map(([when, row]) =>
        line(
          when,
          faults.map((fault) => row.get(fault) ?? ''),
        ),
      ),
    ].join('\n');
  };
  const all = [...rows];
  return [...Object.keys(VICTIMS), 'server'].map((who) => table(all.filter(([when]) => when.startsWith(who)))).join('\n\n');
}
