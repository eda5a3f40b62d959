/** A part of the page that cannot be loaded or shown is told of in its place; the rest stays, and the miner goes on. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { devices, expect, type Page, test } from '@playwright/test';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { CALM } from './pace.ts';
import { fits, SCREENS } from './screens.ts';

const OPTIONS = `--data ${mkdtempSync(join(tmpdir(), 'starling-missing-part-'))} --preset pico --stages 1 --steps 0`.split(' ');
let server: ServerProcess;
test.beforeAll(async () => {
  server = await startServerProcess([...OPTIONS, '--port', '0']);
});
test.afterAll(() => server.kill());

interface Starling {
  starling: { state: { waiting: { until: number } | null } | null };
}

/** 0 while it is just being loaded. */
const counted = (page: Page) => page.evaluate(() => Number(document.documentElement.dataset.minerMicrobatches ?? 0)).catch(() => 0);
const works = async (page: Page) => {
  const before = await counted(page);
  await expect.poll(() => counted(page)).toBeGreaterThan(before);
};
const main = (page: Page) => page.getByRole('main');
const to = (page: Page, name: string) => page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
const mining = (page: Page) => page.getByRole('region', { name: 'Mining' });
const stop = (page: Page) => mining(page).getByRole('button', { name: 'Stop' });

