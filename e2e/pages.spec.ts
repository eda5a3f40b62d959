/** Every page: accessible, without errors, in both themes, from a telephone to a wide screen. */
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';
import type { ServerProcess } from '@starling/server/process';
import { spectator, test } from './finished-run.ts';
import { DESKTOP, fits, PHONE, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(({ finished }) => {
  server = finished;
});
const { errors, run, open } = spectator(() => server);

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
/** Off in axe by itself: what is to be touched is 24 pixels large, or as far from everything else (WCAG 2.2, 2.5.8). */
const CHECKS = { rules: { 'target-size': { enabled: true } } };
const heading = (page: Page, name: string) => page.getByRole('heading', { name, exact: true }).first();

for (const [path, name] of PAGES) {
  test(`${path} is accessible in both themes, and fits a telephone, a desktop and a wide screen`, async ({ browser }) => {
    // Colours and places of the other sizes and theme must be there at once, not after a transition.
    const page = await open(browser, path.replace(':id', (await run()).stages[0]!.miners[0]!.id), DESKTOP);
    await expect(heading(page, name)).toBeVisible();
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
      const { violations } = viewport === WIDE ? { violations: [] } : await new AxeBuilder({ page }).options(CHECKS).analyze();
      const serious = violations.filter(({ id, impact }) => impact === 'serious' || impact === 'critical' || id === 'heading-order');
      expect(
        serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`),
        `${path} at ${viewport.width}, ${scheme}`,
      ).toEqual([]);
    }
    await page.context().close();
  });
}

test('a stage counts steps as the run log does', async ({ browser }) => {
  const page = await open(browser, '/stage/1', DESKTOP);
  const { version } = (await run()).stages[1]!;
  expect(version).toBe(6);
  await expect(page.getByText(`The run is complete: ${version} steps.`)).toBeVisible();
  await page.goto(`${server.url}/dashboard`);
  const log = page.getByRole('region', { name: 'Run log' });
  await log.getByRole('radio', { name: 'Merges' }).check();
  await expect(log.getByRole('listitem').first(), 'the newest').toHaveText(new RegExp(`made versions? (\\d–)?${version}:`));
  await page.context().close();
});

test('a merge is told whole in the run log where there is room', async ({ browser }) => {
  for (const viewport of [DESKTOP.options.viewport, WIDE]) {
    const page = await open(browser, '/dashboard', { name: '', options: { viewport } });
    const line = page.getByRole('region', { name: 'Run log' }).getByRole('listitem').filter({ hasText: 'STEP_MERGED' }).first();
    await expect(line).toBeVisible();
    const cut = await line.evaluate((item) => {
      const [moved, code, text] = ['.log-bytes', '.code', '.log-text'].map((name) => item.querySelector(name)!);
      moved!.textContent = ' · 12.4 MiB up, 605.5 KiB down';
      text!.textContent = 'Step 315 made version 316: miners by stage 2, 1; 16 microbatches; merged in 11.8 s, stage 0 last.';
      return { code: code!.scrollWidth - code!.clientWidth, text: text!.scrollHeight - text!.clientHeight };
    });
    expect(cut, `${viewport.width} px`).toEqual({ code: 0, text: 0 });
    await page.context().close();
  }
});

/** Compressed JavaScript that the dashboard may need before it shows anything. */
const MOST_JAVASCRIPT = 200 * 1024;
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
  await expect(heading(page, 'The network')).toBeVisible();
  await page.waitForLoadState('networkidle');
  const bytes = (await Promise.all(scripts)).reduce((sum, size) => sum + size, 0);
  console.log(`JavaScript of the dashboard, gzip: ${(bytes / 1024).toFixed(0)} KiB`);
  expect(bytes).toBeLessThan(MOST_JAVASCRIPT);
  const shift = await page.evaluate(() => (window as unknown as { shifts: { sum: number } }).shifts.sum);
  console.log(`Cumulative layout shift: ${shift.toFixed(3)}`);
  expect(shift, 'Web Vitals call less than 0.1 good').toBeLessThan(0.1);
  await context.close();
});

for (const screen of SCREENS) {
  test(`the open page is seen among the pages, and a theme is chosen for all of them, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen, 'dark');
    const pages = page.getByRole('navigation', { name: 'Pages' });
    for (const name of ['Replay', 'Chain']) {
      await pages.getByRole('link', { name }).click();
      await expect(pages.locator('[aria-current]')).toHaveText(name);
      await expect(pages.locator('[aria-current]')).toBeInViewport({ ratio: 1 });
      await expect(heading(page, name)).toBeVisible();
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
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
