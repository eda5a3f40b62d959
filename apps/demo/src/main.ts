/** `npm run demo`: a server and headless miners on this machine, training until told otherwise. */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launchMiners, type Miners } from '@starling/headless';
import { type ChainView, SwarmError } from '@starling/protocol';
import { type RunningServer, startServer, wholeNumber } from '@starling/server';
import { DEMO_CHAIN, paidView, payTable } from './pay.ts';

/** A run that stands still longer than this says why. */
const WAIT_TOLD_AFTER_MS = 5_000;

const HELP = `Usage: npm run demo -- [options]

  --miners N          headless Chromium tabs (6)
  --stages N          pipeline stages (3)
  --preset NAME       model (nano)
  --steps N           steps to train, 0 for no end (0)
  --corpus PATH       UTF-8 text file or folder (the installed packages' Markdown files)
  --backend NAME      webgpu or wasm (webgpu)
  --port N            port, 0 for any free one (8650)
  --data DIR          folder of the run, resumed if there is one (a new temporary folder)
  --exit              end after --steps, with status 0 only if all of them were merged
  --json FILE         write what was measured
`;

function read(argv: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    const options = {
      miners: text,
      stages: text,
      preset: text,
      steps: text,
      corpus: text,
      backend: text,
      port: text,
      data: text,
      json: text,
    };
    return parseArgs({ args: argv, options: { ...options, exit: flag, help: flag } }).values;
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
  const steps = wholeNumber('steps', given.steps ?? '0', 0);
  if (given.exit && steps === 0) throw new SwarmError('CONFIG_INVALID', '--exit needs --steps.');
  const count = wholeNumber('miners', given.miners ?? '6', 0, 64);
  const serverOptions = {
    port: wholeNumber('port', given.port ?? '8650', 0, 65_535),
    stages: wholeNumber('stages', given.stages ?? '3', 1),
    preset: given.preset,
    corpus: given.corpus,
    steps,
  };
  if (given.json) await assertWritable(given.json);
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  const dataDir = given.data ?? (await mkdtemp(join(tmpdir(), 'starling-demo-')));
  let server: RunningServer | null = null;
  let miners: Miners | null = null;
  try {
    server = await startServer({ ...DEMO_CHAIN, ...serverOptions, dataDir });
    console.log(`Open ${server.url} to mine with this browser too, ${server.url}/dashboard to watch.`);
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
    await server?.close();
    if (!given.data) await rm(dataDir, { recursive: true, force: true });
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
