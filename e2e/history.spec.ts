/** What a miner's page owes its miner: why it waits, what became of its receipts, and a goodbye that gives its work back. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { type MinerView, REASON_REMEDIES, type ReceiptEntry, type RunEvent } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { CALM } from './pace.ts';
import { DESKTOP, fits, PHONE, SCREENS, type Screen } from './screens.ts';

/** A dropped socket keeps its place for so long (`reconnectGrace`); who says goodbye is gone before. */
const GRACE_MS = 5_000;

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-history-'));
  server = await startServerProcess(`--port 0 --data ${data} --preset pico --stages 2 --microbatches 4 --steps 0`.split(' '));
});
test.afterAll(() => server.kill());

const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
const receiptsOf = async (id: string) => (await ask<{ receipts: ReceiptEntry[] }>(`/v1/miners/${id}/receipts?limit=1000`)).receipts;
/** Comings and goings of one miner, oldest first. */
const eventsOf = async (id: string) => (await ask<RunEvent[]>('/v1/run/events')).filter(({ message }) => message.includes(id));

const errors: string[] = [];
/** What is asked for to see that it is not there. */
const NOBODY = 'm-00000000-0000';
/** Looked for by the browser where it is shown bare JSON. */
const ICON = '/favicon.ico';

async function open(browser: Browser, path: string, { options }: Screen = DESKTOP): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  page.on('pageerror', ({ message }) => errors.push(`${path}: ${message}`));
  page.on('console', (message) => {
    const { url } = message.location();
    if (message.type() === 'error' && !url.includes(NOBODY) && !url.endsWith(ICON)) errors.push(`${path}: ${message.text()}`);
  });
  await page.goto(`${server.url}${path}`);
  return page;
}

const said = (page: Page, name: 'minerId' | 'minerMicrobatches') =>
  page.evaluate((key) => document.documentElement.dataset[key] ?? '', name);
const counted = async (page: Page) => Number(await said(page, 'minerMicrobatches'));

/** Resolves with the event that tells that the miner is no part of the run any more. */
async function goodbyeOf(id: string, since: number): Promise<RunEvent> {
  let goodbye: RunEvent | undefined;
  const told = async () => {
    goodbye = (await eventsOf(id)).findLast(({ code, time }) => time >= since && (code === 'MINER_LEFT' || code === 'MINER_GONE'));
    return goodbye !== undefined;
  };
  // Its code tells whether it left by itself or its grace ran out: however busy the machine is.
  await expect.poll(told, { message: `${id} is gone` }).toBe(true);
  expect((await ask<MinerView>(`/v1/miners/${id}`)).stage, 'nobody who left is on a stage').toBeNull();
  return goodbye!;
}

test('a lone miner is told what it waits for, and its history fills when the next one comes', async ({ browser }) => {
  const first = await open(browser, '/?name=first&backend=wasm');
  await expect(first.getByText('Press Start: every receipt of this tab')).toBeVisible();
  const started = Date.now();
  await first.getByRole('button', { name: 'Start' }).click();
  await expect.poll(() => counted(first), { intervals: [50] }).toBeGreaterThan(0);
  console.log(`Start to the first counted receipt: ${((Date.now() - started) / 1000).toFixed(1)} s`);

  const mining = first.getByRole('region', { name: 'Mining' });
  await expect(mining.getByText('No miner holds stage 1 yet; one more miner starts the run.').first()).toBeVisible();
  await expect(mining.getByText(REASON_REMEDIES.STAGE_EMPTY).first()).toBeVisible();
  await expect(mining.getByText('STAGE_EMPTY')).toBeVisible();
  await expect(mining.getByText(/^[2-9] s$/), 'it counts up').toBeVisible();
  // What was said before, while the device was checked, is left in peace for a quarter of a minute.
  await expect(mining.getByRole('status'), 'and says so once it lasts').toContainText(REASON_REMEDIES.STAGE_EMPTY);

  const second = await open(browser, '/?name=second&backend=wasm&autostart=1');
  const history = first.getByRole('region', { name: 'History' });
  const backward = history.getByRole('row', { name: /backward stage 0 step \d+ microbatch \d+ [\d.]+ m?s counted/ });
  await expect(backward.first(), 'a backward that counted').toBeVisible();
  await expect(mining.getByText('STAGE_EMPTY')).toBeHidden();

  // Older pages, and back.
  const rows = history.getByRole('row');
  const older = history.getByRole('button', { name: 'Older' });
  await expect(older, 'more than one page').toHaveAttribute('aria-disabled', 'false');
  await older.click();
  await expect(history.getByRole('status')).toContainText('Page 2');
  const shown = await rows.allInnerTexts();
  expect(shown.length).toBeGreaterThan(1);
  await history.getByRole('button', { name: 'Newer' }).click();
  await expect(history.getByRole('status')).toContainText('refreshed every few seconds');
  expect(await rows.allInnerTexts()).not.toEqual(shown);

  // What is shown is what the server has written down.
  const id = await said(first, 'minerId');
  const outcomes = (await receiptsOf(id)).map(({ outcome }) => outcome);
  expect(outcomes.filter((outcome) => outcome === 'counted').length).toBeGreaterThan(20);

  // From the dashboard to the page of any miner.
  await second.goto(`${server.url}/dashboard`);
  await second
    .getByRole('region', { name: /^Stages/ })
    .getByRole('link', { name: 'first', exact: true })
    .click();
  await expect(second.getByRole('heading', { name: 'first' })).toBeVisible();
  await expect(second.getByRole('row', { name: /counted/ }).first()).toBeVisible();
  expect(new URL(second.url()).pathname).toBe(`/miner/${id}`);
  await first.context().close();
  await second.context().close();
});

