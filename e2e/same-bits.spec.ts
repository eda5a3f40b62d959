/** What every engine must compute alike, bundled and compared with Node: initial parameters, AdamW, what is fixed of a subspace, and reductions of ten million numbers. */
import { expect, type Page, test } from '@playwright/test';
import * as model from '@starling/model';
import { GOLDEN_REDUCTION } from '@starling/reduce';
import { type Engine, OTHER_ENGINES, scriptOf } from './engines.ts';

type Model = typeof model;

/** SHA-256 of initial parameters, what is fixed, and parameters and moments after three updates. Runs here and elsewhere. */
async function hashes({
  presetOf,
  cutStages,
  frozenOf,
  layoutOf,
  initialParameters,
  applyAdamW,
  optimizerNumbers,
  normOf,
}: Model): Promise<string[]> {
  const preset = presetOf('nano');
  const shape = { ...preset.shape, squeeze: { kind: 'subspace' as const, rank: 16, seed: 9 } };
  const stage = cutStages(shape, 1)[0]!;
  const layout = layoutOf(shape, stage);
  const hash = async (vector: Float32Array<ArrayBuffer>) =>
    Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', vector)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const parameters = initialParameters(shape, stage, 5);
  const initial = await hash(parameters);
  const frozen = frozenOf(shape)!;
  const state = { parameters, firstMoment: new Float32Array(layout.size), secondMoment: new Float32Array(layout.size) };
  for (let version = 1; version <= 3; version++) {
    const gradient = Float32Array.from(initialParameters(shape, stage, 100 + version), (value, i) => value * ((i % 7) - 3));
    applyAdamW(state, gradient, optimizerNumbers(preset.optimizer, version, normOf(gradient, 9), 9), layout);
  }
  return [initial, ...(await Promise.all([...Object.values(frozen), ...Object.values(state)].map(hash)))];
}

async function check({ evaluate }: Engine): Promise<void> {
  const [models, reduce] = [
    await scriptOf('packages/model/src/index.ts', 'model'),
    await scriptOf('packages/reduce/src/index.ts', 'reduce'),
  ];
  expect(await evaluate([models], `(${hashes})(model)`)).toEqual(await hashes(model));
  expect(await evaluate([reduce], 'reduce.goldenReduction()')).toBe(GOLDEN_REDUCTION);
}

/** A secure page, so that it has Web Crypto. */
const chromium = (page: Page): Engine => ({
  name: 'Chromium',
  async evaluate(scripts, expression) {
    await page.route('https://page.test/', (route) => route.fulfill({ contentType: 'text/html', body: '<title>bits</title>' }));
    await page.goto('https://page.test/');
    for (const content of scripts) await page.addScriptTag({ content });
    return page.evaluate(expression);
  },
});

test('Chromium gives the bits that Node gives', ({ page }) => check(chromium(page)));

for (const { name, engine } of OTHER_ENGINES) {
  test(`${name} gives the bits that Node gives`, async () => {
    test.skip(engine === null, `There is no ${name} on this machine.`);
    await check(engine!);
  });
}
