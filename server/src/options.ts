/** What a server can be told: the type, the defaults, the command line, and its help text. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { REPLAY_BACKENDS, type ReplayBackend } from '@starling/audit/node';
import { BOUNDARY_NAMES } from '@starling/codecs';
import { PRESET_NAMES } from '@starling/model';
import { GRADIENTS, LONGEST_STEP, PRECISIONS, type Precision, type RunConfig, SwarmError } from '@starling/protocol';

export interface ServerOptions {
  /** 0 takes any free port. */
  port: number;
  /** Address to listen on; `0.0.0.0` lets other machines in. */
  host: string;
  /** Folder of the run: checkpoints, tensors, and the log unless `store` says otherwise. An existing run in it is resumed. */
  dataDir: string;
  /** UTF-8 text file or folder of them; absent: the Markdown files of the installed packages. */
  corpus?: string;
  preset: string;
  /** Where the log of the run is: a PostgreSQL address, or a file; absent: `log.sqlite` in `dataDir`. */
  store?: string;
  /** Miners at once, at most. */
  maxMiners: number;
  /** Of one address, at most; of this machine's own any number. */
  addressMiners: number;
  /** Header in which a proxy in front of the server writes where a connection comes from; absent: none is believed. */
  addressHeader?: string;
  /** A step in which nothing moves for minutes closes with so many microbatches; absent: three quarters of them. */
  minMicrobatches?: number;
  /** Pipeline stages the model is cut into. */
  stages: number;
  /** Sequences in one microbatch; absent: what the preset suggests. */
  sequences?: number;
  /** Absent: what the preset suggests. */
  microbatchesPerStep?: number;
  /** Steps until the run is complete; 0 for no end. */
  steps: number;
  seed: number;
  /** Whose norm clips a gradient: the stage's own; or that of the whole model, and stages wait for each other. */
  clip: RunConfig['clip'];
  /** How hidden states cross between stages, as `parseBoundary` reads it. */
  boundary: string;
  /** What stages are computed in. */
  precision: Precision;
  /** How gradients are written: by miners, and merged. */
  gradient: RunConfig['gradient'];
  merged: RunConfig['merged'];
  /** A gradient's norm per token is clipped to so many times the median; null: to nothing. */
  medianClip: number | null;
  /** Steps that miners take by themselves between merges; 1: gradients are merged. */
  innerSteps: number;
  /** Microbatches of such a step. */
  innerMicrobatches: number;
  /** What is done with how far they came: DiLoCo's Nesterov step, or SparseLoCo's plain one. */
  outer: 'diloco' | 'sparseloco';
  /** A step's gradients are merged while the next one is computed, and so one step late. */
  overlap: boolean;
  /** What miners did is computed again, now and then. */
  audits: boolean;
  /** How the server's own validator computes it: as `ReplayBackend`. */
  auditBackend: ReplayBackend;
  /** Threads on which audits are computed. */
  auditThreads: number;
  /** Share of merged shards that are computed once more although their reducers agree. */
  spotCheck: number;
  /** A validation loss is taken every so many steps. */
  validateEvery: number;
  /** A checkpoint is written every so many steps. */
  checkpointEvery: number;
  /** Steps in a round of the ledger, after which weights are set. */
  roundSteps: number;
  /** Steps for which work is held before it counts: what an audit finds meanwhile is lost. */
  heldSteps: number;
  /** `wss://…` of a node of subtensor; absent: a chain of the server's own. */
  chain?: string;
  netuid: number;
  /** Hash of the chain's first block, 64 hex digits; absent: whichever chain is there. */
  genesis?: string;
  /** File with the hotkey that sets weights; absent: the server's own chain has one, another is only read. */
  hotkeyFile?: string;
  /** What wallets show as the server that is signed for; absent: a name made once for the data folder. */
  publicName?: string;
  /** Address that the server is known by, such as `https://example.org`: what validators sign; absent: the addresses of this machine. */
  publicUrl?: string;
  /** Ms between blocks of the server's own chain, and blocks between its epochs. */
  blockMs: number;
  tempo: number;
  /** Other validators on the server's own chain: hotkeys, or `HOTKEY=STAKE` in TAO. */
  validators: string[];
  /** TAO that must be staked on a hotkey, beside its permit, for it to be let in as a validator. */
  validatorStake: number;
  /** Folder of the built web app. */
  webRoot: string;
  /** Gets one line of text for every event worth telling the operator. */
  log: (line: string) => void;
}

