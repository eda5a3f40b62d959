/** Who left is still told by name: what it did, what that is worth, and what audits found; on a telephone, too. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { startNodeMiner } from '@starling/miner/node';
import type { AuditEntry, ChainView, MinerView, RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';

test.describe.configure({ mode: 'serial' });

const NAMES = ['kestrel', 'wren'];
const SIZES = [
  { width: 1280, height: 900 },
  { width: 360, height: 740 },
];
let server: ServerProcess;
test.beforeAll(async ({ browser }) => {
  const data = mkdtempSync(join(tmpdir(), 'starling-leaving-'));
  server = await startServerProcess(
    `--port 0 --data ${data} --block-ms 200 --tempo 5 --round-steps 1 --held-steps 1 --preset pico --stages 2 --microbatches 4 --steps 0`.split(
      ' ',
    ),
  );
  const early = await open(browser, '/miners', SIZES[1]!);
  await expect(early.getByText('Nobody has mined in this run yet.')).toBeVisible();
  await early.context().close();
  const miners = NAMES.map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
  const paid = async () => (await ask<ChainView>('/v1/chain')).pay.filter(({ uid, score }) => uid !== null && score > 0).length;
  await expect.poll(paid).toBe(NAMES.length);
  await expect.poll(async () => (await audits()).length).toBeGreaterThan(0);
  await Promise.all(miners.map((miner) => miner.stop()));
  const here = async () => (await ask<RunSnapshot>('/v1/run')).stages.flatMap(({ miners }) => miners).length;
  await expect.poll(here).toBe(0);
});
test.afterAll(() => server.kill());

const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
const audits = async () => (await ask<{ audits: AuditEntry[] }>('/v1/audits')).audits;

const errors: string[] = [];
async function open(browser: Browser, path: string, viewport: { width: number; height: number }): Promise<Page> {
  const page = await (await browser.newContext({ viewport })).newPage();
  page.on('pageerror', ({ message }) => errors.push(`${path}: ${message}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(`${path}: ${message.text()}`));
  await page.goto(`${server.url}${path}`);
  return page;
}
const sideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

for (const size of SIZES) {
  test(`the leaderboard keeps who left, and leads to what it did and earned, ${size.width} px wide`, async ({ browser }) => {
    const { pay } = await ask<ChainView>('/v1/chain');
    const { uid, address } = pay.find(({ names }) => names.includes('kestrel'))!;
    const page = await open(browser, '/miners', size);
    await expect(page.getByText('0 miners in the run and 2 not here now')).toBeVisible();
    const rows = page.getByRole('row').filter({ has: page.getByRole('rowheader') });
    await expect(rows.filter({ hasText: 'Not here now' })).toHaveCount(2);
    // Without scrolling: the words begin the cell, whose end may be out of sight.
    for (const name of NAMES) await expect(rows.filter({ hasText: name }).getByText('Not here now')).toBeInViewport({ ratio: 0.6 });
    await page.getByRole('searchbox').fill(`UID ${uid}`);
    await expect(rows).toHaveCount(1);
    await expect(page.getByText('1 found of 0 miners in the run and 2 not here now')).toBeVisible();
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'CSV' }).click();
    const [head, line] = readFileSync((await (await download).path())!, 'utf8').split('\r\n');
    const cell = (column: string) => line!.split(',')[head!.split(',').indexOf(column)];
    expect([cell('name'), cell('here'), cell('uid'), cell('address')]).toEqual(['kestrel', 'no', `${uid}`, address]);
    expect(Number(cell('microbatches'))).toBeGreaterThan(0);

    await rows.getByRole('link', { name: 'kestrel' }).click();
    await expect(page.getByRole('heading', { name: 'kestrel' })).toBeVisible();
    const { rejected } = await ask<MinerView>(new URL(page.url()).pathname.replace('/miner/', '/v1/miners/'));
    await expect(page.locator('.stat').filter({ hasText: /^Refused/ })).toHaveText(new RegExp(`^Refused${rejected}not taken`));
    const account = page.getByRole('region', { name: 'Account' });
    await expect(account.getByText(address)).toBeVisible();
    const told = (name: string, text: RegExp) =>
      expect(account.locator('.stat').filter({ hasText: new RegExp(`^${name}`) })).toHaveText(new RegExp(`^${name}${text.source}`));
    await told('Registered', new RegExp(`UID ${uid}in the subnet`));
    await told('Rank', /[12]of 2 with a score/);
    await told('Score', /[\d.]+ .FLOP/);
    await told('Credit', /[\d.]+ .FLOP/);
    await told('Held', /(–nothing is held|[\d.]+ .FLOPuntil step \d+)/);
    await told('Emission', /[\d,]+\.\d{3}/);
    expect(await sideways(page)).toBeLessThanOrEqual(0);
    await page.context().close();
  });

  test(`audits and the run log name who left, ${size.width} px wide`, async ({ browser }) => {
    const [{ minerId, verdict }] = (await audits()) as [AuditEntry];
    const page = await open(browser, '/audits', size);
    const feed = page.getByRole('region', { name: 'Newest audits' });
    await expect(feed.getByRole('rowheader').getByRole('link').first()).toHaveText(/^(kestrel|wren)$/);
    await expect(feed.getByRole('link', { name: /^m-/ })).toHaveCount(0);
    // To the miner, whose page has the same audit.
    await feed.getByRole('rowheader').getByRole('link').first().click();
    await expect(page).toHaveURL(new RegExp(`/miner/${minerId}$`));
    const own = page.getByRole('region', { name: 'Audits', exact: true });
    const opener = own.getByRole('button', { name: /What was compared/ }).first();
    await opener.focus();
    await page.keyboard.press('Enter');
    await expect(own.getByText(verdict.finding).first()).toBeVisible();
    expect(await sideways(page)).toBeLessThanOrEqual(0);

    await page.goto(`${server.url}/dashboard`);
    const log = page.getByRole('region', { name: 'Run log' });
    await log.getByRole('radio', { name: 'Miners' }).check();
    for (const name of NAMES) {
      await expect(log.getByText(`Miner ${name} left`)).toBeVisible();
      await expect(log.getByRole('link', { name, exact: true }).first()).toHaveAttribute('href', /^\/miner\/m-/);
    }
    await expect(log.getByText(/Miner m-/)).toHaveCount(0);
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
