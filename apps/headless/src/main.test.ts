import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PAGE, type PageServer, servePages, stoppedBy } from './page-server.ts';

interface Line {
  time: string;
  kind: string;
  [key: string]: unknown;
}

/** `npm run mine`, with its JSON lines as they come. */
class Process {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  readonly #errors: Promise<string>;
  readonly #ended: Promise<[code: number | null]>;
  #heard = Promise.withResolvers<void>();

  constructor(...argv: string[]) {
    const main = join(import.meta.dirname, 'main.ts');
    const usual = argv.includes('--backend') ? [] : ['--backend', 'wasm', '--software'];
    // Whoever runs the tests may see windows.
    const { DISPLAY, WAYLAND_DISPLAY, ...env } = process.env;
    this.child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, '--json', ...usual, ...argv], { env });
    this.#errors = text(this.child.stderr!);
    this.#ended = once(this.child, 'exit') as Promise<[number | null]>;
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line));
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    });
  }

  async said(kind: string): Promise<Line> {
    for (;;) {
      const line = this.lines.find((one) => one.kind === kind);
      if (line) return line;
      await Promise.race([this.#heard.promise, this.#ended.then(([code]) => Promise.reject(new Error(`It ended with ${code}.`)))]);
    }
  }

  async end(): Promise<{ code: number | null; errors: string }> {
    const [code] = await this.#ended;
    return { code, errors: await this.#errors };
  }
}

describe.skipIf(!process.env.CHROMIUM_PATH)('npm run mine (needs CHROMIUM_PATH, which npm test sets)', () => {
  let pages: PageServer;
  let mine: Process | undefined;
  beforeEach(async () => {
    pages = await servePages();
  });
  afterEach(() => {
    mine?.child.kill('SIGKILL');
    pages.close();
  });

  test('told to end while it opens its tabs, it finishes the open ones, opens no more, and says what was done', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'starling-mine-'));
    const hotkey = join(folder, 'hotkey');
    writeFileSync(hotkey, '11'.repeat(32));
    const port = await freePort();
    const second = Promise.withResolvers<void>();
    // The second tab's page never comes.
    pages.first.push({ body: PAGE }, () => {
      second.resolve();
      return new Promise(() => {});
    });
    const tabs = ['--count', '3', '--tabs-per-browser', '1'];
    mine = new Process('--url', pages.url, ...tabs, '--hotkey-file', hotkey, '--metrics-port', `${port}`);
    await second.promise;
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(metrics).toContain('{miner="headless-1",activity="forward",backend="wasm",stage="2"} 1');
    expect(metrics).toContain('{miner="headless-2",activity="opening"');
    expect(pages.asked.map(({ searchParams }) => searchParams.get('wallet'))).toEqual(Array(2).fill('starling-hotkey'));
    mine.child.kill('SIGTERM');
    expect(await mine.end()).toEqual({ code: 0, errors: '' });
    // Where it took long there are lines of its miners between.
    expect(mine.lines.filter(({ kind }) => kind !== 'miner').map(({ kind, tab }) => [kind, tab])).toEqual([
      ['started', undefined],
      ...(mine.lines[1]!.kind === 'unsandboxed' ? [['unsandboxed', undefined]] : []),
      ['opened', 0],
      ['finishing', undefined],
      ['finished', 0],
      ['ended', undefined],
    ]);
    expect(mine.lines.at(-1)).toMatchObject({ microbatches: 17, refused: 1, restarts: 0, failures: 0 });
    expect(pages.asked).toHaveLength(2);
    rmSync(folder, { recursive: true });
  });

  test('a second signal ends it at once', async () => {
    pages.first.push({ body: `${PAGE}<script>window.starling.finish = () => {};</script>` });
    mine = new Process('--url', pages.url);
    expect(await mine.said('started')).toMatchObject({ count: 1, hotkey: null });
    await mine.said('opened');
    mine.child.kill('SIGTERM');
    await mine.said('finishing');
    mine.child.kill('SIGTERM');
    expect((await mine.end()).code).toBe(143);
  });

  test('when nothing can mine any more, it ends and says why', async () => {
    pages.first.push({ body: stoppedBy('DEVICE_WRONG') });
    mine = new Process('--url', pages.url);
    const { code, errors } = await mine.end();
    expect(errors).toMatch(/^No tab can mine any more. It went wrong. .*\[DEVICE_WRONG\]$/m);
    expect(code).toBe(3);
    expect(mine.lines.at(-1)).toMatchObject({ kind: 'ended', failures: 1 });
  });

  test('no GPU stays no GPU: status 3, as when nothing can mine any more, and what helps here', async ({ skip }) => {
    mine = new Process('--url', pages.url, '--backend', 'webgpu');
    const first = await Promise.race([mine.end(), mine.said('started').catch(() => null)]);
    if (first && !('code' in first)) skip('this machine has a GPU');
    const { code, errors } = await mine.end();
    expect(errors).toMatch(/^Chromium finds no GPU here.*--backend auto.*\[GPU_MISSING\]$/m);
    expect(code).toBe(3);
  });

  test.runIf(process.platform === 'linux')('a window without a display is an option that is wrong', async () => {
    mine = new Process('--url', pages.url, '--window');
    const { code, errors } = await mine.end();
    expect(errors).toMatch(/^--window needs a display, .*\[CONFIG_INVALID\]$/m);
    expect(code).toBe(2);
  });

  test('what is wrong with an option, and what to do, are two sentences', async () => {
    mine = new Process('--bogus');
    expect((await mine.end()).errors).toContain("'--bogus'. Correct the option;");
  });

  test('where metrics cannot be served, nothing is started', async () => {
    const { port } = pages.server.address() as AddressInfo;
    mine = new Process('--url', pages.url, '--metrics-port', `${port}`);
    const { code, errors } = await mine.end();
    expect(errors).toMatch(/\[CONFIG_INVALID\]$/m);
    expect({ code, lines: mine.lines, asked: pages.asked }).toEqual({ code: 2, lines: [], asked: [] });
  });
});

/** Free a moment ago, on this machine. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
