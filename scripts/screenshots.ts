/**
 * `npm run screenshots`: the pictures in docs/screenshots, of a real run with miners in this process's threads, and one in the pictured
 * page. Both themes at desktop size, and the first two pages at a phone's.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import { startServer } from '@starling/server';
import { chromium, type Page } from 'playwright-core';

const FOLDER = join(import.meta.dirname, '../docs/screenshots');
const STEPS = 60;
const NAMES = [
  ...['kestrel', 'wren', 'osprey', 'lapwing', 'dunlin', 'siskin', 'avocet', 'bittern', 'curlew', 'dotterel', 'egret', 'fulmar'],
  ...['gannet', 'hobby', 'jackdaw', 'knot', 'linnet', 'merlin', 'nuthatch', 'ouzel', 'plover'],
];
const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
const SOON = { timeout: 120_000 };
/** Each waits for what the picture is to show. */
const READY: Record<string, (page: Page) => Promise<unknown>> = {
  mine: async (page) => {
    await page.getByRole('button', { name: 'Start' }).click();
    await page
      .getByRole('region', { name: 'History' })
      .getByRole('row', { name: /counted/ })
      .nth(7)
      .waitFor(SOON);
  },
  playground: async (page) => {
    await page.getByRole('button', { name: 'Write' }).click();
    await page
      .getByText(/^\d+ bytes, [\d,]+ a second$/)
      .nth(1)
      .waitFor(SOON);
  },
};

const dataDir = await mkdtemp(join(tmpdir(), 'starling-screenshots-'));
const server = await startServer({
  ...{ port: 0, dataDir, steps: 4 * STEPS, stages: 3, sequences: 1, microbatchesPerStep: 24, validateEvery: 5 },
  ...{ blockMs: 200, tempo: 10, roundSteps: 2, heldSteps: 6, log: () => {} },
});
const miners = NAMES.map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
await new Promise<void>((resolve) => server.onStep(({ step }) => step >= STEPS && resolve()));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH,
  args: ['--no-sandbox', '--disable-background-networking', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
});
try {
  const { stages } = server.snapshot();
  const miner = stages[1]!.miners[0]!.id;
  const { last } = (await (await fetch(`${server.url}/v1/moments`)).json()) as { last: { seq: number } };
  const pages = {
    ...{ mine: '/', dashboard: '/dashboard', miners: '/miners', stage: '/stage/1', miner: `/miner/${miner}` },
    ...{ audits: '/audits', chain: '/chain', playground: '/playground', replay: `/replay?at=${Math.round(last.seq / 2)}` },
  };
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [viewport, names] of [
      [DESKTOP, Object.keys(pages)],
      [PHONE, ['mine', 'dashboard']],
    ] as const) {
      for (const name of names) {
        const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1 });
        const page = await context.newPage();
        await page.goto(`${server.url}${pages[name as keyof typeof pages]}`);
        // A number and its bar are from the same moment.
        await page.addStyleTag({ content: '*, *::before, *::after { transition: none !important; animation: none !important }' });
        await page.getByText('live', { exact: true }).waitFor({ state: 'attached' });
        await READY[name]?.(page);
        // Long enough for charts, accounts and the first movements.
        await page.waitForTimeout(2_500);
        // While a step merges nothing flies.
        if (name === 'dashboard') await page.getByText('computing', { exact: true }).waitFor(SOON);
        const suffix = viewport === PHONE ? '-phone' : '';
        await page.evaluate(() => scrollTo(0, 0));
        await page.screenshot({ path: join(FOLDER, `${name}${suffix}-${colorScheme}.png`) });
        await context.close();
      }
    }
  }
} finally {
  await browser.close();
  await Promise.all(miners.map((one) => one.stop()));
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
}
