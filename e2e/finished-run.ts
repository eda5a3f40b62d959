/** Runs of three miners for tests that look at pages, and a person who looks at them. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, test as base, expect, type Page } from '@playwright/test';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import type { RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import type { Screen } from './screens.ts';

/** Of these pages' size, and paid often. */
export async function begin(options: string[]): Promise<{ server: ServerProcess; miners: NodeMiner[]; end(): Promise<void> }> {
  const data = mkdtempSync(join(tmpdir(), 'starling-pages-'));
  const sizes = ['--stages', '2', '--sequences', '1', '--microbatches', '4', '--validate-every', '2'];
  const paid = ['--block-ms', '200', '--tempo', '5', '--round-steps', '1', '--held-steps', '1'];
  const server = await startServerProcess(['--port', '0', '--data', data, ...paid, ...sizes, ...options]);
  const miners = ['kestrel', 'wren', 'osprey'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
  const end = async () => {
    await Promise.all(miners.map((miner) => miner.stop()));
    await server.kill();
  };
  return { server, miners, end };
}

/** What a spectator asks of a server and opens of its pages; `errors` are those that pages said. `server` is called when it is needed. */
export function spectator(server: () => ServerProcess) {
  const errors: string[] = [];
  const ask = async <T>(path: string): Promise<T> => (await fetch(`${server().url}${path}`)).json() as Promise<T>;
  const run = () => ask<RunSnapshot>('/v1/run');
  async function open(browser: Browser, path: string, { options }: Screen, colorScheme: 'light' | 'dark' = 'light'): Promise<Page> {
    const page = await (await browser.newContext({ ...options, colorScheme })).newPage();
    page.on('pageerror', ({ message }) => errors.push(`${path}: ${message}`));
    page.on('console', (message) => message.type() === 'error' && errors.push(`${path}: ${message.text()}`));
    await page.goto(`${server().url}${path}`);
    return page;
  }
  return { errors, ask, run, open };
}

/** With a run of six steps that is over and stands still, and so do its pages: one for all files of a worker, since none changes it. */
export const test = base.extend<object, { finished: ServerProcess }>({
  finished: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads from it what a fixture needs.
    async ({}, use) => {
      const { server, end } = await begin(['--steps', '6']);
      const { run } = spectator(() => server);
      await expect.poll(async () => (await run()).phase).toBe('complete');
      await use(server);
      await end();
    },
    { scope: 'worker', timeout: 12 * 60_000 },
  ],
});
