/** `npm run demo`: a server and headless miners on this machine, training until told otherwise. */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Sr25519Key } from '@starling/chain';
import { launchMiners, type Miners } from '@starling/headless';
import { type ChainView, SwarmError, toHex } from '@starling/protocol';
import { parseServerArgs, type RunningServer, type ServerOptions, startServer, wholeNumber } from '@starling/server';
import { Validator } from '@starling/server/validator';
import { DEMO_CHAIN, paidView, payTable } from './pay.ts';

/** A run that stands still longer than this says why. */
const WAIT_TOLD_AFTER_MS = 5_000;

const HELP = `Usage: npm run demo -- [options]

  --miners N          headless Chromium tabs (6)
  --backend NAME      webgpu or wasm (webgpu)
  --validators N      validators beside the server's own, each with its own hotkey, secret and weights (0)
  --exit              end after --steps, with status 0 only if all of them were merged
  --json FILE         write what was measured

and everything \`npm start\` takes, of which these differ here or matter most:

  --data DIR          folder of the run, resumed if there is one (a new temporary folder)
  --steps N           steps to train, 0 for no end (0)
  --preset NAME       model (nano)
  --stages N          pipeline stages (3)
  --corpus PATH       UTF-8 text file or folder (the installed packages' Markdown files)
  --boundary NAME     how hidden states cross between stages, such as int8 or subspace-16+int8 (f32)
  --gradient NAME     how gradients are written (f32)
  --port N            port, 0 for any free one (8650)
`;

/** Its own options, and the rest, which is the server's. Throws `CONFIG_INVALID`. */
function read(argv: string[]) {
  const own: string[] = [];
  const others: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const [name] = argv[i]!.split('=');
    const isFlag = name === '--exit' || name === '--help';
    const isOwn = isFlag || name === '--miners' || name === '--backend' || name === '--json' || name === '--validators';
    const takesNext = !isFlag && !argv[i]!.includes('=') && argv[i + 1] !== undefined;
    (isOwn ? own : others).push(argv[i]!, ...(isOwn && takesNext ? [argv[++i]!] : []));
  }
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    return {
      ...parseArgs({ args: own, options: { miners: text, backend: text, json: text, validators: text, exit: flag, help: flag } }).values,
      others,
    };
  } catch (error) {
    throw SwarmError.from(error, 'CONFIG_INVALID');
  }
}

/** A result that cannot be written is said before the work, not after it. Throws `CONFIG_INVALID`. */
async function assertWritable(path: string): Promise<void> {
  try {
    await (await open(path, 'a')).close();
  } catch (error) {
    throw new SwarmError('CONFIG_INVALID', `--json ${path} cannot be written: ${(error as Error).message}.`, { cause: error });
  }
}