export const DEFAULT_OPTIONS: ServerOptions = {
  port: 8650,
  host: '127.0.0.1',
  dataDir: 'data',
  preset: 'nano',
  stages: 3,
  maxMiners: 5_000,
  // A computer room behind one address, several tabs each.
  addressMiners: 250,
  steps: 0,
  seed: 1,
  clip: 'stage',
  boundary: 'f32',
  precision: 'f32',
  gradient: 'f32',
  merged: 'f32',
  medianClip: null,
  spotCheck: 0.05,
  innerSteps: 1,
  innerMicrobatches: 1,
  outer: 'sparseloco',
  overlap: false,
  audits: true,
  auditBackend: 'wasm',
  auditThreads: 1,
  validateEvery: 10,
  checkpointEvery: 10,
  roundSteps: 5,
  heldSteps: 30,
  netuid: 9,
  blockMs: 12_000,
  tempo: 20,
  validators: [],
  validatorStake: 500,
  webRoot: resolve(import.meta.dirname, '../../apps/web/dist'),
  log: (line) => console.log(line),
};

export const SERVER_HELP = `Usage: npm start -- [options]

Serves one training run: the orchestrator, its storage, and the web page where people mine.

  --port N                 port, 0 for any free one (${DEFAULT_OPTIONS.port})
  --host ADDRESS           address to listen on; 0.0.0.0 lets other machines in (${DEFAULT_OPTIONS.host})
  --data DIR               folder of the run; a run found there is resumed (${DEFAULT_OPTIONS.dataDir})
  --store WHERE            where the run's log is kept: a file, or postgres://user@host/database?run=NAME (a file in --data)
  --corpus PATH            file of UTF-8 text, or folder: all text in it (the installed packages' Markdown files)
  --preset NAME            model: ${PRESET_NAMES.join(', ')} (${DEFAULT_OPTIONS.preset})
  --stages N               pipeline stages (${DEFAULT_OPTIONS.stages})
  --sequences N            sequences per microbatch (the preset's)
  --microbatches N         microbatches per step (the preset's)
  --min-microbatches N     microbatches a step may close with when nothing moves for five minutes (three quarters)
  --max-miners N           miners at once (${DEFAULT_OPTIONS.maxMiners})
  --address-miners N       miners at once of one address, but for this machine's own (${DEFAULT_OPTIONS.addressMiners})
  --address-header NAME    header in which a proxy of yours writes that address, x-forwarded-for say (none is believed)
  --steps N                steps until the run is complete, 0 for no end (${DEFAULT_OPTIONS.steps})
  --seed N                 seed of the first parameters and of the data order (${DEFAULT_OPTIONS.seed})
  --boundary NAME          how hidden states cross between stages: ${BOUNDARY_NAMES} (${DEFAULT_OPTIONS.boundary})
  --precision NAME         what stages are computed in: f32, or f16, which rounds operands of products to halves and adds in f32 (${DEFAULT_OPTIONS.precision})
  --gradient NAME          how miners write gradients: ${GRADIENTS.join(', ')} (${DEFAULT_OPTIONS.gradient})
  --merged NAME            how merged gradients are written: f32 or bf16 (${DEFAULT_OPTIONS.merged})
  --median-clip X          clip a miner's gradient to X times the median norm of its step; 1 where strangers mine; off for none (off)
  --inner-steps N          steps miners take by themselves between merges; a step is then N batches (${DEFAULT_OPTIONS.innerSteps}: none)
  --inner-microbatches N   microbatches of such a step (${DEFAULT_OPTIONS.innerMicrobatches})
  --outer NAME             what follows them: sparseloco's plain step, or diloco's with momentum (${DEFAULT_OPTIONS.outer})
  --overlap                merge a step's gradients while the next one is computed: no waiting, gradients one step late
  --no-audits              do not compute again, now and then, what miners did
  --audit-backend NAME     how that is done: wasm, cpu, or webgpu through Dawn (${DEFAULT_OPTIONS.auditBackend})
  --audit-threads N        on how many threads: each keeps up with about 23 miners as fast as it (${DEFAULT_OPTIONS.auditThreads})
  --spot-check X           share of merged shards computed once more here, 0 to 1 (${DEFAULT_OPTIONS.spotCheck})
  --clip NAME              whose norm clips a gradient: stage, or global as one process would (${DEFAULT_OPTIONS.clip})
  --validate-every N       steps between validation losses (${DEFAULT_OPTIONS.validateEvery})
  --checkpoint-every N     steps between checkpoints (${DEFAULT_OPTIONS.checkpointEvery})
  --round-steps N          steps in a round; at its end weights are set (${DEFAULT_OPTIONS.roundSteps})
  --held-steps N           steps for which work is held before audits let it count; the fewer, the more audits (${DEFAULT_OPTIONS.heldSteps})
  --chain URL              wss:// address of a node of subtensor (a chain of the server's own, in --data)
  --netuid N               subnet (${DEFAULT_OPTIONS.netuid})
  --genesis HASH           refuse a node of any other chain
  --hotkey-file FILE       validator's hotkey that sets weights (the own chain's; none with --chain: it is only read)
  --public-name NAME       the server's name in what wallets sign (made once for --data)
  --public-url URL         address the server is known by, which validators sign (the addresses of this machine)
  --block-ms N             ms between blocks of the own chain (${DEFAULT_OPTIONS.blockMs})
  --tempo N                blocks between epochs of the own chain (${DEFAULT_OPTIONS.tempo})
  --validator HOTKEY=TAO   another validator on the own chain, and its stake; may be given several times
  --validator-stake N      stake in TAO that a validator's hotkey needs beside its permit (${DEFAULT_OPTIONS.validatorStake})
  --help                   this text
`;

