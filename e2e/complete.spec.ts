/** A run that is complete and that everybody has left: its pages say so, and offer nothing of it to mine. */
import { expect, test } from '@playwright/test';
import type { ServerProcess } from '@starling/server/process';
import { begin, spectator } from './finished-run.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(async () => {
  const begun = await begin(['--preset', 'pico', '--steps', '3']);
  server = begun.server;
  await expect.poll(async () => (await run()).phase).toBe('complete');
  await Promise.all(begun.miners.map((miner) => miner.stop()));
  await expect.poll(async () => (await run()).stages.flatMap(({ miners }) => miners)).toEqual([]);
});
test.afterAll(() => server.kill());
const { errors, run, open } = spectator(() => server);

for (const screen of SCREENS) {
  test(`all steps are done, and nobody is missed, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen);
    await expect(page.getByRole('img', { name: 'Step 3: complete, 100 % of its microbatches are done' })).toContainText('3 steps');
    const stage = page.getByRole('region', { name: 'Stages' }).getByRole('listitem').first();
    await expect(stage).toContainText('4/4');
    await expect(stage).toContainText('The run has reached its last step. Nobody has to hold this stage any more.');
    await expect(page.getByRole('link', { name: 'Mine in this tab' })).toHaveCount(0);
    await page.goto(`${server.url}/stage/1`);
    await expect(page.getByText('Nobody holds this stage, and nobody has to any more.')).toBeVisible();
    await expect(page.getByRole('progressbar')).toHaveAttribute('aria-valuenow', '4');
    await page.context().close();
  });

  test(`the mine page is finished, and has no Start, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/', screen);
    const mining = page.getByRole('region', { name: 'Mining' });
    await expect(mining.getByText('Finished', { exact: true })).toBeVisible();
    await expect(mining.getByRole('button', { name: 'Start' })).toBeDisabled();
    await expect(page.getByText('Step 3 of 3 · the run is complete')).toBeVisible();
    await expect(page.getByText(/Press Start|Start, and one|\d mining/)).toHaveCount(0);
    const wires = page.getByRole('region', { name: 'The pipeline' }).locator('.line > div');
    await expect(wires).toHaveCount(2);
    for (const wire of await wires.all()) await expect(wire).toHaveAttribute('style', 'transform: scaleX(1);');
    await fits(page);
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
