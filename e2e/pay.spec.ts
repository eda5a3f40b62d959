/** The way from a name to a miner, its account and its pay, where the chain pays. */
import { expect, test } from '@playwright/test';
import type { ChainView } from '@starling/protocol';
import { begin, spectator } from './finished-run.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let paying: Awaited<ReturnType<typeof begin>>;
const { errors, ask, run, open } = spectator(() => paying.server);
// One that passed an audit: the chain knows it and pays it. Chance draws who is audited: this run goes on until it has.
const registered = async () => (await ask<ChainView>('/v1/chain')).pay.find(({ uid, emission }) => uid !== null && Number(emission) > 0);
test.beforeAll(async () => {
  paying = await begin(['--steps', '0']);
  await expect.poll(registered).toBeDefined();
  for (const miner of paying.miners) miner.order({ type: 'pause' });
});
test.afterAll(() => paying.end());

for (const screen of SCREENS) {
  test(`from the network to a miner by name, hotkey and UID, and to a stage by a click, on ${screen.name}`, async ({ browser }) => {
    const { address, uid, names } = (await registered())!;
    const [name] = names as [string];
    const { id } = (await run()).stages.flatMap(({ miners }) => miners).find((miner) => miner.name === name)!;
    const page = await open(browser, '/dashboard', screen);
    const network = page.getByRole('region', { name: 'The network' });
    const isTheMiner = async () => {
      await expect(page).toHaveURL(`${paying.server.url}/miner/${id}`);
      await expect(page.getByRole('heading', { name })).toBeVisible();
      await page.goBack();
    };
    for (const query of [name.slice(0, -1), address.slice(0, 16), String(uid)]) {
      await network.getByRole('searchbox').fill(query);
      await expect(network.getByText('1 found')).toBeVisible();
      await network.getByRole('searchbox').press('Enter');
      await isTheMiner();
      await fits(page);
    }
    const canvas = network.locator('canvas');
    const { width, height } = (await canvas.boundingBox())!;
    await canvas.click({ position: { x: width * 0.98, y: height * 0.6 } });
    await expect(page).toHaveURL(/\/stage\/1$/);
    await page.getByRole('link', { name: 'stage 0' }).click();
    await expect(page.getByRole('heading', { name: /^Stage 0/ })).toBeVisible();
    await page.context().close();
  });

  test(`the chain page tells the way from receipts to emission, sorts and finds neurons, on ${screen.name}`, async ({ browser }) => {
    const { address, uid } = (await registered())!;
    const page = await open(browser, '/chain', screen);
    await expect(page.getByRole('region', { name: 'Accounts' }).getByRole('row')).toHaveCount(4);
    await expect(page.getByRole('listitem').filter({ hasText: /^Receipts/ })).toContainText(/round \d+, step \d+/);
    await expect(page.getByRole('listitem').filter({ hasText: /^Scores/ })).toContainText('All work that counts; it halves every 4 s.');
    await expect(page.getByRole('listitem').filter({ hasText: /^Weights/ })).toContainText(/round \d+, block [\d,]+/);
    // Every account by name; the legend in the order of the bars.
    const shares = page.getByRole('region', { name: 'Work and pay' });
    const names = shares.locator('.recharts-xAxis-tick-labels .recharts-cartesian-axis-tick-value');
    await expect.poll(async () => (await names.allTextContents()).toSorted()).toEqual(['kestrel', 'osprey', 'wren']);
    await expect(shares.locator('.recharts-legend-item-text')).toHaveText(['share of all work', 'share of all emission']);
    await fits(page);
    const metagraph = page.getByRole('region', { name: 'Metagraph' });
    await expect(metagraph.getByRole('columnheader', { name: 'Validator trust' })).toBeVisible();
    const rows = metagraph.getByRole('row').filter({ has: page.getByRole('rowheader') });
    const uids = async () => (await rows.locator('td:first-child').allInnerTexts()).map(Number);
    const before = await uids();
    expect(before.length).toBeGreaterThan(1);
    expect(before).toEqual(before.toSorted((a, b) => a - b));
    await metagraph.getByRole('button', { name: 'UID' }).click();
    await expect(metagraph.getByRole('columnheader', { name: 'UID' })).toHaveAttribute('aria-sort', 'descending');
    expect(await uids()).toEqual(before.toReversed());
    for (const query of [
      address,
      address.slice(8, 24),
      address.toLowerCase(),
      `${address.slice(0, 6)}…${address.slice(-4)}`,
      String(uid),
    ]) {
      await metagraph.getByRole('searchbox').fill(query);
      await expect(rows).toHaveCount(1);
      await expect(rows.locator('code')).toHaveAttribute('title', new RegExp(`^${address}`));
    }
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
