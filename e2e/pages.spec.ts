/** Every page: accessible, without errors, in both themes, from a telephone to a wide screen; and what a spectator does on them. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, expect, type Locator, type Page, test } from '@playwright/test';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import type { ChainView, Moment, MomentRange, RunSnapshot, StepPoint } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { layOut } from '../apps/web/src/network/layout.ts';

test.describe.configure({ mode: 'serial', timeout: 180_000 });

const SLOW = { timeout: 45_000 };
/** Compressed JavaScript that the dashboard may need before it shows anything. */
const MOST_JAVASCRIPT = 200 * 1024;
let server: ServerProcess;
let miners: NodeMiner[];
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-pages-'));
  const sizes = ['--stages', '2', '--sequences', '1', '--microbatches', '4', '--steps', '6', '--validate-every', '2'];
  server = await startServerProcess([
    '--port',
    '0',
    '--data',
    data,
    '--block-ms',
    '200',
    '--tempo',
    '5',
    '--round-steps',
    '1',
    '--held-steps',
    '1',
    ...sizes,
  ]);
  miners = ['kestrel', 'wren', 'osprey'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
  // The run ends and stands still: so do the pages.
  await expect.poll(async () => (await run()).phase, { timeout: 120_000 }).toBe('complete');
});
test.afterAll(async () => {
  await Promise.all(miners.map((miner) => miner.stop()));
  await server.kill();
});

