/** What `npm run mine` says of its miners: lines for people, JSON lines for log collectors, Prometheus text for scrapers. */
import { createServer, type Server } from 'node:http';
import { SwarmError } from '@starling/protocol';
import type { MinerPage } from './launch.ts';

const counted = (count: number, one: string) => `${count} ${one}${count === 1 ? '' : 's'}`;

export const textLine = ({ stage, reason, ...page }: MinerPage): string =>
  [
    ...[
      page.name,
      reason ? `${page.activity} (${reason})` : page.activity,
      page.backend || '–',
      stage === null ? 'no stage' : `stage ${stage}`,
    ],
    ...[`${Math.round(page.tokensPerSecond)} tokens/s`, `${counted(page.microbatches, 'receipt')}, ${page.refused} refused`],
    ...(page.failures ? [`${counted(page.failures, 'failure')}, ${counted(page.restarts, 'restart')}`] : []),
  ].join('  ');

/** What miners did, once they have ended. */
export function summary(pages: readonly MinerPage[]): { microbatches: number; refused: number; restarts: number; failures: number } {
  const sum = (key: 'microbatches' | 'refused' | 'restarts' | 'failures') => pages.reduce((total, page) => total + page[key], 0);
  return { microbatches: sum('microbatches'), refused: sum('refused'), restarts: sum('restarts'), failures: sum('failures') };
}

/** One object a line; `time` in ISO 8601. */
export const jsonLine = (now: number, entry: object): string => JSON.stringify({ time: new Date(now).toISOString(), ...entry });

/** Label values as the text format 0.0.4 wants them escaped. */
const quote = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

type Figure = 'microbatches' | 'refused' | 'tokensPerSecond' | 'restarts' | 'failures';

const FIGURES: [key: Figure, name: string, type: 'counter' | 'gauge', help: string][] = [
  ['microbatches', 'starling_miner_microbatches_total', 'counter', 'Receipts accepted.'],
  ['refused', 'starling_miner_refused_total', 'counter', 'Receipts refused.'],
  ['tokensPerSecond', 'starling_miner_tokens_per_second', 'gauge', 'Tokens computed, over the last 30 s.'],
  ['restarts', 'starling_miner_restarts_total', 'counter', 'How often the tab was opened again.'],
  ['failures', 'starling_miner_failures_total', 'counter', 'Crashes, pages out of reach, and miners that stopped with an error.'],
];

/** Prometheus text format 0.0.4. */
export function metrics(pages: readonly MinerPage[]): string {
  const family = (name: string, type: string, help: string, line: (page: MinerPage) => string) =>
    [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...pages.map((page) => `${name}${line(page)}`)].join('\n');
  return `${[
    family('starling_miner_info', 'gauge', 'What each miner is doing; always 1.', ({ name, activity, backend, stage }) => {
      return `{miner=${quote(name)},activity=${quote(activity)},backend=${quote(backend)},stage=${quote(String(stage ?? ''))}} 1`;
    }),
    ...FIGURES.map(([key, name, type, help]) => family(name, type, help, (page) => `{miner=${quote(page.name)}} ${page[key]}`)),
  ].join('\n')}\n`;
}

/** Serves `GET /metrics`. Throws `CONFIG_INVALID` if the address or port cannot be had. */
export async function serveMetrics(host: string, port: number, pages: () => Promise<MinerPage[]>): Promise<Server> {
  const server = createServer(async (request, response) => {
    if (request.url !== '/metrics') return void response.writeHead(404).end();
    try {
      const text = metrics(await pages());
      response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8').end(text);
    } catch {
      response.writeHead(503).end(); // the browser is gone, or going
    }
  });
  await new Promise<void>((resolve, reject) => {
    const refuse = (error: Error) =>
      reject(new SwarmError('CONFIG_INVALID', `Metrics cannot be served at ${host}, port ${port}: ${error.message}.`, { cause: error }));
    server.once('error', refuse).listen(port, host, resolve);
  });
  return server;
}
