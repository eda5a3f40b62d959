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
import { drew, watchPicture } from './network-picture.ts';
import { DESKTOP, fits, PHONE, SCREENS, type Screen } from './screens.ts';

test.describe.configure({ mode: 'serial', timeout: 180_000 });

const SLOW = { timeout: 45_000 };
/** Compressed JavaScript that the dashboard may need before it shows anything. */
const MOST_JAVASCRIPT = 200 * 1024;
let server: ServerProcess;
let miners: NodeMiner[];
/** Of these pages' size, and paid often. */
function begin(options: string[]): Promise<ServerProcess> {
  const data = mkdtempSync(join(tmpdir(), 'starling-pages-'));
  const sizes = ['--stages', '2', '--sequences', '1', '--microbatches', '4', '--validate-every', '2'];
  const paid = ['--block-ms', '200', '--tempo', '5', '--round-steps', '1', '--held-steps', '1'];
  return startServerProcess(['--port', '0', '--data', data, ...paid, ...sizes, ...options]);
}
const crewOf = ({ url }: ServerProcess) => ['kestrel', 'wren', 'osprey'].map((name) => startNodeMiner({ url, name, backend: 'wasm' }));

test.beforeAll(async () => {
  server = await begin(['--steps', '6']);
  miners = crewOf(server);
  // The run ends and stands still: so do the pages.
  await expect.poll(async () => (await run()).phase, { timeout: 120_000 }).toBe('complete');
});
test.afterAll(async () => {
  await Promise.all(miners.map((miner) => miner.stop()));
  await server.kill();
});

