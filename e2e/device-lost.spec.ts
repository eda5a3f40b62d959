/** A GPU process that crashes under mining tabs: what they say, what they wait for, and that they go on. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { startServerProcess } from '@starling/server/process';
import { fits, SCREENS, type Screen } from './screens.ts';

const SLOW = { timeout: 60_000 };
const said = (page: Page, name: string) => page.evaluate((key) => document.documentElement.dataset[key] ?? '', name);
const mining = (page: Page) => page.getByRole('region', { name: 'Mining' });

async function works(page: Page): Promise<void> {
  const counted = async () => Number(await said(page, 'minerMicrobatches'));
  const before = await counted();
  await expect.poll(counted, SLOW).toBeGreaterThan(before + 1);
}

test('a GPU that crashes is built anew; one that stays away is waited for, or done without, and the page says which', async ({
  playwright,
  launchOptions,
}) => {
  // A browser of its own: Chromium keeps its GPU from pages that saw it crash twice.
  const browser: Browser = await playwright.chromium.launch(launchOptions);
  const data = mkdtempSync(join(tmpdir(), 'starling-device-'));
  const server = await startServerProcess(`--port 0 --data ${data} --preset pico --stages 1`.split(' '));
  const open = async (backend: string, { options }: Screen) => {
    const page = await (await browser.newContext(options)).newPage();
    await page.goto(`${server.url}/?name=${backend}&backend=${backend}&autostart=1`);
    await works(page);
    expect(await said(page, 'minerBackend')).toBe('webgpu');
    return page;
  };
  const crash = async () => (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess').catch(() => {}); // it may take the answer with it
  try {
    const waiting: Page[] = [];
    const flexible: Page[] = [];
    for (const screen of SCREENS) {
      waiting.push(await open('webgpu', screen));
      flexible.push(await open('auto', screen));
    }
    const all = [...waiting, ...flexible];
    await crash();
    for (const page of all) {
      await works(page);
      expect(await said(page, 'minerBackend'), 'the first time it is there again').toBe('webgpu');
    }

    await crash();
    // At once: some go on without a GPU before long.
    await Promise.all(all.map((page) => expect(mining(page).getByText('DEVICE', { exact: true })).toBeVisible(SLOW)));
    for (const page of waiting) {
      await expect(mining(page).getByText(/ left$/), 'with the time to the next try').toBeVisible(SLOW);
      await fits(page);
    }

    // The stage goes on without those who have nothing to compute with.
    for (const page of flexible) {
      await works(page);
      expect(await said(page, 'minerBackend')).toBe('wasm');
      await expect(page.getByText('the next Start tries again')).toBeVisible();
    }
    for (const page of waiting) {
      await expect(mining(page).getByText('offers no graphics adapter').first()).toBeVisible();
      await expect(mining(page).getByText('DEVICE', { exact: true })).toBeVisible();
    }
    // What the page advises helps; Chromium then gives its GPU to the others, too.
    for (const page of waiting) {
      await page.reload();
      await works(page);
      expect(await said(page, 'minerBackend')).toBe('webgpu');
    }
  } finally {
    await browser.close();
    await server.kill();
  }
});
