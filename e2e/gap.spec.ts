/** A spectator whose line is cut while the run goes on: what the page says meanwhile, and that it then has all it missed. */
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, type WebSocketRoute } from '@playwright/test';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import type { RunSnapshot, StepPoint } from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { INTENSITY } from './pace.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
let miner: NodeMiner;
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-gap-'));
  server = await startServerProcess(`--port 0 --data ${data} --preset pico --stages 1 --sequences 1 --microbatches 4 --steps 0`.split(' '));
  miner = startNodeMiner({ url: server.url, name: 'kestrel', backend: 'wasm', intensity: INTENSITY });
  await expect.poll(async () => (await run()).step).toBeGreaterThan(0);
});
test.afterAll(async () => {
  await miner.stop();
  await server.kill();
});
const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
const run = () => ask<RunSnapshot>('/v1/run');

for (const screen of SCREENS) {
  test(`a spectator who was away is sent what it missed, and nothing else, on ${screen.name}`, async ({ browser }) => {
    miner.order({ type: 'resume' });
    const context = await browser.newContext(screen.options);
    let cut = false;
    const lines = new Set<WebSocketRoute>();
    /** What the server sent, in order. */
    const sent: { name: string; sequence: number }[] = [];
    await context.routeWebSocket(/\/socket\.io\//, (line) => {
      if (cut) return void line.close();
      const far = line.connectToServer();
      lines.add(far).add(line);
      const decoder = new packets.Decoder();
      decoder.on('decoded', ({ data }: { data?: unknown }) => {
        if (!Array.isArray(data)) return;
        const [name, { sequence }] = data as [string, { sequence: number }];
        sent.push({ name, sequence });
      });
      far.onMessage((message) => {
        if (typeof message !== 'string') decoder.add(message);
        line.send(message);
      });
    });
    const page = await context.newPage();
    await page.goto(`${server.url}/dashboard`);
    const connection = page.getByRole('banner').getByRole('status');
    await expect(connection).toHaveText(/live$/);
    await expect.poll(() => sent.length).toBeGreaterThan(2);

    cut = true;
    for (const line of lines) await line.close();
    await expect(connection).toHaveText(/reconnecting$/);
    await expect(page.getByText('what you see is its last word')).toBeVisible();
    await fits(page);
    const before = sent.length;
    const { step } = await run();
    await expect.poll(async () => (await run()).step).toBeGreaterThan(step + 5);

    cut = false;
    await expect(connection).toHaveText(/live$/);
    await expect(page.getByText('what you see is its last word')).toBeHidden();
    expect(sent[0]!.name).toBe('snapshot');
    const again = sent.slice(before);
    expect(new Set(again.map(({ name }) => name)), 'no second snapshot').toEqual(new Set(['update']));
    const [next] = again as [(typeof sent)[number]];
    expect(again.map(({ sequence }) => sequence)).toEqual(again.map((_, i) => next.sequence + i));
    // What was on the line when it was cut comes again.
    expect(next.sequence).toBeLessThanOrEqual(sent[before - 1]!.sequence + 1);

    // Once the run stands still, the page has every step of it.
    miner.order({ type: 'pause' });
    const steps = async () => (await ask<StepPoint[]>('/v1/run/points')).map((point) => `${point.step}`);
    const shown = async () => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: 'Save Learning rate as CSV' }).click(),
      ]);
      const [, ...all] = (await readFile(await download.path(), 'utf8')).trimEnd().split('\r\n');
      return all.map((line) => line.split(',')[0]);
    };
    await expect.poll(async () => `${await shown()}` === `${await steps()}`).toBe(true);
    await context.close();
  });
}
