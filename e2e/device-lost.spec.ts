/** A GPU process that crashes under mining tabs: what they say, what they wait for, and that they go on. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { startServerProcess } from '@starling/server/process';
import { fits, SCREENS } from './screens.ts';

const said = (page: Page, name: string) => page.evaluate((key) => document.documentElement.dataset[key] ?? '', name);
const mining = (page: Page) => page.getByRole('region', { name: 'Mining' });

async function works(page: Page): Promise<void> {
  const counted = async () => Number(await said(page, 'minerMicrobatches'));
  const before = await counted();
  await expect.poll(counted).toBeGreaterThan(before + 1);
}

test('a GPU that crashes is built anew; one that stays away is waited for, or done without, and the page says which', async ({
  playwright,
  launchOptions,
}) => {
  // A browser of its own: Chromium keeps its GPU from pages that saw it crash twice.
  const browser: Browser = await playwright.chromium.launch(launchOptions);
  const data = mkdtempSync(join(tmpdir(), 'starling-device-'));
  const server = await startServerProcess(`--port 0 --data ${data} --preset pico --stages 1`.split(' '));
  const open = async (backend: string) => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${server.url}/?name=${backend}&backend=${backend}&autostart=1&intensity=0.2`);
    await works(page);
    expect(await said(page, 'minerBackend')).toBe('webgpu');
    return page;
  };
  const crash = async () => (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess').catch(() => {}); // it may take the answer with it
  try {
    const waiting = await open('webgpu');
    const flexible = await open('auto');
    const all = [waiting, flexible];
    await crash();
    for (const page of all) {
      await works(page);
      expect(await said(page, 'minerBackend'), 'the first time it is there again').toBe('webgpu');
    }

    await crash();
    // At once: one goes on without a GPU before long.
    await Promise.all(all.map((page) => expect(mining(page).getByText('DEVICE', { exact: true })).toBeVisible()));
    for (const { options } of SCREENS) {
      await waiting.setViewportSize(options.viewport);
      await expect(mining(waiting).getByText(/ left$/), 'with the time to the next try').toBeVisible();
      await fits(waiting);
    }

    // The stage goes on without who has nothing to compute with.
    await works(flexible);
    expect(await said(flexible, 'minerBackend')).toBe('wasm');
    await expect(flexible.getByText('the next Start tries again')).toBeVisible();
    await expect(mining(waiting).getByText('offers no graphics adapter').first()).toBeVisible();
    await expect(mining(waiting).getByText('DEVICE', { exact: true })).toBeVisible();
    // What the page advises helps.
    await waiting.reload();
    await works(waiting);
    expect(await said(waiting, 'minerBackend')).toBe('webgpu');
  } finally {
    await browser.close();
    await server.kill();
  }
});
