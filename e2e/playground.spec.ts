/** Text from the model that a run has made so far, beside the untrained one; and the model as a file. */
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import { startNodeMiner } from '@starling/miner/node';
import type { ModelVersion, RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { fits, SCREENS, type Screen } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-playground-'));
  const run = ['--preset', 'nano', '--stages', '2', '--sequences', '1', '--microbatches', '2'];
  server = await startServerProcess(['--port', '0', '--data', data, '--checkpoint-every', '4', ...run]);
});
test.afterAll(() => server.kill());

const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;

const problems: string[] = [];
async function open(browser: Browser, { options }: Screen): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  page.on('pageerror', ({ message }) => problems.push(message));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  await page.goto(`${server.url}/playground`);
  return page;
}
const now = (page: Page) => page.getByRole('region', { name: 'Now', exact: true });

for (const screen of SCREENS) {
  test(`before the first step there is only the untrained model, and it writes, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, screen);
    await expect(now(page).getByRole('combobox')).toHaveText(/newest: untrained/);
    await page.getByLabel('Length').selectOption('100');
    await page.getByRole('button', { name: 'Write' }).click();
    await expect(now(page).getByText(/^untrained wrote 100 bytes, [\d,]+ a second$/)).toBeVisible();
    await fits(page);
    await page.context().close();
  });
}

for (const screen of SCREENS)
  test(`a spectator writes with the model, compares two versions and takes one home, on ${screen.name}`, async ({ browser }) => {
    const models = async () => (await ask<ModelVersion[]>('/v1/models')).length;
    if ((await models()) < 3) {
      const miners = ['a', 'b'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
      await expect.poll(models).toBeGreaterThan(2);
      for (const miner of miners) await miner.stop();
    }

    const page = await open(browser, screen);
    const text = page.getByRole('region', { name: 'Now: text' });
    const { step: before } = await ask<RunSnapshot>('/v1/run');
    await expect(now(page).getByRole('combobox')).toHaveText(/newest: step \d+/);
    await page.getByLabel('Beginning of the text').fill('The ');
    const write = async () => {
      await page.getByRole('button', { name: 'Write' }).click();
      await expect(page.getByText(/ wrote 400 bytes, [\d,]+ a second$/)).toHaveCount(2);
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

    await fits(page);
    // Always the likeliest byte, by either: chance has no say.
    await page.getByLabel('Temperature').fill('0');
    const likeliest = await write();
    expect(likeliest).not.toBe(first);
    await page.getByLabel('Temperature').fill('0.3');
    await page.getByLabel('Top-p').fill('0.05');
    expect(await write()).toBe(likeliest);

    // What was chosen stays chosen, and a text its author's, whatever the server keeps, and the run does, meanwhile.
    const [, chosen] = (await ask<ModelVersion[]>('/v1/models')).toReversed() as [ModelVersion, ModelVersion];
    const step = `step ${chosen.version.toLocaleString('en')}`;
    await now(page).getByRole('combobox').selectOption(`${chosen.version}`);
    await write();
    await page.route(`**/v1/models/${chosen.version}/*`, (route) => route.fulfill({ status: 404, body: '{}' }));
    await page.route('**/v1/models', async (route) => {
      const response = await route.fetch();
      const kept = ((await response.json()) as ModelVersion[]).filter(({ version }) => version !== chosen.version);
      await route.fulfill({ response, json: kept });
    });
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await expect(now(page).getByRole('combobox').getByRole('option', { selected: true })).toHaveText(`${step}, which is kept no longer`);
    await expect(page.getByRole('button', { name: `No download: ${step} is kept no longer` })).toBeDisabled();
    await write();
    await expect(now(page).getByText(new RegExp(`^${step} wrote 400 bytes`))).toBeVisible();
    await now(page).getByRole('combobox').selectOption('newest');
    await expect(now(page).getByText(new RegExp(`^${step} wrote 400 bytes`))).toBeVisible();

    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /^Download step/ }).click()]);
    expect(download.suggestedFilename()).toMatch(/^starling-nano-step-\d+\.zip$/);
    expect(Number(/step-(\d+)/.exec(download.suggestedFilename())![1])).toBeLessThanOrEqual(before);
    const archive = await readFile(await download.path());
    const { parameters } = await ask<RunSnapshot>('/v1/run');
    expect(archive.length).toBeGreaterThan(4 * parameters);
    for (const name of ['model.safetensors', 'config.json', 'tokenizer.json']) expect(archive.includes(name)).toBe(true);
    await page.context().close();
  });

test('no page said an error', () => {
  expect(problems).toEqual([]);
});
