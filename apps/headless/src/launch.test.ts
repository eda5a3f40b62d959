import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { launchMiners, type Miners, type TabEvent } from './launch.ts';
import { parseMineArgs } from './options.ts';
import { pauseBefore } from './pauses.ts';

/** A page that says about itself what the Mine page says. */
const PAGE = `<!doctype html><script>
  const query = new URLSearchParams(location.search);
  Object.assign(document.documentElement.dataset, {
    minerActivity: 'forward', minerBackend: query.get('backend'), minerId: query.get('name') + query.get('autostart'),
    minerStage: '2', minerMicrobatches: '17',
  });
  window.starling = { finish: () => setTimeout(() => { document.documentElement.dataset.minerActivity = 'stopped'; }) };
</script>`;

/** Events as they come, and a promise for the n-th of a kind. */
class Events {
  readonly all: TabEvent[] = [];
  #waiting: (() => void)[] = [];
  push = (event: TabEvent) => {
    this.all.push(event);
    for (const check of this.#waiting) check();
  };
  count = (kind: TabEvent['kind']) => this.all.filter((event) => event.kind === kind).length;
  reached = (kind: TabEvent['kind'], count: number) =>
    new Promise<void>((resolve) => {
      const check = () => this.count(kind) >= count && resolve();
      this.#waiting.push(check);
      check();
    });
}

describe.skipIf(!process.env.CHROMIUM_PATH)('launchMiners (needs CHROMIUM_PATH, which npm test sets)', () => {
  let server: Server;
  let url: string;
  let miners: Miners | undefined;
  let events: Events;
  beforeEach(async () => {
    server = createServer((_, response) => response.setHeader('content-type', 'text/html').end(PAGE));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    events = new Events();
  });
  afterEach(async () => {
    await miners?.close();
    server.closeAllConnections();
    server.close();
  });

  test('tabs say what their pages say; a killed one stays dead; close ends all', async () => {
    miners = await launchMiners({ url, count: 2, backend: 'wasm', software: 'always', namePrefix: 'test', onEvent: events.push });
    const alive = { activity: 'forward', backend: 'wasm', stage: 2, microbatches: 17 };
    expect(await miners.pages()).toEqual([
      { ...alive, tab: 0, name: 'test-1', id: 'test-11' },
      { ...alive, tab: 1, name: 'test-2', id: 'test-21' },
    ]);
    await miners.killTab(0);
    expect((await miners.pages()).map((page) => page.activity)).toEqual(['killed', 'forward']);
    await miners.close();
    await miners.closed;
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'opened', 'killed']);
  });

  test('software rendering offers a WebGPU adapter', async () => {
    miners = await launchMiners({ url, count: 1, backend: 'webgpu', software: 'always' });
    expect(miners.adapter()?.toLowerCase()).toContain('swiftshader');
  });

  test('a tab whose page is away is opened again when it is back', async () => {
    const port = (server.address() as AddressInfo).port;
    await new Promise((resolve) => server.close(resolve));
    miners = await launchMiners({ url, count: 1, backend: 'wasm', software: 'always', onEvent: events.push });
    expect(events.count('unreachable')).toBe(1);
    server.listen(port, '127.0.0.1');
    await events.reached('opened', 1);
    expect((await miners.pages())[0].activity).toBe('forward');
  });

  test('a browser that ends by itself is started again, and the other one is left alone', async () => {
    miners = await launchMiners({ url, count: 2, tabsPerBrowser: 1, backend: 'wasm', software: 'always', onEvent: events.push });
    const opened = events.count('opened');
    await miners.killBrowser(0);
    await events.reached('opened', opened + 1);
    expect(events.all.slice(opened).map(({ kind, tab }) => [kind, tab])).toEqual([
      ['browser-closed', -1],
      ['opened', 0],
    ]);
    expect((await miners.pages()).map((page) => page.activity)).toEqual(['forward', 'forward']);
  });

  test('asked to finish, tabs do so before they are closed', async () => {
    miners = await launchMiners({ url, count: 2, backend: 'wasm', software: 'always', onEvent: events.push });
    await miners.finish();
    await miners.closed;
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'opened', 'finished', 'finished']);
  });

  test('a crashed tab is opened again', async () => {
    miners = await launchMiners({ url, count: 1, backend: 'wasm', software: 'always', onEvent: events.push });
    await miners.killTab(0, { comeBack: true });
    await events.reached('opened', 2);
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'crashed', 'opened']);
    expect((await miners.pages())[0].activity).toBe('forward');
  });
});

test('pauses double from one second to a minute', () => {
  expect([1, 2, 3, 6, 7, 50].map(pauseBefore)).toEqual([1000, 2000, 4000, 32_000, 60_000, 60_000]);
});

describe('command line', () => {
  test('defaults and choices', () => {
    expect(parseMineArgs([])).toMatchObject({
      ...{
        url: 'http://localhost:8650',
        count: 1,
        backend: 'auto',
        headless: true,
        software: 'never',
        tabsPerBrowser: 8,
        hotkeyFile: null,
      },
    });
    expect(parseMineArgs(['--count', '3', '--backend', 'wasm', '--allow-software', '--window', '--intensity=0.5'])).toMatchObject({
      count: 3,
      software: 'allowed',
      intensity: 0.5,
      headless: false,
    });
    expect(parseMineArgs(['--json', '--metrics-port=9100'])).toMatchObject({ json: true, metricsPort: 9100 });
    expect(parseMineArgs(['--help'])).toBe('help');
  });
  test.each([
    ['--frobnicate'],
    ['--count=0'],
    ['--count=two'],
    ['--url=elsewhere'],
    ['--backend=cpu'],
    ['extra'],
    ['--gpu'],
    ['--intensity=2'],
    ['--tabs-per-browser=0'],
    ['--metrics-port=70000'],
  ])('%s %s is refused', (...argv) => {
    expect(() => parseMineArgs(argv)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});
