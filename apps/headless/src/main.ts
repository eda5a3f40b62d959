/** `npm run mine`: headless miners for a server elsewhere, with a line per miner every ten seconds. */
import { readFile } from 'node:fs/promises';
import { hotkeyFrom, type Sr25519Key } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import { launchMiners } from './launch.ts';
import { MINE_HELP, parseMineArgs } from './options.ts';
import { jsonLine, serveMetrics, textLine } from './report.ts';

const REPORT_EVERY = 10_000; // ms

async function main(): Promise<void> {
  const options = parseMineArgs(process.argv.slice(2));
  if (options === 'help') {
    console.log(MINE_HELP);
    return;
  }
  const { json, metricsHost, metricsPort } = options;
  const say = (text: string, entry: object) => console.log(json ? jsonLine(Date.now(), entry) : text);
  const hotkey = options.hotkeyFile === null ? undefined : await readHotkey(options.hotkeyFile);
  const miners = await launchMiners({ ...options, ...(hotkey && { hotkey }), onEvent: (event) => say(event.message, event) });
  const adapter = miners.adapter();
  const tabs = `${options.count} tab${options.count > 1 ? 's' : ''}`;
  const { url, count } = options;
  say(`Mining for ${url} with ${tabs}; WebGPU adapter: ${adapter ?? 'none'}`, {
    kind: 'started',
    url,
    count,
    adapter,
    sandboxed: miners.sandboxed(),
    hotkey: hotkey?.address ?? null,
  });
  if (!miners.sandboxed()) {
    const why = process.getuid?.() === 0 ? 'root cannot have it; another user can' : 'it cannot be had here (it needs user namespaces)';
    say(`Chromium runs without its sandbox: ${why}.`, { kind: 'unsandboxed', why });
  }
  const timer = setInterval(async () => {
    for (const page of await miners.pages()) say(textLine(page), { kind: 'miner', ...page });
  }, REPORT_EVERY);
  let asked = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (asked) void miners.close();
      else void miners.finish();
      if (!asked) say('Finishing what is under way; once more ends it at once.', { kind: 'finishing' });
      asked = true;
    });
  }
  const scraped = metricsPort === null ? null : await serveMetrics(metricsHost, metricsPort, miners.pages);
  await miners.closed;
  scraped?.closeAllConnections();
  scraped?.close();
  clearInterval(timer);
}

/** Throws `CONFIG_INVALID`. */
async function readHotkey(path: string): Promise<Sr25519Key> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new SwarmError('CONFIG_INVALID', `--hotkey-file ${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  });
  return hotkeyFrom(text);
}

main().catch((error) => {
  const { code, message, hint } = SwarmError.from(error);
  console.error(`${message} ${hint} [${code}]`);
  process.exit(code === 'CONFIG_INVALID' ? 2 : 1);
});
