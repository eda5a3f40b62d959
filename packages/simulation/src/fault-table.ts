/**
 * Every fault at every boundary of a miner's life, one at a time, in an otherwise calm run: what it costs. A run is two
 * stages with two miners each, eight microbatches a step; the fault strikes once, in the third step.
 */
import type { Input } from '@starling/coordinator';
import { CALM } from './schedule.ts';
import type { VirtualMiner } from './virtual-miner.ts';
import { type Options, type Result, type Spoil, type Strikes, World } from './world.ts';

/** Miners by the stage they get: the first to join go to stages 0, 1, 0, 1. */
export const VICTIMS = { 'first stage': 'm0', 'last stage': 'm1' } as const;
export type Victim = keyof typeof VICTIMS;

/** A moment between two messages, and for which victims it exists. */
const BOUNDARIES: Record<string, readonly Victim[]> = {
  'gets forward': ['first stage'],
  'sends receipt of a forward': ['first stage'],
  'is told of receipt of a forward': ['first stage'],
  'gets backward': ['first stage', 'last stage'],
  'sends receipt of a backward': ['first stage', 'last stage'],
  'is told of receipt of a backward': ['first stage', 'last stage'],
  'gets collect': ['first stage', 'last stage'],
  'sends contribution': ['first stage', 'last stage'],
  'is told of contribution': ['first stage', 'last stage'],
  'gets merge': ['first stage', 'last stage'],
  'sends applied': ['first stage', 'last stage'],
  'is told of applied': ['first stage', 'last stage'],
};

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
  'message lost': { blow: () => 'lost', at: /^(gets|sends)/ },
  'message twice': { blow: () => 'twice', at: /^(gets|sends)/ },
  busy: { blow: () => 'busy', at: /^gets (forward|backward)/ },
  useless: { blow: () => 'useless', at: /^sends (receipt|contribution)/ },
  'false hash': { blow: () => 'lie', at: /^sends applied/ },
};

/** Inputs around which the server is killed. */
const INPUTS = ['join', 'ready', 'receipt', 'contribution', 'summed', 'merged', 'applied', 'tick'] as const;
/** These come at the start only; of the others, those of the step in which it strikes. */
const AT_START: ReadonlySet<Input['type']> = new Set(['join', 'ready']);
const MOMENTS = { handled: 'before it is durable', durable: 'when it is durable, before anybody is told' } as const;

const OPTIONS: Options = {
  stages: 2,
  miners: 4,
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
    for (const [boundary, victims] of Object.entries(BOUNDARIES)) {
      if (!victims.includes(who as Victim)) continue;
      for (const [fault, { blow, at }] of Object.entries(FAULTS)) {
        if (at && !at.test(boundary)) continue;
        const miner = (strike: () => boolean) => (victim: VirtualMiner, reached: string) =>
          victim.id === id && reached === boundary && victim.world.stepsClosed >= STEP && strike() ? blow(victim) : null;
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
  return ['first stage', 'last stage', 'server'].map((who) => table(all.filter(([when]) => when.startsWith(who)))).join('\n\n');
}
