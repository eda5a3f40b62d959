/** A server of test pages that say of themselves what the Mine page says. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ErrorCode, SwarmError } from '@starling/protocol';

/** Mines unasked only where automation opened it, as the Mine page. */
export const PAGE = `<!doctype html><script>
  const query = new URLSearchParams(location.search);
  if (navigator.webdriver) Object.assign(document.documentElement.dataset, {
    minerActivity: 'forward', minerBackend: query.get('backend'), minerId: query.get('name') + query.get('autostart'),
    minerStage: '2', minerMicrobatches: '17', minerRefused: '1', minerTokensPerSecond: '99.5',
  });
  window.starling = { finish: () => setTimeout(() => { document.documentElement.dataset.minerActivity = 'stopped'; }) };
</script>`;

export const HUNG = `${PAGE}<script>addEventListener('load', () => setTimeout(() => { for (;;); }));</script>`;

export const stoppedBy = (code: ErrorCode) => `${PAGE}<script>
  document.documentElement.dataset.minerActivity = 'stopped';
  window.starling.state = { error: ${JSON.stringify(new SwarmError(code, 'It went wrong.').toWire())} };
</script>`;

/** Loads itself anew once somebody has heard how far it came. */
export const ONCE_HEARD = `${PAGE}<script>
  Object.assign(document.documentElement.dataset, { minerMicrobatches: '3', minerRefused: '5' });
  Object.defineProperty(window, 'starling', { get: () => void setTimeout(() => location.reload()) });
</script>`;

export interface PageServer {
  server: Server;
  url: string;
  /** Answers to the first requests of a miner's page, or what is asked for them; all others get `PAGE`. */
  first: (Answer | (() => Promise<Answer>))[];
  /** The miner's pages that were asked for. */
  asked: URL[];
  /** Whether it is a server with a run, as far as others can tell. */
  hasRun: boolean;
  close(): void;
}

interface Answer {
  status?: number;
  body: string;
}

export async function servePages(): Promise<PageServer> {
  const first: PageServer['first'] = [];
  const asked: URL[] = [];
  const pages = { first, asked, hasRun: true };
  const server = createServer(async (request, response) => {
    // The browser also asks for an icon, when it likes.
    const isPage = request.url?.startsWith('/?');
    const answer = isPage ? first.shift() : undefined;
    if (isPage) asked.push(new URL(request.url!, url));
    if (request.url === '/v1/run' && pages.hasRun) return void response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    const { status = 200, body } = (typeof answer === 'function' ? await answer() : answer) ?? { body: PAGE };
    response.writeHead(status, { 'content-type': 'text/html' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return Object.assign(pages, { server, url, close });
}
