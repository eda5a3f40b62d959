/** Text from the model that a run has made so far, beside the untrained one; and the model as a file. */
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import type { ModelVersion, RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';

test.describe.configure({ timeout: 120_000 });

let server: ServerProcess;
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-playground-'));
  const run = ['--preset', 'nano', '--stages', '2', '--sequences', '1', '--microbatches', '2'];
  server = await startServerProcess(['--port', '0', '--data', data, '--checkpoint-every', '4', ...run]);
});
test.afterAll(() => server.kill());

const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;

async function mine(browser: Browser, name: string): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${server.url}/?autostart=1&backend=wasm&name=${name}`);
  return page;
}

test('a spectator writes with the model, compares two versions and takes one home', async ({ browser, page }) => {
  const problems: string[] = [];
  page.on('pageerror', ({ message }) => problems.push(message));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));

  // Before the first step there is only the untrained model, and it writes.
  await page.goto(`${server.url}/playground`);
  const now = page.getByRole('region', { name: 'Now', exact: true });
  const text = page.getByRole('region', { name: 'Now: text' });
  await expect(now.getByRole('combobox')).toHaveText(/newest: untrained/);
  await page.getByLabel('Length').selectOption('100');
  await page.getByRole('button', { name: 'Write' }).click();
  await expect(now.getByText(/^100 bytes, [\d,]+ a second$/)).toBeVisible();

  const miners = await Promise.all(['a', 'b'].map((name) => mine(browser, name)));
  await expect.poll(async () => (await ask<ModelVersion[]>('/v1/models')).length, { timeout: 60_000 }).toBeGreaterThan(2);
  for (const miner of miners) await miner.context().close();

  await page.reload();
  const { step } = await ask<RunSnapshot>('/v1/run');
  await expect(now.getByRole('combobox')).toHaveText(/newest: step \d+/);
  await page.getByLabel('Beginning of the text').fill('The ');
  const write = async () => {
    await page.getByRole('button', { name: 'Write' }).click();
    await expect(page.getByText(/^400 bytes, [\d,]+ a second$/)).toHaveCount(2);
    return (await text.textContent()) ?? '';
  };
  const first = await write();
  expect(first.startsWith('The ')).toBe(true);
  expect(first.length).toBeGreaterThan(100);
  const earlier = page.getByRole('region', { name: 'Earlier: text' });
  expect(await earlier.textContent(), 'another version writes another text').not.toBe(first);
  expect(await write(), 'the same seed, the same text').toBe(first);
  await page.getByLabel('Seed').fill('7');
  expect(await write()).not.toBe(first);

  await page.setViewportSize({ width: 360, height: 780 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 'scrolls sideways at 360 px').toBeLessThanOrEqual(0);
  // Always the likeliest byte, by either: chance has no say.
  await page.getByLabel('Temperature').fill('0');
  const likeliest = await write();
  expect(likeliest).not.toBe(first);
  await page.getByLabel('Temperature').fill('0.3');
  await page.getByLabel('Top-p').fill('0.05');
  expect(await write()).toBe(likeliest);

  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /^Download step/ }).click()]);
  expect(download.suggestedFilename()).toMatch(/^starling-nano-step-\d+\.zip$/);
  expect(Number(/step-(\d+)/.exec(download.suggestedFilename())![1])).toBeLessThanOrEqual(step);
  const archive = await readFile(await download.path());
  const { parameters } = await ask<RunSnapshot>('/v1/run');
  expect(archive.length).toBeGreaterThan(4 * parameters);
  for (const name of ['model.safetensors', 'config.json', 'tokenizer.json']) expect(archive.includes(name)).toBe(true);

  expect(problems).toEqual([]);
});