async function demo(argv: string[]): Promise<number> {
  const given = read(argv);
  if (given.help) {
    console.log(HELP);
    return 0;
  }
  const backend = given.backend ?? 'webgpu';
  if (backend !== 'webgpu' && backend !== 'wasm') throw new SwarmError('CONFIG_INVALID', `--backend is webgpu or wasm, not "${backend}".`);
  const { blockMs, tempo, roundSteps, heldSteps } = DEMO_CHAIN;
  // Before what was given, which thereby wins.
  const usual = ['--block-ms', `${blockMs}`, '--tempo', `${tempo}`, '--round-steps', `${roundSteps}`, '--held-steps', `${heldSteps}`];
  const serverOptions = parseServerArgs([...usual, ...given.others]) as ServerOptions;
  const { steps } = serverOptions;
  if (given.exit && steps === 0) throw new SwarmError('CONFIG_INVALID', '--exit needs --steps.');
  const hotkeys = Array.from({ length: wholeNumber('validators', given.validators ?? '0', 0, 16) }, () => {
    const seed = toHex(crypto.getRandomValues(new Uint8Array(32)));
    return { seed, hotkey: Sr25519Key.fromSeed(seed) };
  });
  serverOptions.validators.push(...hotkeys.map(({ hotkey }) => hotkey.address));
  const count = wholeNumber('miners', given.miners ?? '6', 0, 64);
  if (given.json) await assertWritable(given.json);
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  const isGiven = given.others.some((option) => /^--data(=|$)/.test(option));
  const dataDir = isGiven ? serverOptions.dataDir : await mkdtemp(join(tmpdir(), 'starling-demo-'));
  let server: RunningServer | null = null;
  let miners: Miners | null = null;
  const validators: Validator[] = [];
  try {
    server = await startServer({ ...serverOptions, dataDir });
    console.log(`Open ${server.url} to mine with this browser too, ${server.url}/dashboard to watch.`);
    for (const [i, { seed, hotkey }] of hotkeys.entries()) {
      const log = (line: string) => console.log(`validator ${i + 1}: ${line}`);
      validators.push(new Validator({ url: server.url, hotkey, seed, backend: 'wasm', dataDir, log }));
    }
    const before = { tokens: server.snapshot().tokens, step: server.snapshot().step };
    const silent = tellProgress(server, steps);
    miners = await launchMiners({
      url: server.url,
      count,
      backend,
      namePrefix: 'demo',
      onEvent: ({ kind, message }) => kind !== 'opened' && console.log(`miner: ${message}`),
    });
    const started = performance.now();
    const endings: Promise<unknown>[] = [interrupted];
    if (given.exit) endings.push(server.completed, miners.closed);
    await Promise.race(endings);
    silent();

    const snapshot = server.snapshot();
    const seconds = (performance.now() - started) / 1000;
    const paid = given.exit ? await Promise.race([paidView(server), interrupted]) : await server.chain();
    if (paid?.rounds.newest) console.log(payTable(paid));
    if (given.json)
      await writeFile(
        given.json,
        `${JSON.stringify({ ...reportOf(server, { before, seconds, count, backend }), ...payReport(paid ?? null) }, null, 2)}\n`,
      );
    if (!given.exit || snapshot.step >= steps) return 0;
    console.error(`Only ${snapshot.step} of ${steps} steps were merged: ${snapshot.reason?.message ?? 'the run was ended early'}.`);
    return 1;
  } finally {
    await miners?.close();
    await Promise.all(validators.map((validator) => validator.close()));
    await server?.close();
    if (!isGiven) await rm(dataDir, { recursive: true, force: true });
  }
}

/** A line per step, and one when it is not known why there is none. Returns what ends it. */
function tellProgress(server: RunningServer, steps: number): () => void {
  const started = performance.now();
  server.onStep(({ step, loss, validationLoss, tokensPerSecond }) => {
    const validation = validationLoss === null ? '' : `  validation ${validationLoss.toFixed(4)}`;
    const connected = server
      .snapshot()
      .stages.flatMap((stage) => stage.miners)
      .filter((miner) => miner.connected).length;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const who = `${connected} miner${connected === 1 ? '' : 's'}`;
    console.log(
      `step ${step}${steps ? `/${steps}` : ''}  loss ${loss.toFixed(4)}${validation}  ${tokensPerSecond.toFixed(0)} tokens/s  ${who}  ${seconds} s`,
    );
  });
  let told: string | null = null;
  const timer = setInterval(() => {
    const { phase, reason } = server.snapshot();
    const wait = phase === 'waiting' && reason ? `${reason.message} ${reason.remedy}` : null;
    if (wait && wait !== told) console.log(wait);
    told = wait;
  }, WAIT_TOLD_AFTER_MS);
  return () => clearInterval(timer);
}

const payReport = (paid: ChainView | null) => ({
  correlation: paid?.correlation ?? null,
  pay: paid?.pay.map(({ names, work, emission }) => ({ names, work, emission })) ?? [],
});

interface Measured {
  before: { tokens: number; step: number };
  seconds: number;
  count: number;
  backend: string;
}

/** Of this session; a run that was resumed has its earlier steps in neither number. */
function reportOf(server: RunningServer, { before, seconds, count, backend }: Measured) {
  const snapshot = server.snapshot();
  const points = server.points().filter(({ step }) => step > before.step);
  const tokens = snapshot.tokens - before.tokens;
  const miners = snapshot.stages.flatMap((stage) => stage.miners);
  return {
    preset: snapshot.config.preset,
    stages: snapshot.config.stages.length,
    miners: count,
    backend: [...new Set(miners.map((miner) => miner.backend))].join('+') || backend,
    adapter: [...new Set(miners.map((miner) => miner.adapter))].join(', '),
    steps: snapshot.step - before.step,
    tokens,
    seconds,
    tokensPerSecond: tokens / seconds,
    firstLoss: points.at(0)?.loss ?? null,
    lastLoss: points.at(-1)?.loss ?? null,
    validationLoss: snapshot.validationLoss,
    parameterHashes: snapshot.stages.map((stage) => stage.parameterHash),
  };
}

try {
  process.exit(await demo(process.argv.slice(2)));
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  process.exit(fault.code === 'CONFIG_INVALID' ? 2 : 1);
}