const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
const run = () => ask<RunSnapshot>('/v1/run');
const errors: string[] = [];
async function open(
  browser: Browser,
  path: string,
  viewport: { width: number; height: number },
  colorScheme: 'light' | 'dark',
): Promise<Page> {
  const page = await (await browser.newContext({ viewport, colorScheme })).newPage();
  page.on('pageerror', ({ message }) => errors.push(`${path}: ${message}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(`${path}: ${message.text()}`));
  await page.goto(`${server.url}${path}`);
  return page;
}

const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };
const WIDE = { width: 3840, height: 2160 };
/** What is there when a page is. */
const PAGES: [path: string, heading: string][] = [
  ['/', 'The pipeline'],
  ['/dashboard', 'The network'],
  ['/miners', 'Miners'],
  ['/miner/:id', 'Receipts'],
  ['/stage/1', 'Who holds it'],
  ['/audits', 'Newest audits'],
  ['/chain', 'Chain'],
  ['/playground', 'Playground'],
  ['/replay', 'Replay'],
  ['/no/such/page', 'No such page'],
];
const heading = (page: Page, name: string) => page.getByRole('heading', { name, exact: true }).first();

for (const [path, name] of PAGES) {
  test(`${path} is accessible in both themes, and fits a telephone, a desktop and a wide screen`, async ({ browser }) => {
    // Colours and places of the other sizes and theme must be there at once, not after a transition.
    const page = await open(browser, path.replace(':id', (await run()).stages[0]!.miners[0]!.id), DESKTOP, 'light');
    await expect(heading(page, name)).toBeVisible(SLOW);
    for (const [viewport, scheme] of [
      [DESKTOP, 'light'],
      [DESKTOP, 'dark'],
      [PHONE, 'light'],
      [WIDE, 'dark'],
    ] as const) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await expect(heading(page, name)).toBeVisible();
      // A chart takes the page's new width a moment after the page does.
      const sideways = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await expect.poll(sideways, { message: 'no sideways scroll' }).toBeLessThanOrEqual(0);
      const { violations } = viewport === WIDE ? { violations: [] } : await new AxeBuilder({ page }).analyze();
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
      expect(
        serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
        `${path} at ${viewport.width}, ${scheme}`,
      ).toEqual([]);
    }
    await page.context().close();
  });
}

test('size limit: the dashboard needs little JavaScript at first, and nothing jumps while it loads', async ({ browser }) => {
  const context = await browser.newContext({ viewport: DESKTOP });
  const page = await context.newPage();
  const scripts: Promise<number>[] = [];
  page.on('response', (response) => {
    if (/javascript/.test(response.headers()['content-type'] ?? ''))
      scripts.push(response.body().then((body) => gzipSync(body).byteLength));
  });
  await page.addInitScript(() => {
    const shifts = { sum: 0 };
    Object.assign(window, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean })[])
        if (!entry.hadRecentInput) shifts.sum += entry.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await page.goto(`${server.url}/dashboard`);
  await expect(heading(page, 'The network')).toBeVisible(SLOW);
  await page.waitForLoadState('networkidle');
  const bytes = (await Promise.all(scripts)).reduce((sum, size) => sum + size, 0);
  console.log(`JavaScript of the dashboard, gzip: ${(bytes / 1024).toFixed(0)} KiB`);
  expect(bytes).toBeLessThan(MOST_JAVASCRIPT);
  const shift = await page.evaluate(() => (window as unknown as { shifts: { sum: number } }).shifts.sum);
  console.log(`Cumulative layout shift: ${shift.toFixed(3)}`);
  expect(shift, 'Web Vitals call less than 0.1 good').toBeLessThan(0.1);
  await context.close();
});

/** A page is used at desktop size, and then made a telephone's. */
async function asPhone(page: Page): Promise<void> {
  await page.setViewportSize(PHONE);
  // A chart takes the page's new width a moment after the page does.
  const sideways = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await expect.poll(sideways, { message: 'no sideways scroll' }).toBeLessThanOrEqual(0);
}

test('from the network to a miner and a stage, by name, hotkey, UID and click; on a telephone, too', async ({ browser }) => {
  const { pay } = await ask<ChainView>('/v1/chain');
  const { address } = pay.find(({ names }) => names.includes('kestrel'))!;
  const page = await open(browser, '/dashboard', DESKTOP, 'light');
  const network = page.getByRole('region', { name: 'The network' });
  for (const query of ['kestr', address.slice(0, 16)]) {
    await network.getByRole('searchbox').fill(query);
    await expect(network.getByText('1 found')).toBeVisible();
    await network.getByRole('searchbox').press('Enter');
    await expect(page).toHaveURL(/\/miner\/m-/);
    await expect(page.getByText('kestrel').first()).toBeVisible();
    await page.goBack();
    await asPhone(page);
  }
  const canvas = network.locator('canvas');
  for (const viewport of [PHONE, DESKTOP]) {
    await page.setViewportSize(viewport);
    const box = (await canvas.boundingBox())!;
    await canvas.click({ position: { x: box.width * 0.98, y: box.height * 0.6 } });
    await expect(page).toHaveURL(/\/stage\/1$/);
    await page.getByRole('link', { name: 'stage 0' }).click();
    await expect(page.getByRole('heading', { name: /^Stage 0/ })).toBeVisible();
    await page.goto(`${server.url}/dashboard`);
  }
  await expect(page.getByRole('img', { name: 'Step 7: complete, 100 % of its microbatches are done' })).toBeVisible();
  await page.context().close();
});

test('a pointer names a miner and opens it; a finger is told whom it means, and opens that by a second tap', async ({ browser }) => {
  for (const viewport of [DESKTOP, PHONE]) {
    const touch = viewport === PHONE;
    const page = await (await browser.newContext({ viewport, hasTouch: touch })).newPage();
    await page.goto(`${server.url}/dashboard`);
    const network = page.getByRole('region', { name: 'The network' });
    const canvas = network.locator('canvas');
    await expect(network.getByText('3 miners')).toBeVisible(SLOW);
    const { width, height } = (await canvas.boundingBox())!;
    const snapshot = await run();
    for (const { dots } of layOut(snapshot, width, height, Date.now())) {
      const { x, y, id, name } = dots[0]!;
      const position = { x: x + 3, y: y - 3 };
      await (touch ? canvas.tap({ position }) : canvas.hover({ position }));
      const tip = network.locator('.network-tip');
      await expect(tip).toContainText(name);
      await expect(page).toHaveURL(/\/dashboard$/);
      const [inner, outer] = [(await tip.boundingBox())!, (await canvas.boundingBox())!];
      expect(inner.x).toBeGreaterThanOrEqual(outer.x);
      expect(inner.x + inner.width).toBeLessThanOrEqual(outer.x + outer.width);
      await (touch ? canvas.tap({ position }) : canvas.click({ position }));
      await expect(page).toHaveURL(new RegExp(`/miner/${id}$`));
      await page.goBack();
    }
    await page.context().close();
  }
});

test('the chain page tells the way from receipts to emission, and finds a neuron', async ({ browser }) => {
  const paid = async () => (await ask<ChainView>('/v1/chain')).pay.filter(({ uid, emission }) => uid !== null && Number(emission) > 0);
  await expect.poll(async () => (await paid()).length, SLOW).toBeGreaterThan(0);
  const [{ address }] = (await paid()) as [ChainView['pay'][number]];
  const page = await open(browser, '/chain', DESKTOP, 'light');
  await expect(page.getByRole('region', { name: 'Accounts' }).getByRole('row')).toHaveCount(4);
  await expect(page.getByRole('listitem').filter({ hasText: /^Receipts/ })).toContainText(/round \d+, step 6/);
  await expect(page.getByRole('listitem').filter({ hasText: /^Weights/ })).toContainText(/round \d+, block [\d,]+/);
  // Every account by name, at every size; the legend in the order of the bars.
  const shares = page.getByRole('region', { name: 'Work and pay' });
  for (const viewport of [DESKTOP, PHONE]) {
    await page.setViewportSize(viewport);
    const names = shares.locator('.recharts-xAxis-tick-labels .recharts-cartesian-axis-tick-value');
    await expect.poll(async () => (await names.allTextContents()).toSorted()).toEqual(['kestrel', 'osprey', 'wren']);
    await expect(shares.locator('.recharts-legend-item-text')).toHaveText(['share of all work', 'share of all emission']);
  }
  await page.setViewportSize(DESKTOP);
  const rows = page
    .getByRole('region', { name: 'Metagraph' })
    .getByRole('row')
    .filter({ has: page.getByRole('rowheader') });
  for (const query of [address, address.slice(8, 24)]) {
    await page.getByRole('searchbox').fill(query);
    await expect(rows).toHaveCount(1);
    await expect(rows.locator('code')).toHaveAttribute('title', new RegExp(`^${address}`));
    await asPhone(page);
  }
  await page.context().close();
});

test('the leaderboard is sorted, filtered and taken home, on a telephone, too', async ({ browser }) => {
  const page = await open(browser, '/miners', DESKTOP, 'light');
  const rows = page.getByRole('row').filter({ has: page.getByRole('rowheader') });
  await expect(rows).toHaveCount(3);
  // Each signs its receipts with a key of its own, and is an account for itself.
  await expect(rows.locator('small[title]:not([title=""])')).toHaveCount(3);
  const order = async () => (await rows.allInnerTexts()).map((text) => /kestrel|osprey|wren/.exec(text)?.[0]);
  const byName = page.getByRole('button', { name: 'Miner', exact: true });
  await byName.click();
  expect(await order()).toEqual(['kestrel', 'osprey', 'wren']);
  await expect(page.getByRole('columnheader', { name: 'Miner' })).toHaveAttribute('aria-sort', 'ascending');
  await asPhone(page);
  await byName.click();
  expect(await order()).toEqual(['wren', 'osprey', 'kestrel']);
  await page.getByRole('searchbox').fill('wren');
  await expect(rows).toHaveCount(1);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'CSV' }).click();
  expect((await download).suggestedFilename()).toBe('miners.csv');
  await page.context().close();
});

test('curves go to a spreadsheet and into a picture', async ({ browser }) => {
  const page = await open(browser, '/dashboard', DESKTOP, 'dark');
  for (const [kind, file] of [
    ['CSV', 'loss-nats-per-token.csv'],
    ['PNG', 'loss-nats-per-token.png'],
  ] as const) {
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: `Save Loss, nats per token as ${kind}` }).click();
    expect((await download).suggestedFilename()).toBe(file);
    await asPhone(page);
  }
  // Values without a pointer.
  const chart = page.getByRole('figure').filter({ has: page.getByRole('heading', { name: 'Loss, nats per token' }) });
  await chart.getByRole('img').focus();
  for (const [key, text] of [
    ['ArrowLeft', 'step 6'],
    ['ArrowLeft', 'step 5'],
    ['Home', 'step 1'],
    ['ArrowRight', 'step 2'],
    ['Escape', ''],
  ] as const) {
    await page.keyboard.press(key);
    await expect(chart.locator('.chart-x')).toHaveText(text);
  }
  await page.context().close();
});

test('a range is set by fields and by dragging, and is that of all curves', async ({ browser }) => {
  const page = await open(browser, '/dashboard', DESKTOP, 'light');
  const curves = page.getByRole('region', { name: 'Curves' });
  const [from, to] = [curves.getByLabel('From, step'), curves.getByLabel('to, step')];
  const chart = (title: string) => curves.getByRole('figure').filter({ has: page.getByRole('heading', { name: title, exact: true }) });
  const large = chart('Loss, nats per token');
  const hover = async (plot: Locator, share: number) => {
    const { width, height } = (await plot.boundingBox())!;
    await plot.hover({ position: { x: share * (width - 1), y: height / 2 } });
  };
  const shows = async (first: number, last: number) => {
    for (const [share, step] of [
      [0, first],
      [1, last],
    ] as const) {
      await hover(large.locator('.u-over'), share);
      await expect(large.locator('.chart-x')).toHaveText(`step ${step}`);
    }
  };
  await shows(1, 6);
  await from.fill('2');
  await to.fill('4');
  await shows(2, 4);
  await curves.getByRole('button', { name: 'All' }).click();
  await shows(1, 6);
  // In another chart, from the middle to its end.
  const other = chart('Queue of ready tasks, by stage').locator('.u-over');
  await hover(other, 0.5);
  await page.mouse.down();
  await hover(other, 0.75);
  await hover(other, 1);
  await page.mouse.up();
  await expect(from).toHaveValue('3');
  await expect(to).toHaveValue('6');
  await shows(3, 6);
  await large.locator('.u-over').dblclick();
  await shows(1, 6);
  await asPhone(page);
  await from.fill('2');
  await to.fill('5');
  await shows(2, 5);
  for (const viewport of [PHONE, DESKTOP]) {
    await page.setViewportSize(viewport);
    await from.fill('5');
    await to.fill('2');
    await expect(curves.getByText('Nothing lies there: all is shown.')).toBeVisible();
    for (const field of [from, to]) await expect(field).toHaveAttribute('aria-invalid', 'true');
    await shows(1, 6);
    await to.fill('6');
    await expect(from).toHaveAttribute('aria-invalid', 'false');
    await shows(5, 6);
  }
  await page.context().close();
});

test('axes say what they show, bytes in round numbers; a spike flattens no loss curve, and is shown when asked for', async ({
  browser,
}) => {
  for (const viewport of [DESKTOP, PHONE]) {
    const page = await (await browser.newContext({ viewport })).newPage();
    await page.addInitScript(() => {
      const { fillText } = CanvasRenderingContext2D.prototype;
      const drawn = new Map<HTMLCanvasElement, string[]>();
      CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        drawn.set(this.canvas, [...(drawn.get(this.canvas) ?? []), text]);
        fillText.call(this, text, ...place);
      };
      Object.assign(window, { drawn });
    });
    // Forty steps more than there were, and one of them went wrong.
    await page.route('**/v1/moments/*', async (route) => {
      const moment = (await (await route.fetch()).json()) as Moment;
      const last = moment.points.at(-1)!;
      const more = (i: number) => ({
        ...last,
        step: last.step + i,
        loss: i === 20 ? 8.3 : 2 + 0.1 * Math.sin(i * i),
        bytesPerToken: 1024 * (9 + i),
      });
      await route.fulfill({ json: { ...moment, points: [...moment.points, ...Array.from({ length: 40 }, (_, i) => more(i + 1))] } });
    });
    await page.goto(`${server.url}/replay`);
    const chart = (title: string) => page.getByRole('figure').filter({ has: page.getByRole('heading', { name: title, exact: true }) });
    const texts = (title: string) =>
      chart(title)
        .locator('canvas')
        .evaluate((canvas) => (window as unknown as { drawn: Map<Element, string[]> }).drawn.get(canvas) ?? []);
    const forget = () => page.evaluate(() => (window as unknown as { drawn: Map<Element, string[]> }).drawn.clear());
    const loss = chart('Loss, nats per token');
    await expect(loss.getByRole('button', { name: 'Spikes up to 8.300 are cut off: show them' })).toBeVisible(SLOW);
    expect(await texts('Loss, nats per token')).toContain('step');
    expect((await texts('Loss, nats per token')).map(Number)).not.toContain(8);
    expect(await texts('Server bytes per token')).toContain('20 KiB');
    await forget();
    await loss.getByRole('button', { name: /^Spikes/ }).click();
    await expect.poll(async () => (await texts('Loss, nats per token')).map(Number)).toContain(8);
    await forget();
    await loss.getByRole('button', { name: 'Cut spikes off' }).click();
    await expect.poll(async () => (await texts('Loss, nats per token')).length).toBeGreaterThan(0);
    expect((await texts('Loss, nats per token')).map(Number)).not.toContain(8);
    for (const [axis, name] of [
      ['Tokens', 'tokens'],
      ['Time', 'time since the start'],
    ] as const) {
      await page.getByRole('radio', { name: axis, exact: true }).check();
      await expect.poll(() => texts('Learning rate')).toContain(name);
    }
    await expect(chart('Lease time by stage').getByRole('listitem')).toHaveText([/^stage 0/, /^stage 1/]);
    await page.context().close();
  }
});

test('throughput and queue are curves by stage, and progress is counted in tokens', async ({ browser }) => {
  const points = await ask<StepPoint[]>('/v1/run/points');
  expect(points).toHaveLength(6);
  for (const { stageTokensPerSecond, queue } of points) {
    expect(stageTokensPerSecond!.map((rate) => rate! > 0)).toEqual([true, true]);
    expect(queue!.every((mean) => mean! >= 0)).toBe(true);
  }
  const page = await open(browser, '/dashboard', DESKTOP, 'light');
  const { tokens, config } = await run();
  const { steps, microbatchesPerStep, sequences, model } = config;
  const bar = page.getByRole('progressbar', { name: 'Tokens of the goal' });
  await expect(bar).toHaveAttribute('aria-valuenow', `${tokens}`);
  await expect(bar).toHaveAttribute('aria-valuemax', `${steps * microbatchesPerStep * sequences * model.context}`);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save Tokens per second, by stage as CSV' }).click();
  const [head, first] = readFileSync((await (await download).path())!, 'utf8').split('\r\n');
  expect([head, first!.split(',').length]).toEqual(['step,stage 0,stage 1', 3]);
  await page.context().close();
});

test('on a telephone the open page is seen among the pages, and the metagraph sorts', async ({ browser }) => {
  const page = await open(browser, '/dashboard', PHONE, 'light');
  const pages = page.getByRole('navigation', { name: 'Pages' });
  for (const name of ['Replay', 'Chain']) {
    await pages.getByRole('link', { name }).click();
    await expect(pages.locator('[aria-current]')).toHaveText(name);
    await expect(pages.locator('[aria-current]')).toBeInViewport({ ratio: 1 });
    await expect(heading(page, name)).toBeVisible(SLOW);
    await asPhone(page);
  }
  // WCAG 2.2, 2.5.8.
  for (const button of await page.getByRole('banner').getByRole('button').all()) {
    const { width, height } = (await button.boundingBox())!;
    expect(Math.min(width, height)).toBeGreaterThanOrEqual(24);
  }
  const metagraph = page.getByRole('region', { name: 'Metagraph' });
  const uids = async () => (await metagraph.getByRole('row').locator('td:first-child').allInnerTexts()).map(Number);
  await expect(metagraph.getByRole('columnheader', { name: 'Validator trust' })).toBeVisible(SLOW);
  const before = await uids();
  expect(before).toEqual(before.toSorted((a, b) => a - b));
  await metagraph.getByRole('button', { name: 'UID' }).click();
  await expect(metagraph.getByRole('columnheader', { name: 'UID' })).toHaveAttribute('aria-sort', 'descending');
  expect(await uids()).toEqual(before.toReversed());
  await page.context().close();
});

test('an audit opens to every number that was compared, and older ones are a page away', async ({ browser }) => {
  const limit = { cosineDistance: 3e-5, relativeL2: 2e-3 };
  const checks = [
    { quantity: 'activations', microbatch: 7, cosineDistance: 1e-5, relativeL2: 1e-3, limit, passed: true },
    { quantity: 'gradient', microbatch: null, cosineDistance: null, relativeL2: null, limit, passed: false },
  ];
  const verdict = { outcome: 'failed', finding: 'The gradient sum has nothing in common with it.', checks, compared: 2, computeMs: 9 };
  const audits = Array.from({ length: 23 }, (_, i) => ({
    id: 23 - i,
    time: 1e12,
    minerId: `m${23 - i}`,
    stage: 0,
    version: 3,
    verdict,
    validator: null,
  }));
  const page = await (await browser.newContext({ viewport: PHONE })).newPage();
  await page.route('**/v1/audits?*', (route) => {
    const query = new URL(route.request().url()).searchParams;
    const before = Number(query.get('before') ?? Infinity);
    return route.fulfill({ json: { audits: audits.filter(({ id }) => id < before).slice(0, Number(query.get('limit'))), validators: [] } });
  });
  await page.goto(`${server.url}/audits`);
  const feed = page.getByRole('region', { name: 'Newest audits' });
  const openers = feed.getByRole('button', { name: /What was compared/ });
  await expect(openers).toHaveCount(20);
  await openers.first().focus();
  await page.keyboard.press('Enter');
  await expect(feed.getByText(verdict.finding)).toBeVisible();
  await expect(feed.getByRole('row', { name: 'output of microbatch 7 1.00e-5 of 3.00e-5 1.00e-3 of 2.00e-3 passed' })).toBeVisible();
  await expect(feed.getByRole('row', { name: 'gradient sum unlike of 3.00e-5 unlike of 2.00e-3 failed' })).toBeVisible();
  await feed.getByRole('button', { name: 'Older' }).click();
  await expect(openers).toHaveCount(3);
  await page.context().close();
});

test('the log tells of every merge, is filtered by keyboard, and leads to the run as it was', async ({ browser }) => {
  const page = await open(browser, '/dashboard', DESKTOP, 'light');
  const log = page.getByRole('region', { name: 'Run log' });
  const lines = log.getByRole('listitem');
  await log.getByRole('radio', { name: 'All' }).focus();
  await page.keyboard.press('ArrowRight');
  await expect(log.getByRole('radio', { name: 'Merges' })).toBeChecked();
  await expect(lines.filter({ hasNotText: /Steps? [\d–]+ made versions? [\d–]+: / })).toHaveCount(0);
  // Those that come close after each other have a line together.
  const steps = (await lines.allInnerTexts()).flatMap((text) => {
    const [, first, last = first] = /Steps? (\d+)(?:–(\d+))? made/.exec(text)!;
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(last) - i);
  });
  expect(steps).toEqual([5, 4, 3, 2, 1, 0]);
  await page.keyboard.press('ArrowRight');
  await expect(lines.filter({ hasText: 'joined at stage' })).toHaveCount(3);
  await log.getByRole('link', { name: 'Replay' }).click();
  await expect(page.getByRole('region', { name: 'Replay' }).getByText(/step 6/)).toBeVisible(SLOW);
  // There, too, a line leads to its moment.
  await log.getByRole('radio', { name: 'Merges' }).check();
  const [, newest] = /Steps? (?:\d+–)?(\d+) made/.exec((await lines.last().textContent())!)!;
  await lines.last().getByRole('link').first().click();
  await expect(page).toHaveURL(/at=\d+/);
  await expect(page.getByRole('region', { name: 'Replay' }).getByText(`step ${Number(newest) + 1} `)).toBeVisible(SLOW);
  await page.context().close();
});

test('the run is scrubbed, and a moment is shared by its address', async ({ browser }) => {
  const { last } = await ask<MomentRange>('/v1/moments');
  // What curves and log knew then, and no more.
  for (const share of [0.3, 0.7, 1]) {
    const moment = await ask<Moment>(`/v1/moments/${Math.floor(share * last.seq)}`);
    expect(moment.points.map(({ step }) => step)).toEqual(Array.from({ length: moment.run.step }, (_, i) => i + 1));
    expect(moment.run.tokens).toBe(moment.points.at(-1)?.tokens ?? 0);
    expect(moment.events.length).toBeGreaterThan(0);
    for (const { time } of [...moment.points, ...moment.events]) expect(time).toBeLessThanOrEqual(moment.at);
  }
  const page = await open(browser, '/replay', DESKTOP, 'light');
  const bar = page.getByRole('region', { name: 'Replay' });
  await expect(bar.getByText(/step 6/)).toBeVisible(SLOW);
  await bar.getByRole('slider').fill('200');
  // The log may grow meanwhile: it is a fifth of what it was, or a little more.
  const sought = () => Number(new URL(page.url()).searchParams.get('at'));
  await expect.poll(sought).toBeGreaterThanOrEqual(Math.floor(last.seq / 5));
  expect(sought()).toBeLessThan(0.4 * last.seq + 100);
  await expect(bar.getByText(/step [0-5] /)).toBeVisible(SLOW);
  const text = (await bar.getByText(/· entry/).textContent())!.replace(/ of [\d,]+ /, ' of ');
  const other = await open(browser, new URL(page.url()).pathname + new URL(page.url()).search, DESKTOP, 'light');
  const same = async () => (await other.getByText(/· entry/).textContent())?.replace(/ of [\d,]+ /, ' of ');
  await expect.poll(same, SLOW).toBe(text);
  // The link is copied, and that is said; where the browser does not copy, the link is there, and is selected.
  for (const viewport of [DESKTOP, PHONE]) {
    await page.setViewportSize(viewport);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    await bar.getByRole('button', { name: 'Copy link' }).click();
    await expect(bar.getByRole('status')).toHaveText('Copied.');
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(page.url());
    await page.context().clearPermissions();
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }));
    await bar.getByRole('button', { name: 'Copy link' }).click();
    await expect(bar.getByRole('textbox')).toHaveValue(page.url());
    expect(await bar.getByRole('textbox').evaluate((field: HTMLInputElement) => field.value.slice(field.selectionStart!))).toBe(page.url());
    await page.evaluate(() => Reflect.deleteProperty(navigator, 'clipboard'));
  }
  // Before anybody was there.
  await asPhone(page);
  await bar.getByRole('slider').fill('0');
  await expect(bar.getByText(/entry 1 of/)).toBeVisible(SLOW);
  await expect(page.getByRole('region', { name: 'The network' }).getByText('0 miners')).toBeVisible();
  await other.context().close();
  await page.context().close();
});

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