const ask = async <T>(path: string, of = server): Promise<T> => (await fetch(`${of.url}${path}`)).json() as Promise<T>;
const run = (of = server) => ask<RunSnapshot>('/v1/run', of);
const errors: string[] = [];
async function open(
  browser: Browser,
  path: string,
  { options }: Screen,
  colorScheme: 'light' | 'dark' = 'light',
  of = server,
): Promise<Page> {
  const page = await (await browser.newContext({ ...options, colorScheme })).newPage();
  page.on('pageerror', ({ message }) => errors.push(`${path}: ${message}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(`${path}: ${message.text()}`));
  await page.goto(`${of.url}${path}`);
  return page;
}

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
    const page = await open(browser, path.replace(':id', (await run()).stages[0]!.miners[0]!.id), DESKTOP);
    await expect(heading(page, name)).toBeVisible(SLOW);
    for (const [viewport, scheme] of [
      [DESKTOP.options.viewport, 'light'],
      [DESKTOP.options.viewport, 'dark'],
      [PHONE.options.viewport, 'light'],
      [WIDE, 'dark'],
    ] as const) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await expect(heading(page, name)).toBeVisible();
      await fits(page);
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
  const context = await browser.newContext(DESKTOP.options);
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

/** Lines and fields of a file that the page saves at a click on this button; the first line has the names. */
async function csv(page: Page, button: Locator): Promise<{ name: string; lines: string[][] }> {
  const [download] = await Promise.all([page.waitForEvent('download'), button.click()]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trimEnd()
    .split('\r\n');
  return { name: download.suggestedFilename(), lines: lines.map((line) => line.split(',')) };
}

const curves = (page: Page) => page.getByRole('region', { name: 'Curves' });
const chart = (page: Page, title: string) =>
  curves(page)
    .getByRole('figure')
    .filter({ has: page.getByRole('heading', { name: title, exact: true }) });
const LOSS = 'Loss, nats per token';
const saveAs = (page: Page, title: string, kind: 'CSV' | 'PNG') =>
  page.getByRole('button', { name: `Save ${title} as ${kind}`, exact: true });

test('a moment knows what curves and log knew then, and no more', async () => {
  const { last } = await ask<MomentRange>('/v1/moments');
  for (const share of [0.3, 0.7, 1]) {
    const moment = await ask<Moment>(`/v1/moments/${Math.floor(share * last.seq)}`);
    expect(moment.points.map(({ step }) => step)).toEqual(Array.from({ length: moment.run.step }, (_, i) => i + 1));
    expect(moment.run.tokens).toBe(moment.points.at(-1)?.tokens ?? 0);
    expect(moment.events.length).toBeGreaterThan(0);
    for (const { time } of [...moment.points, ...moment.events]) expect(time).toBeLessThanOrEqual(moment.at);
  }
});

test.describe('where a miner is paid', () => {
  let paying: ServerProcess;
  let paid: NodeMiner[];
  // One that passed an audit: the chain knows it and pays it. Chance draws who is audited: this run goes on until it has.
  const registered = async () =>
    (await ask<ChainView>('/v1/chain', paying)).pay.find(({ uid, emission }) => uid !== null && Number(emission) > 0);
  test.beforeAll(async () => {
    paying = await begin(['--steps', '0']);
    paid = crewOf(paying);
    await expect.poll(registered, SLOW).toBeDefined();
    for (const miner of paid) miner.order({ type: 'pause' });
  });
  test.afterAll(async () => {
    await Promise.all(paid.map((miner) => miner.stop()));
    await paying.kill();
  });

  for (const screen of SCREENS) {
    test(`from the network to a miner by name, hotkey and UID, and to a stage by a click, on ${screen.name}`, async ({ browser }) => {
      const { address, uid, names } = (await registered())!;
      const [name] = names as [string];
      const { id } = (await run(paying)).stages.flatMap(({ miners }) => miners).find((miner) => miner.name === name)!;
      const page = await open(browser, '/dashboard', screen, 'light', paying);
      const network = page.getByRole('region', { name: 'The network' });
      const isTheMiner = async () => {
        await expect(page).toHaveURL(`${paying.url}/miner/${id}`);
        await expect(page.getByRole('heading', { name })).toBeVisible();
        await page.goBack();
      };
      for (const query of [name.slice(0, -1), address.slice(0, 16), String(uid)]) {
        await network.getByRole('searchbox').fill(query);
        await expect(network.getByText('1 found')).toBeVisible();
        await network.getByRole('searchbox').press('Enter');
        await isTheMiner();
        await fits(page);
      }
      const canvas = network.locator('canvas');
      const { width, height } = (await canvas.boundingBox())!;
      await canvas.click({ position: { x: width * 0.98, y: height * 0.6 } });
      await expect(page).toHaveURL(/\/stage\/1$/);
      await page.getByRole('link', { name: 'stage 0' }).click();
      await expect(page.getByRole('heading', { name: /^Stage 0/ })).toBeVisible();
      await page.goto(`${server.url}/dashboard`);
      await expect(page.getByRole('img', { name: 'Step 7: complete, 100 % of its microbatches are done' })).toBeVisible();
      await page.context().close();
    });

    test(`the chain page tells the way from receipts to emission, sorts and finds neurons, on ${screen.name}`, async ({ browser }) => {
      const { address, uid } = (await registered())!;
      const page = await open(browser, '/chain', screen, 'light', paying);
      await expect(page.getByRole('region', { name: 'Accounts' }).getByRole('row')).toHaveCount(4);
      await expect(page.getByRole('listitem').filter({ hasText: /^Receipts/ })).toContainText(/round \d+, step \d+/);
      await expect(page.getByRole('listitem').filter({ hasText: /^Weights/ })).toContainText(/round \d+, block [\d,]+/);
      // Every account by name; the legend in the order of the bars.
      const shares = page.getByRole('region', { name: 'Work and pay' });
      const names = shares.locator('.recharts-xAxis-tick-labels .recharts-cartesian-axis-tick-value');
      await expect.poll(async () => (await names.allTextContents()).toSorted()).toEqual(['kestrel', 'osprey', 'wren']);
      await expect(shares.locator('.recharts-legend-item-text')).toHaveText(['share of all work', 'share of all emission']);
      await fits(page);
      const metagraph = page.getByRole('region', { name: 'Metagraph' });
      await expect(metagraph.getByRole('columnheader', { name: 'Validator trust' })).toBeVisible();
      const rows = metagraph.getByRole('row').filter({ has: page.getByRole('rowheader') });
      const uids = async () => (await rows.locator('td:first-child').allInnerTexts()).map(Number);
      const before = await uids();
      expect(before.length).toBeGreaterThan(1);
      expect(before).toEqual(before.toSorted((a, b) => a - b));
      await metagraph.getByRole('button', { name: 'UID' }).click();
      await expect(metagraph.getByRole('columnheader', { name: 'UID' })).toHaveAttribute('aria-sort', 'descending');
      expect(await uids()).toEqual(before.toReversed());
      for (const query of [address, address.slice(8, 24), String(uid)]) {
        await metagraph.getByRole('searchbox').fill(query);
        await expect(rows).toHaveCount(1);
        await expect(rows.locator('code')).toHaveAttribute('title', new RegExp(`^${address}`));
      }
      await page.context().close();
    });
  }
});

for (const screen of SCREENS) {
  test(`a pointer names a miner and opens it; a finger is told whom it means, and opens that by a second tap, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await open(browser, '/dashboard', screen);
    const touch = screen.options.hasTouch;
    const network = page.getByRole('region', { name: 'The network' });
    const canvas = network.locator('canvas');
    await expect(network.getByText('3 miners')).toBeVisible(SLOW);
    const { width, height } = (await canvas.boundingBox())!;
    for (const { dots } of layOut(await run(), width, height, Date.now())) {
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
      await expect(page).toHaveURL(`${server.url}/miner/${id}`);
      await page.goBack();
    }
    await page.context().close();
  });

  test(`the leaderboard is sorted, filtered and taken home, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/miners', screen);
    const rows = page.getByRole('row').filter({ has: page.getByRole('rowheader') });
    await expect(rows).toHaveCount(3);
    // Each signs its receipts with a key of its own, and is an account for itself.
    await expect(rows.locator('small[title]:not([title=""])')).toHaveCount(3);
    const order = async () => (await rows.allInnerTexts()).map((text) => /kestrel|osprey|wren/.exec(text)?.[0]);
    const byName = page.getByRole('button', { name: 'Miner', exact: true });
    await byName.click();
    expect(await order()).toEqual(['kestrel', 'osprey', 'wren']);
    await expect(page.getByRole('columnheader', { name: 'Miner' })).toHaveAttribute('aria-sort', 'ascending');
    await byName.click();
    expect(await order()).toEqual(['wren', 'osprey', 'kestrel']);
    await fits(page);
    const save = page.getByRole('button', { name: 'CSV' });
    const all = await csv(page, save);
    expect(all.name).toBe('miners.csv');
    const name = all.lines[0]!.findIndex((head) => head.toLowerCase() === 'name');
    expect(all.lines.slice(1).map((line) => line[name])).toEqual(['wren', 'osprey', 'kestrel']);
    await page.getByRole('searchbox').fill('wren');
    await expect(rows).toHaveCount(1);
    expect((await csv(page, save)).lines.slice(1).map((line) => line[name])).toEqual(['wren']);
    await page.context().close();
  });

  test(`curves go to a spreadsheet and into a picture, and say their values to a keyboard, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen, 'dark');
    expect((await csv(page, saveAs(page, LOSS, 'CSV'))).name).toBe('loss-nats-per-token.csv');
    const [picture] = await Promise.all([page.waitForEvent('download'), saveAs(page, LOSS, 'PNG').click()]);
    expect(picture.suggestedFilename()).toBe('loss-nats-per-token.png');
    expect(
      readFileSync(await picture.path())
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    const large = chart(page, LOSS);
    await large.getByRole('img').focus();
    for (const [key, text] of [
      ['ArrowLeft', 'step 6'],
      ['ArrowLeft', 'step 5'],
      ['Home', 'step 1'],
      ['ArrowRight', 'step 2'],
      ['Escape', ''],
    ] as const) {
      await page.keyboard.press(key);
      await expect(large.locator('.chart-x')).toHaveText(text);
    }
    await page.context().close();
  });

  test(`curves by step, tokens and time, smoothed or not, linear or logarithmic, on ${screen.name}`, async ({ browser }) => {
    const points = await ask<StepPoint[]>('/v1/run/points');
    const { startedAt } = await run();
    const page = await open(browser, '/dashboard', screen);
    const large = chart(page, LOSS);
    const table = async () => (await csv(page, saveAs(page, LOSS, 'CSV'))).lines;
    const numbers = async (column: number) => (await table()).slice(1).map((line) => Number(line[column]));

    for (const [name, head, x, said] of [
      ['Tokens', 'tokens', points.map(({ tokens }) => tokens), /^[\d.]+k? tokens$/],
      ['Time', 'time', points.map(({ time }) => (time - startedAt) / 1000), /^\d+:\d\d since the start$/],
      ['Step', 'step', points.map(({ step }) => step), /^step 6$/],
    ] as const) {
      await curves(page).getByRole('radio', { name, exact: true }).check();
      expect((await table())[0]![0]).toBe(head);
      expect(await numbers(0)).toEqual(x);
      await large.getByRole('img').focus();
      await page.keyboard.press('End');
      await expect(large.locator('.chart-x')).toHaveText(said);
    }

    // Columns: step, the loss of each step, the same smoothed, and the validation loss.
    const raw = points.map(({ loss }) => loss);
    await curves(page).getByRole('slider', { name: 'Smoothing' }).fill('0');
    expect(await numbers(2)).toEqual(raw);
    await curves(page).getByRole('slider', { name: 'Smoothing' }).fill('0.98');
    expect(await numbers(1), 'what was measured stays').toEqual(raw);
    const smoothed = await numbers(2);
    expect(smoothed[0]).toBeCloseTo(raw[0]!, 10);
    // A weight near one is a mean of all there is, nearly.
    expect(smoothed[5]).toBeCloseTo(
      raw.reduce((sum, loss) => sum + loss / 6, 0),
      1,
    );
    await expect(large.getByRole('listitem').filter({ hasText: 'training' })).toContainText(smoothed[5]!.toFixed(3));

    const picture = () => large.locator('canvas').evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
    // What is drawn depends on the scale and on nothing else.
    await page.keyboard.press('Escape');
    const linear = await picture();
    await curves(page).getByRole('radio', { name: 'Log', exact: true }).check();
    await expect.poll(picture).not.toBe(linear);
    await curves(page).getByRole('radio', { name: 'Linear', exact: true }).check();
    await expect.poll(picture).toBe(linear);
    await fits(page);
    await page.context().close();
  });

  test(`a range is set by fields and by dragging, and is that of all curves, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen);
    const [from, to] = [curves(page).getByLabel('From, step'), curves(page).getByLabel('to, step')];
    const large = chart(page, LOSS);
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
    await curves(page).getByRole('button', { name: 'All' }).click();
    await shows(1, 6);
    // In another chart, from the middle to its end.
    const other = chart(page, 'Queue of ready tasks, by stage').locator('.u-over');
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
    // The other way round there is nothing.
    await from.fill('5');
    await to.fill('2');
    await expect(curves(page).getByText('Nothing lies there: all is shown.')).toBeVisible();
    for (const field of [from, to]) await expect(field).toHaveAttribute('aria-invalid', 'true');
    await shows(1, 6);
    await to.fill('6');
    await expect(from).toHaveAttribute('aria-invalid', 'false');
    await shows(5, 6);
    await fits(page);
    await page.context().close();
  });

  test(`axes say what they show, bytes in round numbers; a spike flattens no loss curve, and is shown when asked for, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await (await browser.newContext(screen.options)).newPage();
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
    const texts = (title: string) =>
      chart(page, title)
        .locator('canvas')
        .evaluate((canvas) => (window as unknown as { drawn: Map<Element, string[]> }).drawn.get(canvas) ?? []);
    const forget = () => page.evaluate(() => (window as unknown as { drawn: Map<Element, string[]> }).drawn.clear());
    const loss = chart(page, LOSS);
    await expect(loss.getByRole('button', { name: 'Spikes up to 8.300 are cut off: show them' })).toBeVisible(SLOW);
    expect(await texts(LOSS)).toContain('step');
    expect((await texts(LOSS)).map(Number)).not.toContain(8);
    expect(await texts('Server bytes per token')).toContain('20 KiB');
    await forget();
    await loss.getByRole('button', { name: /^Spikes/ }).click();
    await expect.poll(async () => (await texts(LOSS)).map(Number)).toContain(8);
    await forget();
    await loss.getByRole('button', { name: 'Cut spikes off' }).click();
    await expect.poll(async () => (await texts(LOSS)).length).toBeGreaterThan(0);
    expect((await texts(LOSS)).map(Number)).not.toContain(8);
    for (const [axis, name] of [
      ['Tokens', 'tokens'],
      ['Time', 'time since the start'],
    ] as const) {
      await page.getByRole('radio', { name: axis, exact: true }).check();
      await expect.poll(() => texts('Learning rate')).toContain(name);
    }
    await expect(chart(page, 'Lease time by stage').getByRole('listitem')).toHaveText([/^stage 0/, /^stage 1/]);
    await page.context().close();
  });

  test(`throughput and queue are curves by stage, and progress is counted in tokens, on ${screen.name}`, async ({ browser }) => {
    const points = await ask<StepPoint[]>('/v1/run/points');
    expect(points).toHaveLength(6);
    for (const { stageTokensPerSecond, queue } of points) {
      expect(stageTokensPerSecond!.map((rate) => rate! > 0)).toEqual([true, true]);
      expect(queue!.every((mean) => mean! >= 0)).toBe(true);
    }
    const page = await open(browser, '/dashboard', screen);
    const { tokens, config } = await run();
    const { steps, microbatchesPerStep, sequences, model } = config;
    const bar = page.getByRole('progressbar', { name: 'Tokens of the goal' });
    await expect(bar).toHaveAttribute('aria-valuenow', `${tokens}`);
    await expect(bar).toHaveAttribute('aria-valuemax', `${steps * microbatchesPerStep * sequences * model.context}`);
    const { lines } = await csv(page, saveAs(page, 'Tokens per second while each stage works', 'CSV'));
    expect(lines[0]).toEqual(['step', 'stage 0', 'stage 1']);
    expect(lines.slice(1).map((line) => line.map(Number))).toEqual(
      points.map(({ step, stageTokensPerSecond }) => [step, ...stageTokensPerSecond!]),
    );
    await page.context().close();
  });

  test(`the open page is seen among the pages, and a theme is chosen for all of them, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen, 'dark');
    const pages = page.getByRole('navigation', { name: 'Pages' });
    for (const name of ['Replay', 'Chain']) {
      await pages.getByRole('link', { name }).click();
      await expect(pages.locator('[aria-current]')).toHaveText(name);
      await expect(pages.locator('[aria-current]')).toBeInViewport({ ratio: 1 });
      await expect(heading(page, name)).toBeVisible(SLOW);
      await fits(page);
    }
    // WCAG 2.2, 2.5.8.
    for (const button of await page.getByRole('banner').getByRole('button').all()) {
      const { width, height } = (await button.boundingBox())!;
      expect(Math.min(width, height)).toBeGreaterThanOrEqual(24);
    }
    const paper = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const dark = await paper();
    const button = page.getByRole('button', { name: /^Theme: system/ });
    await button.click();
    await page.getByRole('button', { name: /^Theme: light/ }).waitFor();
    await expect.poll(paper).not.toBe(dark);
    const light = await paper();
    // It is remembered, and the page is never seen in another one.
    await page.reload();
    expect(await paper()).toBe(light);
    await page.getByRole('button', { name: /^Theme: light/ }).click();
    await page.emulateMedia({ colorScheme: 'light' });
    await expect.poll(paper, 'dark, whatever the system is').toBe(dark);
    await page.getByRole('button', { name: /^Theme: dark/ }).click();
    await expect(button).toBeVisible();
    await expect.poll(paper).toBe(light);
    await page.context().close();
  });

  test(`the log tells of every merge, is filtered by keyboard, and leads to the run as it was, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen);
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

  test(`the run is scrubbed and played, and a moment is shared by its link, on ${screen.name}`, async ({ browser }) => {
    const { last } = await ask<MomentRange>('/v1/moments');
    const page = await open(browser, '/replay', screen);
    const bar = page.getByRole('region', { name: 'Replay' });
    const slider = bar.getByRole('slider');
    await expect(bar.getByText(/step 6/)).toBeVisible(SLOW);
    await fits(page);
    await slider.fill('200');
    // The log may grow meanwhile: it is a fifth of what it was, or a little more.
    const sought = () => Number(new URL(page.url()).searchParams.get('at'));
    await expect.poll(sought).toBeGreaterThanOrEqual(Math.floor(last.seq / 5));
    expect(sought()).toBeLessThan(0.4 * last.seq + 100);
    await expect(bar.getByText(/step [0-5] /)).toBeVisible(SLOW);

    // Who is given the link sees the same.
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    await bar.getByRole('button', { name: 'Copy link' }).click();
    await expect(bar.getByRole('status')).toHaveText('Copied.');
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(copied).toBe(`${server.url}/replay?at=${sought()}`);
    const told = async (one: Page) => (await one.getByText(/· entry/).textContent())?.replace(/ of [\d,]+ /, ' of ');
    const other = await open(browser, copied.slice(server.url.length), screen);
    await expect.poll(() => told(other), SLOW).toBe(await told(page));
    await other.context().close();
    // Where the browser does not copy, the link is there, and is selected.
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }));
    await bar.getByRole('button', { name: 'Copy link' }).click();
    const link = bar.getByRole('textbox');
    await expect(link).toHaveValue(copied);
    expect(await link.evaluate((field: HTMLInputElement) => field.value.slice(field.selectionStart!))).toBe(copied);

    // Before anybody was there.
    await slider.fill('0');
    await expect(bar.getByText(/entry 1 of/)).toBeVisible(SLOW);
    await expect(page.getByRole('region', { name: 'The network' }).getByText('0 miners')).toBeVisible();

    // It plays until it is paused, or at its end.
    await bar.getByRole('button', { name: 'Play' }).click();
    await expect.poll(sought, SLOW).toBeGreaterThan(1);
    await bar.getByRole('button', { name: 'Pause' }).click();
    await slider.fill('998');
    await bar.getByRole('button', { name: 'Play' }).click();
    await expect(bar.getByRole('button', { name: 'Play' })).toBeVisible(SLOW);
    expect(sought()).toBeGreaterThanOrEqual(last.seq);
    await page.context().close();
  });

  test(`what the legend names moves in the replay, too, and its range grows while the run goes on, on ${screen.name}`, async ({
    browser,
  }) => {
    const { last } = await ask<MomentRange>('/v1/moments');
    // Whichever moment was looked at before.
    const kinds = new Set<string>();
    let lively = 0;
    for (let seq = last.seq; seq > 0; seq -= 50) {
      const { moves } = await ask<Moment>(`/v1/moments/${seq}`);
      const here = new Set(moves.map(({ kind }) => kind));
      if (here.size >= 4 && here.has('audit') && here.has('merge')) lively = seq;
      for (const move of moves) {
        kinds.add(move.kind);
        expect(move.seq).toBeLessThanOrEqual(seq);
        expect(move.seq).toBeGreaterThan(seq - 200);
      }
    }
    expect([...kinds].sort()).toEqual(['audit', 'backward', 'evaluate', 'forward', 'merge']);

    const page = await open(browser, '/', screen);
    await watchPicture(page);
    await page.goto(`${server.url}/replay?at=${lively}`);
    await drew(page, ['merges', 'audits', 'flights'], SLOW);

    const shown = page.getByRole('region', { name: 'Replay' }).getByText(/· entry/);
    const place = async () => /entry ([\d,]+) of ([\d,]+)/.exec((await shown.textContent())!)!.slice(1);
    const [entry, end] = await place();
    await expect.poll(async () => (await place())[1], SLOW).not.toBe(end);
    expect((await place())[0], 'what is shown stays').toBe(entry);
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
