/** Nothing jumps: every page is opened while the run goes on, and stays where it is while its numbers change. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import type { RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { INTENSITY } from './pace.ts';

/** Cumulative layout shift of the worst window, as Web Vitals count it, who call less than 0.1 good. */
const MOST = 0.02;
/** Rows of the leaderboard change places as scores do, and those of the first audits make room for new ones. */
const MOST_OF: Record<string, number> = { '/miners': 0.1, '/audits': 0.1 };
const PATHS = ['/', '/dashboard', '/miners', '/miner/:id', '/stage/1', '/audits', '/chain', '/playground', '/replay'];

let server: ServerProcess;
let miners: NodeMiner[];
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-shifts-'));
  server = await startServerProcess(
    `--port 0 --data ${data} --block-ms 200 --tempo 5 --round-steps 1 --preset pico --stages 2 --microbatches 4 --steps 0`.split(' '),
  );
  miners = ['kestrel', 'wren', 'osprey'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm', intensity: INTENSITY }));
  await expect.poll(async () => (await run()).step).toBeGreaterThan(0);
});
test.afterAll(async () => {
  await Promise.all(miners.map((miner) => miner.stop()));
  await server.kill();
});

const run = async (url = server.url) => (await fetch(`${url}/v1/run`)).json() as Promise<RunSnapshot>;

interface Shifts {
  /** Of the worst window. */
  sum: number;
  /** Of this one: shifts less than a second apart, for five seconds. */
  window: { sum: number; first: number; last: number };
  /** What did, to tell people. */
  moved: string[];
}
type LayoutShift = PerformanceEntry & {
  value: number;
  hadRecentInput: boolean;
  sources: { node: Node | null; previousRect: DOMRect; currentRect: DOMRect }[];
};

async function open(browser: Browser, url: string, width: number, height = 800) {
  const page = await (await browser.newContext({ viewport: { width, height } })).newPage();
  await page.addInitScript(() => {
    const shifts: Shifts = { sum: 0, window: { sum: 0, first: 0, last: 0 }, moved: [] };
    Object.assign(window, { shifts });
    new PerformanceObserver((list) => {
      for (const { value, startTime, hadRecentInput, sources } of list.getEntries() as LayoutShift[]) {
        if (hadRecentInput) continue;
        const { first, last, sum } = shifts.window;
        const goesOn = startTime - last < 1_000 && startTime - first < 5_000;
        shifts.window = { sum: value + (goesOn ? sum : 0), first: goesOn ? first : startTime, last: startTime };
        shifts.sum = Math.max(shifts.sum, shifts.window.sum);
        for (const { node, previousRect, currentRect } of sources)
          shifts.moved.push(
            `${node?.nodeName}.${(node as Element | null)?.className}: ${previousRect.y} → ${currentRect.y}, ${value.toFixed(3)}`,
          );
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await page.goto(url);
  await expect(page.getByRole('heading').first()).toBeVisible();
  return page;
}

const shiftsOf = (page: Page) => page.evaluate(() => (window as unknown as { shifts: Shifts }).shifts);

for (const width of [360, 1280]) {
  test(`pages ${width} px wide stay where they are while the run goes on`, async ({ browser }) => {
    const before = await run();
    const id = before.stages[0]!.miners[0]!.id;
    const pages = await Promise.all(PATHS.map((path) => open(browser, `${server.url}${path.replace(':id', id)}`, width)));
    const { step } = await run();
    await expect.poll(async () => (await run()).step).toBeGreaterThan(step);
    for (const [i, path] of PATHS.entries()) {
      const { sum, moved } = await shiftsOf(pages[i]!);
      expect.soft(sum, `${path} at ${width} px: ${moved.join('; ')}`).toBeLessThan(MOST_OF[path] ?? MOST);
      await pages[i]!.context().close();
    }
  });
}

test('the page to mine on stays where it is in a window that shows all of it, while its account is asked for', async ({ browser }) => {
  for (const width of [360, 700, 1000, 1440]) {
    const page = await open(browser, server.url, width, 2600);
    await expect(page.getByRole('region', { name: 'Account' })).toContainText('Mining as a guest');
    await expect(page.getByRole('region', { name: 'History' })).toBeVisible();
    const { sum, moved } = await shiftsOf(page);
    expect.soft(sum, `${width} px: ${moved.join('; ')}`).toBeLessThan(0.5 * MOST);
    await page.context().close();
  }
});

test('the run log stands still while merges come many a second, and while somebody reads it', async ({ browser }) => {
  const data = mkdtempSync(join(tmpdir(), 'starling-quick-'));
  const quick = await startServerProcess(
    `--port 0 --data ${data} --preset pico --stages 1 --sequences 1 --microbatches 1 --steps 0`.split(' '),
  );
  const miner = startNodeMiner({ url: quick.url, name: 'kestrel', backend: 'wasm', intensity: 0.25 });
  const steps = async (more: number) => {
    const { step } = await run(quick.url);
    await expect.poll(async () => (await run(quick.url)).step).toBeGreaterThan(step + more);
  };
  try {
    await expect.poll(async () => (await run(quick.url)).step).toBeGreaterThan(20);
    const pages = await Promise.all([360, 1280].map((width) => open(browser, `${quick.url}/dashboard`, width)));
    const logs = pages.map((page) => page.getByRole('region', { name: 'Run log' }));
    for (const log of logs) {
      // What is out of sight never counts as moved.
      await log.scrollIntoViewIfNeeded();
      await expect(log.getByText(/^Steps \d+–\d+ made versions/).first()).toBeVisible();
      await expect(log.locator('[aria-live], [role=log], [role=status]'), 'nobody is read ten lines a second').toHaveCount(0);
    }
    await steps(100);
    for (const [i, page] of pages.entries()) {
      const { sum, moved } = await shiftsOf(page);
      expect.soft(sum, `${page.viewportSize()!.width} px: ${moved.join('; ')}`).toBeLessThan(MOST);
      const log = logs[i]!;
      await log.getByRole('listitem').first().getByRole('link').first().focus();
      const lines = await log.getByRole('listitem').allInnerTexts();
      await steps(20);
      expect(await log.getByRole('listitem').allInnerTexts(), 'who reads is not interrupted').toEqual(lines);
      await log.getByRole('button', { name: 'Newer lines' }).click();
      await expect(log.getByRole('listitem').first()).not.toHaveText(lines[0]!);
      await expect(log.getByRole('button', { name: 'Newer lines' })).toBeHidden();
    }
  } finally {
    await miner.stop();
    await quick.kill();
  }
});