/** Reads a whole number in [min, max]. Throws `CONFIG_INVALID` naming the option. */
export function wholeNumber(option: string, text: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new SwarmError('CONFIG_INVALID', `--${option} needs a whole number ${range}, not "${text}".`);
  }
  return value;
}

const NUMBERS = {
  port: { key: 'port', min: 0, max: 65535 },
  stages: { key: 'stages', min: 1 },
  sequences: { key: 'sequences', min: 1 },
  microbatches: { key: 'microbatchesPerStep', min: 1, max: LONGEST_STEP },
  'inner-steps': { key: 'innerSteps', min: 1, max: LONGEST_STEP },
  'inner-microbatches': { key: 'innerMicrobatches', min: 1, max: LONGEST_STEP },
  'min-microbatches': { key: 'minMicrobatches', min: 1, max: LONGEST_STEP },
  'max-miners': { key: 'maxMiners', min: 1 },
  'address-miners': { key: 'addressMiners', min: 1 },
  steps: { key: 'steps', min: 0 },
  seed: { key: 'seed', min: 0, max: 2 ** 32 - 1 },
  'validate-every': { key: 'validateEvery', min: 1 },
  'checkpoint-every': { key: 'checkpointEvery', min: 1 },
  'round-steps': { key: 'roundSteps', min: 1 },
  'held-steps': { key: 'heldSteps', min: 0, max: 100_000 },
  netuid: { key: 'netuid', min: 1, max: 65_535 },
  'block-ms': { key: 'blockMs', min: 20, max: 3_600_000 },
  tempo: { key: 'tempo', min: 1, max: 50_400 },
  'audit-threads': { key: 'auditThreads', min: 1, max: 64 },
  'validator-stake': { key: 'validatorStake', min: 0 },
} as const satisfies Record<string, { key: keyof ServerOptions; min: number; max?: number }>;