for (const screen of SCREENS) {
  test(`a page that cannot be loaded says so, and comes when it is tried again, on ${screen.name}`, async ({ browser }) => {
    const context = await browser.newContext(screen.options);
    const page = await context.newPage();
    await context.route(/\/assets\/chain-page-/, (route) => route.fulfill({ status: 404, body: '{}' }));
    await page.goto(`${server.url}/?backend=wasm&autostart=1&${CALM}`);
    await works(page);

    await to(page, 'Chain');
    const missing = main(page).getByRole('status');
    await expect(missing).toContainText('This page could not be loaded.');
    await expect(missing).toContainText('the server is away, or was renewed since this tab was opened.');
    await expect(missing).toContainText('CODE_MISSING');
    await fits(page);
    await works(page);

    // With no server a reload would end page and miner.
    await context.route('**/v1/run', (route) => route.abort());
    await missing.getByRole('button', { name: 'Try again' }).click();
    await expect(missing).toContainText('CONNECTION_LOST');
    await fits(page);
    await works(page);
    await context.unroute('**/v1/run');

    await to(page, 'Dashboard');
    await expect(main(page).getByRole('region', { name: 'Run log' })).toBeVisible();
    await to(page, 'Mine');
    await expect(stop(page)).toBeVisible();

    await to(page, 'Chain');
    await expect(missing).toContainText('CODE_MISSING');
    await context.unroute(/\/assets\/chain-page-/);
    await missing.getByRole('button', { name: 'Try again' }).click();
    await expect(page.getByRole('heading', { name: 'From receipts to emission' })).toBeVisible();
    await works(page);
    await to(page, 'Mine');
    await stop(page).click();
    await context.close();
  });

  test(`a miner whose code cannot be loaded says that and nothing of drivers, and goes on by itself once it can, on ${screen.name}`, async ({
    browser,
  }) => {
    for (const code of [/\/assets\/mine\.worker-/, /\/assets\/backends-/, /\.wasm$/]) {
      const context = await browser.newContext(screen.options);
      const page = await context.newPage();
      await context.route(code, (route) => route.fulfill({ status: 404, body: '{}' }));
      // Until all is looked at.
      await context.route('**/v1/run', (route) => route.abort());
      await page.goto(`${server.url}/?backend=wasm&autostart=1&${CALM}`);
      await expect(mining(page)).toContainText('Not loaded');
      await expect(mining(page)).toContainText('CODE_MISSING');
      await expect(page.locator('html')).toHaveAttribute('data-miner-reason', 'CODE_MISSING');
      await expect(main(page).getByRole('heading', { name: 'The pipeline' })).toBeVisible();
      await expect(main(page).getByText('The server is choosing a stage for you.')).toHaveCount(0);
      await expect(mining(page)).toContainText('the page is loaded anew by itself once the server answers');
      await expect(mining(page).getByText(/ left$| over now$/)).toBeVisible();
      await fits(page);
      await context.unroute(code);
      await context.unroute('**/v1/run');
      await works(page);
      await stop(page).click();
      await expect(mining(page).getByRole('button', { name: 'Start' })).toBeVisible();
      await context.close();
    }
  });

  test(`a page that is loaded anew by itself takes nothing that was begun on another one along, on ${screen.name}`, async ({ browser }) => {
    const context = await browser.newContext(screen.options);
    const page = await context.newPage();
    await context.route(/\/assets\/backends-/, (route) => route.fulfill({ status: 404, body: '{}' }));
    await context.route('**/v1/run', (route) => route.abort());
    await page.goto(`${server.url}/?backend=wasm&autostart=1&${CALM}`);
    await expect(mining(page)).toContainText('Not loaded');
    await to(page, 'Playground');
    const prompt = main(page).getByLabel('Beginning of the text');
    await prompt.fill('Half a sent');
    await context.unroute(/\/assets\/backends-/);
    await context.unroute('**/v1/run');
    const nextTry = () => page.evaluate(() => (window as unknown as Starling).starling.state?.waiting?.until ?? 0);
    const before = await nextTry();
    await expect.poll(nextTry, { message: 'it was its turn' }).toBeGreaterThan(before);
    await expect(prompt).toHaveValue('Half a sent');
    await to(page, 'Mine');
    await works(page);
    await stop(page).click();
    await context.close();
  });

  test(`a tab that is started while its server is away mines once that is back, or waits no more after Stop, on ${screen.name}`, async ({
    browser,
  }) => {
    const contexts = await Promise.all([0, 1].map(() => browser.newContext(screen.options)));
    const pages = await Promise.all(contexts.map((context) => context.newPage()));
    for (const page of pages) await page.goto(`${server.url}/?backend=wasm&${CALM}`);
    const { port } = server;
    await server.kill();
    for (const page of pages) {
      await mining(page).getByRole('button', { name: 'Start' }).click();
      await expect(mining(page)).toContainText('Not loaded');
      await expect(mining(page).getByText(/ left$| over now$/)).toBeVisible();
      await fits(page);
    }
    const [patient, stopped] = pages as [Page, Page];
    await stop(stopped).click();
    await expect(mining(stopped).getByRole('button', { name: 'Start' })).toBeVisible();
    server = await startServerProcess([...OPTIONS, '--port', `${port}`]);
    await works(patient);
    await expect(mining(stopped).getByRole('button', { name: 'Start' })).toBeVisible();
    await stop(patient).click();
    for (const context of contexts) await context.close();
  });

  test(`a page whose program does not arrive says so, and comes by itself, and its miner with it, on ${screen.name}`, async ({
    browser,
  }) => {
    // Where a page that iOS loads anew waits for a click.
    const context = await browser.newContext({ ...screen.options, userAgent: devices['iPhone 15'].userAgent });
    const page = await context.newPage();
    await page.goto(`${server.url}/?backend=wasm&${CALM}`);
    await mining(page).getByRole('button', { name: 'Mine here anyway' }).click();
    await mining(page).getByRole('button', { name: 'Start' }).click();
    await works(page);
    await context.route(/\/assets\/index-.*\.js/, (route) => route.abort());
    await context.route('**/v1/run', (route) => route.abort());
    await page.reload();
    await expect(main(page).getByRole('heading')).toHaveText('Starling could not be loaded');
    await expect(main(page).getByRole('status')).toHaveText('Its server is away, or lacks a part of it. It is tried again by itself.');
    await expect(main(page)).toContainText(/Next try in \d s\./);
    await fits(page);
    const tried = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/v1/run'));
    await main(page).getByRole('button', { name: 'Try now' }).click();
    await tried;
    await context.unroute('**/v1/run');
    await context.unroute(/\/assets\/index-.*\.js/);
    await works(page);
    await stop(page).click();
    await context.close();
  });

  test(`a part of a page that cannot be loaded takes nothing else along, on ${screen.name}`, async ({ browser }) => {
    const context = await browser.newContext(screen.options);
    const page = await context.newPage();
    await context.route(/\/assets\/wallet-panel-/, (route) => route.abort());
    await page.goto(`${server.url}/?backend=wasm&autostart=1&${CALM}`);
    await expect(main(page).getByText('The account could not be loaded.')).toBeVisible();
    await fits(page);
    await works(page);
    await stop(page).click();
    await context.close();
  });

  test(`a page that fails while it is shown says so, and the others do not, on ${screen.name}`, async ({ browser }) => {
    const context = await browser.newContext(screen.options);
    const page = await context.newPage();
    await context.route('**/v1/chain', (route) => route.fulfill({ json: { rounds: null } }));
    await page.goto(`${server.url}/chain`);
    const failed = main(page).getByRole('alert');
    await expect(failed).toContainText('This page cannot be shown.');
    await expect(failed).toContainText('INTERNAL');
    await fits(page);
    await to(page, 'Dashboard');
    await expect(main(page).getByRole('region', { name: 'Run log' })).toBeVisible();
    await context.unroute('**/v1/chain');
    await to(page, 'Chain');
    await expect(page.getByRole('heading', { name: 'From receipts to emission' })).toBeVisible();
    await context.close();
  });
}
