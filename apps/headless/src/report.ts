/** What `npm run mine` says of its miners: lines for people, JSON lines for log collectors, Prometheus text for scrapers. */
import { createServer, type Server } from 'node:http';
import { SwarmError } from '@starling/protocol';
import type { MinerPage } from './launch.ts';

export const textLine = ({ name, activity, backend, stage, microbatches }: MinerPage): string =>
  `${name}  ${activity}  ${backend || '–'}  ${stage === null ? 'no stage' : `stage ${stage}`}  ${microbatches} microbatches`;

/** One object a line; `time` in ISO 8601. */
export const jsonLine = (now: number, entry: object): string => JSON.stringify({ time: new Date(now).toISOString(), ...entry });

/** Label values as the text format 0.0.4 wants them escaped. */
const quote = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/** Prometheus text format 0.0.4. A tab that is opened again counts its microbatches from 0, as counters may. */
export function metrics(pages: readonly MinerPage[]): string {
  const family = (name: string, type: string, help: string, line: (page: MinerPage) => string) =>
    [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...pages.map((page) => `${name}${line(page)}`)].join('\n');
  return `${[
    family('starling_miner_info', 'gauge', 'What each miner is doing; always 1.', ({ name, activity, backend, stage }) => {
      return `{miner=${quote(name)},activity=${quote(activity)},backend=${quote(backend)},stage=${quote(String(stage ?? ''))}} 1`;
    }),
    family('starling_miner_microbatches_total', 'counter', 'Receipts accepted since the page was opened.', ({ name, microbatches }) => {
      return `{miner=${quote(name)}} ${microbatches}`;
    }),
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