test('a reload keeps the miner, leaving the page gives its work back at once, and its receipts outlast it', async ({ browser }) => {
  const pages = await Promise.all([
    open(browser, `/?name=wren&backend=wasm&autostart=1&${CALM}`, DESKTOP),
    open(browser, `/?name=gull&backend=wasm&autostart=1&${CALM}`, PHONE),
  ]);
  for (const page of pages) await expect.poll(() => counted(page)).toBeGreaterThan(4);
  const [wren, gull] = pages as [Page, Page];
  const [wrenId, gullId] = (await Promise.all(pages.map((page) => said(page, 'minerId')))) as [string, string];

  // The last word of the old document must not end the session of the new one, even when it comes after the new hello.
  await wren.evaluate(() => {
    const send = navigator.sendBeacon.bind(navigator);
    navigator.sendBeacon = (url, body) => {
      localStorage.setItem('last word', String(body));
      return send(url, body);
    };
  });
  await wren.reload();
  const reloaded = Date.now();
  await expect.poll(() => counted(wren), { message: 'it works again' }).toBeGreaterThan(0);
  expect(await said(wren, 'minerId')).toBe(wrenId);
  const lastWord = await wren.evaluate(() => localStorage.getItem('last word'));
  expect(lastWord, 'what the old document said last').toContain(wrenId);
  const before = (await eventsOf(wrenId)).map(({ code }) => code);
  const again = await fetch(`${server.url}/v1/leave`, { method: 'POST', body: lastWord });
  expect(again.status).toBe(202);
  await wren.waitForTimeout(Math.max(0, GRACE_MS + 500 - (Date.now() - reloaded)));
  expect((await ask<MinerView>(`/v1/miners/${wrenId}`)).connected, 'still there when the grace is over').toBe(true);
  expect((await eventsOf(wrenId)).map(({ code }) => code)).toEqual(before);

  const leaves = Date.now();
  // Of the same origin: on the way to another one Chromium ends a process that does not say goodbye within half a second.
  await gull.goto(`${server.url}/v1/run`);
  expect((await goodbyeOf(gullId, leaves)).code, 'leaving for another page').toBe('MINER_LEFT');
  const closes = Date.now();
  await wren.close({ runBeforeUnload: false });
  const goodbye = await goodbyeOf(wrenId, closes);
  expect(goodbye.code, 'closing the tab').toBe('MINER_LEFT');
  console.log(`closed, and gone after ${goodbye.time - closes} ms`);

  for (const screen of SCREENS) {
    const page = await open(browser, `/miner/${wrenId}`, screen);
    await expect(page.getByRole('heading', { name: 'wren' })).toBeVisible();
    await expect(page.getByText('Not in the run')).toBeVisible();
    const table = page.getByRole('region', { name: 'Receipts' }).getByRole('table');
    await expect(table.getByText('counted').first()).toBeVisible();
    // A refusal's reason is a row of its own.
    const unlike = async () => (await table.getByRole('rowgroup').count()) - Math.min(20, (await receiptsOf(wrenId)).length);
    await expect.poll(unlike, { message: 'a full page and its header' }).toBe(1);
    await fits(page);

    await page.goto(`${server.url}/miner/${NOBODY}`);
    await expect(page.getByText(`The server knows no miner ${NOBODY}`)).toBeVisible();
    await expect(page.getByText('No receipts.')).toBeVisible();
    await page.context().close();
  }
});

test('the page of audits says what was compared, whose loss stands out and who agrees, on every screen', async ({ browser }) => {
  for (const screen of SCREENS) {
    const page = await open(browser, '/audits', screen);
    await expect(page.getByRole('heading', { name: 'Audits', level: 1 })).toBeVisible();
    for (const name of ['Newest audits', 'Loss attribution', 'Agreement'])
      await expect(page.getByRole('region', { name, exact: true })).toBeVisible();
    // The secret that will draw is committed to before anybody can be drawn.
    await expect(page.getByRole('row', { name: /the server audits on wasm .* [0-9a-f]{12}…/ })).toBeVisible();
    await fits(page);
    await page.context().close();
  }
});

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
