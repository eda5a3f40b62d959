/** A GPU process that crashes under two mining tabs: what they say, what they wait for, and that they go on. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { startServerProcess } from '@starling/server/process';

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
  const server = await startServerProcess(['--port', '0', '--data', data, '--stages', '1', '--sequences', '1', '--microbatches', '6']);
  const open = async (backend: string) => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${server.url}/?name=${backend}&backend=${backend}&autostart=1`);
    await works(page);
    expect(await said(page, 'minerBackend')).toBe('webgpu');
    return page;
  };
  const crash = async () => (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess').catch(() => {}); // it may take the answer with it
  try {
    const waiting = await open('webgpu');
    const flexible = await open('auto');
    await crash();
    for (const page of [waiting, flexible]) {
      await works(page);
      expect(await said(page, 'minerBackend'), 'the first time it is there again').toBe('webgpu');
    }

    await crash();
    await expect(mining(waiting).getByText('DEVICE', { exact: true })).toBeVisible(SLOW);
    await expect(mining(waiting).getByText(/ left$/), 'with the time to the next try').toBeVisible(SLOW);
    await expect(mining(flexible).getByText('DEVICE', { exact: true })).toBeVisible(SLOW);

    // The stage goes on without those who have nothing to compute with.
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
