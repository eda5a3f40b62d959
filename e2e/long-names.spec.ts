/** Two tabs of one browser, which are one account, with names as long as they may be: tables still tell what they are for. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, expect, test } from '@playwright/test';
import type { AuditEntry, ChainView, RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { spectator } from './finished-run.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

const NAMES = ['kestrel of the north-western archipelago', 'wren of the shore beyond the great marsh'];
let server: ServerProcess;
let tabs: BrowserContext;
const { errors, ask, run, open } = spectator(() => server);
const miners = ({ stages }: RunSnapshot) => stages.flatMap((stage) => stage.miners);

test.beforeAll(async ({ browser }) => {
  const data = mkdtempSync(join(tmpdir(), 'starling-long-names-'));
  const sizes = '--preset pico --stages 1 --sequences 1 --microbatches 4 --steps 0';
  const paid = '--block-ms 200 --tempo 5 --round-steps 1 --held-steps 1';
  server = await startServerProcess(`--port 0 --data ${data} ${sizes} ${paid}`.split(' '));
  tabs = await browser.newContext();
  for (const name of NAMES) {
    const tab = await tabs.newPage();
    await tab.goto(`${server.url}/?name=${encodeURIComponent(name)}&backend=wasm&autostart=1`);
  }
  const working = async () => miners(await run()).filter(({ microbatches }) => microbatches > 0).length;
  await expect.poll(working).toBe(2);
  const registered = async () => (await ask<ChainView>('/v1/chain')).pay.map(({ uid, emission }) => uid !== null && Number(emission) > 0);
  await expect.poll(registered).toEqual([true]);
  await expect.poll(async () => (await ask<{ audits: AuditEntry[] }>('/v1/audits')).audits.length).toBeGreaterThan(0);
  for (const tab of tabs.pages()) await tab.getByRole('button', { name: 'Pause', exact: true }).click();
});
test.afterAll(async () => {
  await tabs.close();
  await server.kill();
});

for (const screen of SCREENS) {
  test(`one place, one score and one emission for both; that they are old is said, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/miners', screen);
    const rows = page.getByRole('row').filter({ has: page.getByRole('rowheader') });
    await expect(rows).toHaveCount(2);
    for (const row of await rows.all()) await expect(row.getByRole('cell').first()).toHaveText('1');
    await expect(rows.nth(0).getByRole('cell').nth(-2)).toHaveText(/FLOP$/);
    await expect(rows.nth(0).getByRole('cell').last()).toHaveText(/^[\d,]+\.\d{3}$/);
    await expect(rows.nth(1).getByRole('cell').last()).toHaveText('the account’s, above');
    await fits(page);
    // A field tells how wide its text is, but not its placeholder.
    const field = page.getByRole('searchbox');
    await field.fill((await field.getAttribute('placeholder'))!);
    expect(await field.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)).toBeLessThanOrEqual(0);
    await field.fill('');

    await expect(page.getByText('Not up to date.')).toBeHidden();
    const said = errors.length;
    await page.context().setOffline(true);
    await expect(page.getByRole('status').filter({ hasText: 'Not up to date.' })).toContainText('CONNECTION_LOST');
    await expect(rows, 'what was known stays').toHaveCount(2);
    await page.context().setOffline(false);
    await expect(page.getByText('Not up to date.')).toBeHidden();
    errors.length = said; // The browser's own, of requests that failed.
    await page.context().close();
  });

  test(`of an audit its outcome is seen beside the name, or beside the time where all are of one miner, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await open(browser, '/audits', screen);
    const feed = page.getByRole('region', { name: 'Newest audits' });
    await expect(feed.locator('.outcome').first()).toBeInViewport({ ratio: 1 });
    await fits(page);
    const link = feed.getByRole('rowheader').getByRole('link').first();
    const name = (await link.textContent())!;
    expect(NAMES).toContain(name);
    await link.click();
    await expect(page).toHaveTitle(`${name} · Starling`);
    const own = page.getByRole('region', { name: 'Audits', exact: true });
    await expect(own.getByRole('columnheader').nth(0)).toHaveText('When');
    await expect(own.getByRole('columnheader').nth(1)).toHaveText('Outcome');
    await expect(own.getByRole('rowheader').getByRole('link')).toHaveCount(0);
    const outcome = own.locator('.outcome').first();
    await own.getByRole('rowheader').first().scrollIntoViewIfNeeded();
    await expect(outcome).toBeInViewport({ ratio: 1 });
    await fits(page);
    await page.context().close();
  });

  test(`accounts and neurons lead to their miners, and what they have is seen beside their names, on ${screen.name}`, async ({
    browser,
  }) => {
    const ids = new Map(miners(await run()).map(({ name, id }) => [name, id]));
    const page = await open(browser, '/chain', screen);
    for (const name of ['Accounts', 'Metagraph']) {
      const table = page.getByRole('region', { name, exact: true });
      for (const miner of NAMES)
        await expect(table.getByRole('link', { name: miner, exact: true })).toHaveAttribute('href', `/miner/${ids.get(miner)}`);
      await table.getByRole('rowheader').first().scrollIntoViewIfNeeded();
      const cells = table
        .getByRole('row')
        .filter({ has: page.getByRole('link') })
        .getByRole('cell');
      for (const i of [0, 1]) await expect(cells.nth(i)).toBeInViewport({ ratio: 0.9 });
    }
    await fits(page);
    // One account did all there is, and was paid all.
    const ticks = page
      .getByRole('region', { name: 'Work and pay' })
      .locator('.recharts-yAxis-tick-labels .recharts-cartesian-axis-tick-value');
    await expect(ticks).toHaveText(['0 %', '50 %', '100 %']);
    await expect(page.getByRole('listitem').filter({ hasText: /^Scores/ })).toContainText(/1 account[^s]/);

    await page.goto(`${server.url}/stage/0`);
    const crew = page.getByRole('region', { name: 'Who holds it' });
    await crew.getByRole('rowheader').first().scrollIntoViewIfNeeded();
    await expect(crew.getByRole('cell').first()).toBeInViewport({ ratio: 0.9 });
    await fits(page);
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
