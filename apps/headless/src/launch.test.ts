import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { MAX_NAME } from '@starling/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { launchMiners, type Miners, type TabEvent } from './launch.ts';
import { parseMineArgs } from './options.ts';
import { HUNG, ONCE_HEARD, PAGE, type PageServer, servePages, stoppedBy } from './page-server.ts';
import { pauseBefore } from './pauses.ts';

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
  let pages: PageServer;
  let url: string;
  let miners: Miners | undefined;
  let events: Events;
  const OPTIONS = { count: 1, backend: 'wasm', software: 'always' } as const;
  beforeEach(async () => {
    pages = await servePages();
    url = pages.url;
    events = new Events();
  });
  afterEach(async () => {
    await miners?.close();
    pages.close();
  });

  test('tabs say what their pages say; a killed one stays dead; close ends all', async () => {
    miners = await launchMiners({ url, count: 2, backend: 'webgpu', software: 'always', namePrefix: 'x'.repeat(50), onEvent: events.push });
    const threads = () => pages.asked.map((asked) => Number(asked.searchParams.get('threads')));
    expect(threads(), 'shared by both').toEqual(Array(2).fill(Math.max(1, Math.floor(availableParallelism() / 2))));
    const figures = { microbatches: 17, refused: 1, tokensPerSecond: 99.5, restarts: 0, failures: 0 };
    const alive = { activity: 'forward', reason: '', backend: 'webgpu', stage: 2, ...figures };
    const longest = 'x'.repeat(MAX_NAME - 2);
    expect(await miners.pages()).toEqual([
      { ...alive, tab: 0, name: `${longest}-1`, id: `${longest}-11` },
      { ...alive, tab: 1, name: `${longest}-2`, id: `${longest}-21` },
    ]);
    await miners.killTab(0);
    expect((await miners.pages()).map((page) => page.activity)).toEqual(['killed', 'forward']);
    await miners.close();
    await miners.closed;
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'opened', 'killed']);
    expect(miners.adapter()?.toLowerCase(), 'software rendering offers one').toContain('swiftshader');
  });

  test('a tab whose page is away is opened again when it is back', async () => {
    const { port } = pages.server.address() as AddressInfo;
    await new Promise((resolve) => pages.server.close(resolve));
    miners = await launchMiners({ url, count: 1, backend: 'wasm', software: 'always', onEvent: events.push });
    expect(events.count('unreachable')).toBe(1);
    pages.server.listen(port, '127.0.0.1');
    await events.reached('opened', 1);
    expect((await miners.pages())[0].activity).toBe('forward');
  });

  test('a page that the server has only an error for is opened again', async () => {
    pages.first.push({ status: 502, body: PAGE });
    miners = await launchMiners({ ...OPTIONS, url, onEvent: events.push });
    await events.reached('opened', 1);
    expect(events.all.map((event) => event.kind)).toEqual(['unreachable', 'opened']);
    expect(events.all[0].message).toContain('HTTP 502');
  });

  test('a miner that stopped with an error is opened again', async () => {
    pages.first.push({ body: stoppedBy('BACKEND_FAILED') });
    miners = await launchMiners({ ...OPTIONS, url, answerMs: 500, onEvent: events.push });
    await events.reached('opened', 2);
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'stopped', 'opened']);
    expect(events.all[1].message).toMatch(/It went wrong\..*\[BACKEND_FAILED\]; opened again in 1 s/);
  });

  test('a miner that would stop again is told of once, and left', async () => {
    pages.first.push({ body: stoppedBy('DEVICE_WRONG') });
    miners = await launchMiners({ ...OPTIONS, url, onEvent: events.push });
    await events.reached('stopped', 1);
    expect(events.all[1].message).toMatch(/\[DEVICE_WRONG\]$/);
    expect((await miners.pages())[0]).toMatchObject({ activity: 'stopped', restarts: 0, failures: 1 });
    await expect(miners.exhausted).resolves.toMatchObject({ code: 'DEVICE_WRONG' });
  });

  test('a page that hangs keeps nobody waiting, and is opened again', async () => {
    pages.first.push({ body: HUNG });
    miners = await launchMiners({ ...OPTIONS, url, count: 2, answerMs: 500, onEvent: events.push });
    await expect.poll(async () => (await miners!.pages()).map((page) => page.activity)).toContain('unresponsive');
    await events.reached('opened', 3);
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'opened', 'crashed', 'opened']);
  });

  test('a page that says nothing of a miner is opened again', async () => {
    pages.first.push({ body: 'Log in to this network.' });
    miners = await launchMiners({ ...OPTIONS, url, answerMs: 250, onEvent: events.push });
    await events.reached('opened', 2);
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'crashed', 'opened']);
  });

  test('a page that loads itself anew goes on counting', async () => {
    pages.first.push({ body: ONCE_HEARD });
    miners = await launchMiners({ ...OPTIONS, url, onEvent: events.push });
    await expect
      .poll(async () => (await miners!.pages())[0], { timeout: 30_000 })
      .toMatchObject({ microbatches: 3 + 17, refused: 5 + 1, restarts: 0, failures: 0 });
    expect(events.all.map((event) => event.kind)).toEqual(['opened']);
  });

  test('what is no Starling server is called so at once, and asked again', async () => {
    pages.hasRun = false;
    pages.first.push({ body: 'It works!' });
    miners = await launchMiners({ ...OPTIONS, url, onEvent: events.push });
    await events.reached('opened', 2);
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'unreachable', 'opened']);
    expect(events.all[1].message).toContain(`${url} is no Starling server`);
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

  test('a crashed tab is opened again', async () => {
    miners = await launchMiners({ url, count: 1, backend: 'wasm', software: 'always', onEvent: events.push });
    await miners.killTab(0, { comeBack: true });
    await events.reached('opened', 2);
    expect(events.all.map((event) => event.kind)).toEqual(['opened', 'crashed', 'opened']);
    const [page] = await miners.pages();
    expect(page).toMatchObject({ activity: 'forward', restarts: 1, failures: 1 });
    expect(page!.microbatches, 'of both its pages, where the first was heard').toBeGreaterThanOrEqual(17);
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
    expect(parseMineArgs(['--threads=4'])).toMatchObject({ threads: 4 });
    expect(parseMineArgs(['--json', '--metrics-port=9100'])).toMatchObject({ json: true, metricsPort: 9100 });
    expect(parseMineArgs(['--metrics-port=9100', '--metrics-host=0.0.0.0'])).toMatchObject({ metricsHost: '0.0.0.0' });
    expect(parseMineArgs(['--metrics-port=9100'])).toMatchObject({ metricsHost: '127.0.0.1' });
    expect(parseMineArgs(['--help'])).toBe('help');
  });
  test.each([
    ['--frobnicate'],
    ['--count=0'],
    ['--count=two'],
    ['--url=elsewhere'],
    ['--url=https://example.org/dashboard'],
    ['--backend=cpu'],
    ['extra'],
    ['--gpu'],
    ['--intensity=2'],
    ['--threads=9'],
    ['--tabs-per-browser=0'],
    ['--metrics-port=70000'],
    ['--metrics-host=0.0.0.0'],
    ['--metrics-port=9100', '--metrics-host='],
  ])('%s %s is refused', (...argv) => {
    expect(() => parseMineArgs(argv)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});
