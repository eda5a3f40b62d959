/** Miners in the picture of the network and in the leaderboard, of a run that is over. */
import { expect } from '@playwright/test';
import type { ServerProcess } from '@starling/server/process';
import { layOut } from '../apps/web/src/network/layout.ts';
import { csv } from './downloads.ts';
import { spectator, test } from './finished-run.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(({ finished }) => {
  server = finished;
});
const { errors, run, open } = spectator(() => server);

for (const screen of SCREENS) {
  test(`a pointer names a miner and opens it; a finger is told whom it means, and opens that by a second tap, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await open(browser, '/dashboard', screen);
    const touch = screen.options.hasTouch;
    const network = page.getByRole('region', { name: 'The network' });
    const canvas = network.locator('canvas');
    await expect(network.getByText('3 miners')).toBeVisible();
    await expect(page.getByRole('img', { name: 'Step 6: complete, 100 % of its microbatches are done' })).toBeVisible();
    const { width, height } = (await canvas.boundingBox())!;
    for (const { dots } of layOut(await run(), width, height, Date.now())) {
      const { x, y, id, name } = dots[0]!;
      const position = { x: x + 3, y: y - 3 };
      await (touch ? canvas.tap({ position }) : canvas.hover({ position }));
      const tip = network.locator('.network-tip');
      await expect(tip).toContainText(name);
      await expect(page).toHaveURL(/\/dashboard$/);
      const [inner, outer] = [(await tip.boundingBox())!, (await canvas.boundingBox())!];
      expect(inner.x).toBeGreaterThanOrEqual(outer.x);
      expect(inner.x + inner.width).toBeLessThanOrEqual(outer.x + outer.width);
      await (touch ? canvas.tap({ position }) : canvas.click({ position }));
      await expect(page).toHaveURL(`${server.url}/miner/${id}`);
      await page.goBack();
    }
    await page.context().close();
  });

  test(`the leaderboard is sorted, filtered and taken home, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/miners', screen);
    const rows = page.getByRole('row').filter({ has: page.getByRole('rowheader') });
    await expect(rows).toHaveCount(3);
    // Each signs its receipts with a key of its own, and is an account for itself.
    await expect(rows.locator('small[title]:not([title=""])')).toHaveCount(3);
    const order = async () => (await rows.allInnerTexts()).map((text) => /kestrel|osprey|wren/.exec(text)?.[0]);
    const byName = page.getByRole('button', { name: 'Miner', exact: true });
    await byName.click();
    expect(await order()).toEqual(['kestrel', 'osprey', 'wren']);
    await expect(page.getByRole('columnheader', { name: 'Miner' })).toHaveAttribute('aria-sort', 'ascending');
    await byName.click();
    expect(await order()).toEqual(['wren', 'osprey', 'kestrel']);
    await fits(page);
    const save = page.getByRole('button', { name: 'CSV' });
    const all = await csv(page, save);
    expect(all.name).toBe('miners.csv');
    const name = all.lines[0]!.findIndex((head) => head.toLowerCase() === 'name');
    expect(all.lines.slice(1).map((line) => line[name])).toEqual(['wren', 'osprey', 'kestrel']);
    await page.getByRole('searchbox').fill('wren');
    await expect(rows).toHaveCount(1);
    expect((await csv(page, save)).lines.slice(1).map((line) => line[name])).toEqual(['wren']);
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