const TEXTS = {
  host: 'host',
  data: 'dataDir',
  store: 'store',
  corpus: 'corpus',
  preset: 'preset',
  chain: 'chain',
  genesis: 'genesis',
  'hotkey-file': 'hotkeyFile',
  'public-name': 'publicName',
  'public-url': 'publicUrl',
  'address-header': 'addressHeader',
  boundary: 'boundary',
} as const;

/** The options on a command line over the defaults, or `'help'`. Throws `CONFIG_INVALID`. */
export function parseServerArgs(argv: string[]): ServerOptions | 'help' {
  const string = { type: 'string' } as const;
  const names = [
    ...Object.keys(NUMBERS),
    ...Object.keys(TEXTS),
    'clip',
    'precision',
    'gradient',
    'merged',
    'median-clip',
    'spot-check',
    'outer',
    'audit-backend',
  ];
  let values: Record<string, string | boolean | string[] | undefined>;
  try {
    const options = {
      ...Object.fromEntries(names.map((name) => [name, string])),
      help: { type: 'boolean' },
      overlap: { type: 'boolean' },
      'no-audits': { type: 'boolean' },
      validator: { type: 'string', multiple: true },
    } as const;
    ({ values } = parseArgs({ args: argv, options }));
  } catch (error) {
    throw SwarmError.from(error, 'CONFIG_INVALID');
  }
  if (values.help) return 'help';
  const options: ServerOptions = { ...DEFAULT_OPTIONS };
  for (const [name, { key, min, ...rest }] of Object.entries(NUMBERS)) {
    const text = values[name];
    if (typeof text === 'string') options[key] = wholeNumber(name, text, min, 'max' in rest ? rest.max : undefined);
  }
  for (const [name, key] of Object.entries(TEXTS)) {
    const text = values[name];
    if (typeof text === 'string') options[key] = text;
  }
  if (Array.isArray(values.validator)) options.validators = values.validator;
  if (options.chain !== undefined && !/^wss?:$/.test(URL.parse(options.chain)?.protocol ?? ''))
    throw new SwarmError('CONFIG_INVALID', `--chain needs a ws:// or wss:// address, not "${options.chain}".`);
  if (options.publicUrl !== undefined && !/^https?:$/.test(URL.parse(options.publicUrl)?.protocol ?? ''))
    throw new SwarmError('CONFIG_INVALID', `--public-url needs an http:// or https:// address, not "${options.publicUrl}".`);
  if (options.genesis !== undefined && !/^(0x)?[0-9a-f]{64}$/.test(options.genesis))
    throw new SwarmError('CONFIG_INVALID', `--genesis needs 64 hex digits, not "${options.genesis}".`);
  options.precision = oneOf('precision', PRECISIONS, values.precision ?? options.precision);
  options.gradient = oneOf('gradient', GRADIENTS, values.gradient ?? options.gradient);
  options.merged = oneOf('merged', ['f32', 'bf16'], values.merged ?? options.merged);
  options.overlap = values.overlap === true;
  options.audits = values['no-audits'] !== true;
  options.auditBackend = oneOf('audit-backend', REPLAY_BACKENDS, values['audit-backend'] ?? options.auditBackend);
  options.outer = oneOf('outer', ['sparseloco', 'diloco'], values.outer ?? options.outer);
  const median = values['median-clip'];
  if (typeof median === 'string') options.medianClip = median === 'off' ? null : numberIn('median-clip', median, 0, 1e6);
  const share = values['spot-check'];
  if (typeof share === 'string') options.spotCheck = numberIn('spot-check', share, 0, 1);
  options.clip = oneOf('clip', ['stage', 'global'], values.clip ?? options.clip);
  return options;
}

function numberIn(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max))
    throw new SwarmError('CONFIG_INVALID', `--${option} needs a number from ${min} to ${max}, not "${text}".`);
  return value;
}

function oneOf<const T extends string>(name: string, choices: readonly T[], value: unknown): T {
  const found = choices.find((choice) => choice === value);
  if (!found) throw new SwarmError('CONFIG_INVALID', `--${name} is one of ${choices.join(', ')}, not "${value}".`);
  return found;
}
