/** What `npm run simulate` can be told. */
import { parseArgs } from 'node:util';
import { SwarmError } from '@starling/protocol';
import { ROUGH, scaled } from './schedule.ts';
import type { Options } from './world.ts';

export interface Command {
  /** The first seed, and how many follow it. */
  from: number;
  seeds: number;
  /** Threads. */
  jobs: number;
  world: Omit<Options, 'trace'>;
  /** Print everything that happens. */
  trace: boolean;
  /** Print the table of faults by boundary, and nothing else. */
  table: boolean;
  json: string | null;
}

export const HELP = `Usage: npm run simulate -- [options]

Runs the real coordinator, journal and store among virtual miners, over a virtual network and a virtual disk, in virtual
time, with faults drawn from a seed; looks at every invariant after every input. A seed that fails is run again with its
last events shown.

  --seeds N          seeds to run (200)
  --from N           the first of them (1)
  --seed N           this one only, with everything that happens in it
  --miners N         virtual miners at the start (12)
  --stages N         pipeline stages (3)
  --steps N          steps to train (4)
  --microbatches N   microbatches per step (twice the miners of a stage, at least 8)
  --clip NAME        whose norm clips a gradient: stage or global (stage)
  --overlap          merge while the next step is computed
  --rate X           how many times as many faults as the rough schedule has; 0 for a calm run (1)
  --jobs N           threads (as many as the machine has cores)
  --table            the cost of every fault at every boundary, as docs/verification.md has it
  --json FILE        write the result there, too
  --help             this text
`;

const NUMBERS = ['seeds', 'from', 'seed', 'miners', 'stages', 'steps', 'microbatches', 'jobs'] as const;

/** Throws `CONFIG_INVALID`. */
export function parseCommand(argv: string[], cores: number): Command | 'help' {
  const string = { type: 'string' } as const;
  const options = Object.fromEntries([...NUMBERS, 'rate', 'clip', 'json'].map((name) => [name, string]));
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: argv,
      options: { ...options, table: { type: 'boolean' }, overlap: { type: 'boolean' }, help: { type: 'boolean' } },
    }));
  } catch (error) {
    throw SwarmError.from(error, 'CONFIG_INVALID');
  }
  if (values.help) return 'help';
  const whole = (name: (typeof NUMBERS)[number], otherwise: number) => {
    const text = values[name];
    if (text === undefined) return otherwise;
    if (!/^[1-9]\d{0,8}$/.test(String(text)))
      throw new SwarmError('CONFIG_INVALID', `--${name} needs a whole number above zero, not "${text}".`);
    return Number(text);
  };
  const rate = Number(values.rate ?? 1);
  if (!(rate >= 0 && rate <= 10)) throw new SwarmError('CONFIG_INVALID', `--rate needs a number from 0 to 10, not "${values.rate}".`);
  if (values.clip !== undefined && values.clip !== 'stage' && values.clip !== 'global')
    throw new SwarmError('CONFIG_INVALID', `--clip is stage or global, not "${values.clip}".`);
  const stages = whole('stages', 3);
  const miners = whole('miners', 12);
  const microbatchesPerStep = whole('microbatches', Math.max(8, Math.ceil((2 * miners) / stages)));
  const single = values.seed !== undefined;
  return {
    from: single ? whole('seed', 1) : whole('from', 1),
    seeds: single ? 1 : whole('seeds', 200),
    jobs: single ? 1 : whole('jobs', cores),
    trace: single,
    table: values.table === true,
    json: typeof values.json === 'string' ? values.json : null,
    world: {
      stages,
      miners,
      steps: whole('steps', 4),
      microbatchesPerStep,
      minMicrobatches: Math.ceil(0.75 * microbatchesPerStep),
      validationMicrobatches: 2,
      clip: values.clip === 'global' ? 'global' : 'stage',
      overlap: values.overlap === true,
      schedule: scaled(ROUGH, rate),
      check: true,
      snapshotEvery: 300,
    },
  };
}
