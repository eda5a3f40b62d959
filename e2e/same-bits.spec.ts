/** What every engine must compute alike, bundled for a page and compared with Node: initial parameters and AdamW. */
import { join, resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import * as model from '@starling/model';
import { build, type Rolldown } from 'vite';

const root = resolve(import.meta.dirname, '..');

type Model = typeof model;

/** SHA-256 of initial parameters and of parameters and moments after three updates. Runs here and in the page. */
async function hashes({
  presetOf,
  cutStages,
  layoutOf,
  initialParameters,
  applyAdamW,
  optimizerNumbers,
  normOf,
}: Model): Promise<string[]> {
  const { shape, optimizer } = presetOf('nano');
  const stage = cutStages(shape, 1)[0]!;
  const layout = layoutOf(shape, stage);
  const hash = async (vector: Float32Array<ArrayBuffer>) =>
    Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', vector)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const parameters = initialParameters(shape, stage, 5);
  const initial = await hash(parameters);
  const state = { parameters, firstMoment: new Float32Array(layout.size), secondMoment: new Float32Array(layout.size) };
  for (let version = 1; version <= 3; version++) {
    const gradient = Float32Array.from(initialParameters(shape, stage, 100 + version), (value, i) => value * ((i % 7) - 3));
    applyAdamW(state, gradient, optimizerNumbers(optimizer, version, normOf(gradient, 9), 9), layout);
  }
  return [initial, ...(await Promise.all(Object.values(state).map(hash)))];
}

test('initial parameters and AdamW have the same bits in Chromium as in Node', async ({ page }) => {
  const output = (await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: { write: false, lib: { entry: join(root, 'packages/model/src/index.ts'), formats: ['iife'], name: 'model' } },
  })) as Rolldown.RolldownOutput[];
  // A secure page, so that it has Web Crypto.
  await page.route('https://page.test/', (route) => route.fulfill({ contentType: 'text/html', body: '<title>bits</title>' }));
  await page.goto('https://page.test/');
  await page.addScriptTag({ content: output[0]!.output[0].code });
  const inPage = await page.evaluate(`(${hashes})(model)`);
  expect(inPage).toEqual(await hashes(model));
});
