/** A reduction of ten million numbers must have the same bits in a page's engine as in Node, where its hash was made. */
import { join, resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import { GOLDEN_REDUCTION } from '@starling/reduce';
import { build, type Rolldown } from 'vite';

const root = resolve(import.meta.dirname, '..');

test('a reduction has the same bits in Chromium as in Node', async ({ page }) => {
  const output = (await build({
    root,
    configFile: false,
    logLevel: 'warn',
    build: { write: false, lib: { entry: join(root, 'packages/reduce/src/index.ts'), formats: ['iife'], name: 'reduce' } },
  })) as Rolldown.RolldownOutput[];
  // A secure page, so that it has Web Crypto.
  await page.route('https://page.test/', (route) => route.fulfill({ contentType: 'text/html', body: '<title>bits</title>' }));
  await page.goto('https://page.test/');
  await page.addScriptTag({ content: output[0]!.output[0].code });
  expect(await page.evaluate('reduce.goldenReduction()')).toBe(GOLDEN_REDUCTION);
});
