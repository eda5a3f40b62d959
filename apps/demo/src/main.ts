/** `npm run demo`: a server and headless miners on this machine, training until told otherwise. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launchMiners } from '@starling/headless';
import { SwarmError } from '@starling/protocol';
import { startServer, wholeNumber } from '@starling/server';

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
  const dataDir = given.data ?? (await mkdtemp(join(tmpdir(), 'starling-demo-')));
  const server = await startServer({
    port: wholeNumber('port', given.port ?? '8650', 0, 65_535),
    stages: wholeNumber('stages', given.stages ?? '3', 1),
    preset: given.preset,
    corpus: given.corpus,
    dataDir,
    steps,
  });
  console.log(`Open ${server.url} to mine with this browser too, ${server.url}/dashboard to watch.`);
  const started = performance.now();
  const firstTokens = server.snapshot().tokens;
  server.onStep(({ step, loss, validationLoss, tokensPerSecond }) => {
    const validation = validationLoss === null ? '' : `  validation ${validationLoss.toFixed(4)}`;
    const connected = server
      .snapshot()
      .stages.flatMap((stage) => stage.miners)
      .filter((miner) => miner.connected).length;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(
      `step ${step}${steps ? `/${steps}` : ''}  loss ${loss.toFixed(4)}${validation}  ${tokensPerSecond.toFixed(0)} tokens/s  ${connected} miners  ${seconds} s`,
    );
  });
  const miners = await launchMiners({
    url: server.url,
    count,
    backend,
    namePrefix: 'demo',
    onEvent: ({ kind, message }) => kind !== 'opened' && console.log(`miner: ${message}`),
  });
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve('interrupted'));
  });
  const endings: Promise<unknown>[] = [interrupted];
  if (given.exit) endings.push(server.completed, miners.closed);
  await Promise.race(endings);

  const snapshot = server.snapshot();
  const points = server.points();
  const seconds = (performance.now() - started) / 1000;
  const tokens = snapshot.tokens - firstTokens;
  if (given.json) {
    const report = {
      preset: snapshot.config.preset,
      stages: snapshot.config.stages.length,
      miners: count,
      backend: [...new Set(snapshot.stages.flatMap((stage) => stage.miners.map((miner) => miner.backend)))].join('+') || backend,
      adapter: [...new Set(snapshot.stages.flatMap((stage) => stage.miners.map((miner) => miner.adapter)))].join(', '),
      steps: snapshot.step,
      tokens,
      seconds,
      tokensPerSecond: tokens / seconds,
      firstLoss: points.at(0)?.loss ?? null,
      lastLoss: points.at(-1)?.loss ?? null,
      validationLoss: snapshot.validationLoss,
      parameterHashes: snapshot.stages.map((stage) => stage.parameterHash),
    };
    await writeFile(given.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  await miners.close();
  await server.close();
  if (!given.data) await rm(dataDir, { recursive: true, force: true });
  if (!given.exit || snapshot.step >= steps) return 0;
  console.error(`Only ${snapshot.step} of ${steps} steps were merged: ${snapshot.reason ?? 'the run was ended early'}.`);
  return 1;
}

try {
  process.exit(await demo(process.argv.slice(2)));
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  process.exit(fault.code === 'CONFIG_INVALID' ? 2 : 1);
}
