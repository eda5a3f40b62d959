/** `npm run mine`: headless miners for a server elsewhere, with a line per miner every ten seconds. */
import { SwarmError } from '@starling/protocol';
import { launchMiners, type Miners } from './launch.ts';
import { MINE_HELP, parseMineArgs } from './options.ts';

const REPORT_EVERY = 10_000; // ms

async function report(miners: Miners): Promise<void> {
  for (const { name, activity, backend, stage, microbatches } of await miners.pages()) {
    console.log(`${name}  ${activity}  ${backend || '–'}  ${stage === null ? 'no stage' : `stage ${stage}`}  ${microbatches} microbatches`);
  }
}

async function main(): Promise<void> {
  const options = parseMineArgs(process.argv.slice(2));
  if (options === 'help') {
    console.log(MINE_HELP);
    return;
  }
  const miners = await launchMiners({ ...options, onEvent: ({ message }) => console.log(message) });
  console.log(
    `Mining for ${options.url} with ${options.count} tab${options.count > 1 ? 's' : ''}; WebGPU adapter: ${miners.adapter() ?? 'none'}`,
  );
  const timer = setInterval(() => report(miners), REPORT_EVERY);
  let asked = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      asked = true;
      miners.close();
    });
  }
  await miners.closed;
  clearInterval(timer);
  if (!asked) process.exitCode = 1;
}

main().catch((error) => {
  const { code, message, hint } = SwarmError.from(error);
  console.error(`${message} ${hint} [${code}]`);
  process.exit(code === 'CONFIG_INVALID' ? 2 : 1);
});
