/** `npm run mine`: headless miners for a server elsewhere, with a line per miner every ten seconds. */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { hotkeyFrom, type Sr25519Key } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import { Miners } from './launch.ts';
import { MINE_HELP, type MineOptions, parseMineArgs } from './options.ts';
import { jsonLine, serveMetrics, summary, textLine } from './report.ts';
import { LASTING } from './tab.ts';

const REPORT_EVERY = 10_000; // ms

type Say = (text: string, entry: object) => void;

async function main(): Promise<void> {
  const options = parseMineArgs(process.argv.slice(2));
  if (options === 'help') {
    console.log(MINE_HELP);
    return;
  }
  const { json, metricsHost, metricsPort } = options;
  const say: Say = (text, entry) => console.log(json ? jsonLine(Date.now(), entry) : text);
  const hotkey = options.hotkeyFile === null ? undefined : await readHotkey(options.hotkeyFile);
  const miners: Miners = new Miners({
    ...options,
    ...(hotkey && { hotkey }),
    onEvent: (event) => say(event.message, event),
    onBrowser: () => tellStart(miners, options, hotkey, say),
  });
  const scraped = metricsPort === null ? null : await serveMetrics(metricsHost, metricsPort, () => miners.pages());
  finishOnSignal(miners, say);
  const timer = setInterval(async () => {
    for (const page of await miners.pages()) say(textLine(page), { kind: 'miner', ...page });
  }, REPORT_EVERY);
  await miners.open();
  const stopped = await Promise.race([miners.closed, miners.exhausted]);
  if (stopped) await miners.close();
  clearInterval(timer);
  scraped?.closeAllConnections();
  scraped?.close();
  const done = summary(await miners.pages());
  say(`Ended: ${done.microbatches} receipts accepted, ${done.refused} refused.`, { kind: 'ended', ...done });
  if (stopped) throw new SwarmError(stopped.code, `No tab can mine any more. ${stopped.message}`);
}

function finishOnSignal(miners: Miners, say: Say): void {
  let asked = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (asked) process.exit(128 + constants.signals[signal]);
      asked = true;
      say('Finishing what is under way; once more ends it at once.', { kind: 'finishing' });
      void miners.finish();
    });
  }
}

function tellStart(miners: Miners, { url, count }: MineOptions, hotkey: Sr25519Key | undefined, say: Say): void {
  const adapter = miners.adapter();
  const sandboxed = miners.sandboxed();
  say(`Mining for ${url} with ${count} tab${count > 1 ? 's' : ''}; WebGPU adapter: ${adapter ?? 'none'}`, {
    kind: 'started',
    ...{ url, count, adapter, sandboxed, hotkey: hotkey?.address ?? null },
  });
  if (sandboxed) return;
  const why = process.getuid?.() === 0 ? 'root cannot have it; another user can' : 'it cannot be had here (it needs user namespaces)';
  say(`Chromium runs without its sandbox: ${why}.`, { kind: 'unsandboxed', why });
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
  process.exit(code === 'CONFIG_INVALID' ? 2 : LASTING.has(code) ? 3 : 1);
});
