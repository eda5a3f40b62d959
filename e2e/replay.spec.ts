/** The run log and the replay: what a run that is over was like at any moment. */
import { expect, type Page } from '@playwright/test';
import type { Moment, MomentRange } from '@starling/protocol';
import type { ServerProcess } from '@starling/server/process';
import { spectator, test } from './finished-run.ts';
import { drew, watchPicture } from './network-picture.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(({ finished }) => {
  server = finished;
});
const { errors, ask, open } = spectator(() => server);

test('a moment knows what curves and log knew then, and no more', async () => {
  const { last } = await ask<MomentRange>('/v1/moments');
  for (const share of [0.3, 0.7, 1]) {
    const moment = await ask<Moment>(`/v1/moments/${Math.floor(share * last.seq)}`);
    expect(moment.points.map(({ step }) => step)).toEqual(Array.from({ length: moment.run.step }, (_, i) => i + 1));
    expect(moment.run.tokens).toBe(moment.points.at(-1)?.tokens ?? 0);
    expect(moment.events.length).toBeGreaterThan(0);
    for (const { time } of [...moment.points, ...moment.events]) expect(time).toBeLessThanOrEqual(moment.at);
  }
});

for (const screen of SCREENS) {
  test(`the log tells of every merge, is filtered by keyboard, and leads to the run as it was, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen);
    const log = page.getByRole('region', { name: 'Run log' });
    const lines = log.getByRole('listitem');
    await log.getByRole('radio', { name: 'All' }).focus();
    await page.keyboard.press('ArrowRight');
    await expect(log.getByRole('radio', { name: 'Merges' })).toBeChecked();
    await expect(lines.filter({ hasNotText: /Steps? [\d–]+ made versions? [\d–]+: / })).toHaveCount(0);
    // Those that come close after each other have a line together.
    const steps = (await lines.allInnerTexts()).flatMap((text) => {
      const [, first, last = first] = /Steps? (\d+)(?:–(\d+))? made/.exec(text)!;
      return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(last) - i);
    });
    expect(steps).toEqual([5, 4, 3, 2, 1, 0]);
    await page.keyboard.press('ArrowRight');
    await expect(lines.filter({ hasText: 'joined at stage' })).toHaveCount(3);
    await log.getByRole('link', { name: 'Replay' }).click();
    await expect(page.getByRole('region', { name: 'Replay' }).getByText(/step 6/)).toBeVisible();
    // There, too, a line leads to its moment.
    await log.getByRole('radio', { name: 'Merges' }).check();
    const [, newest] = /Steps? (?:\d+–)?(\d+) made/.exec((await lines.last().textContent())!)!;
    await lines.last().getByRole('link').first().click();
    await expect(page).toHaveURL(/at=\d+/);
    await expect(page.getByRole('region', { name: 'Replay' }).getByText(`step ${Number(newest) + 1} `)).toBeVisible();
    await page.context().close();
  });

  test(`the run is scrubbed and played, and a moment is shared by its link, on ${screen.name}`, async ({ browser }) => {
    const { last } = await ask<MomentRange>('/v1/moments');
    const page = await open(browser, '/replay', screen);
    const bar = page.getByRole('region', { name: 'Replay' });
    const slider = bar.getByRole('slider');
    await expect(bar.getByText(/step 6/)).toBeVisible();
    await fits(page);
    const fill = async (share: number) => slider.fill(`${Math.floor(share * Number(await slider.getAttribute('max')))}`);
    await fill(0.2);
    // The log may grow meanwhile: it is a fifth of what it was, or a little more.
    const sought = () => Number(new URL(page.url()).searchParams.get('at'));
    await expect.poll(sought).toBeGreaterThanOrEqual(Math.floor(last.seq / 5));
    expect(sought()).toBeLessThan(0.4 * last.seq + 100);
    await expect(bar.getByText(/step [0-5] /)).toBeVisible();

    // Who is given the link sees the same.
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.url });
    await bar.getByRole('button', { name: 'Copy link' }).click();
    await expect(bar.getByRole('status')).toHaveText('Copied.');
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(copied).toBe(`${server.url}/replay?at=${sought()}`);
    const told = async (one: Page) => (await one.getByText(/· entry/).textContent())?.replace(/ of [\d,]+ /, ' of ');
    const other = await open(browser, copied.slice(server.url.length), screen);
    await expect.poll(() => told(other)).toBe(await told(page));
    await other.context().close();
    // Where the browser does not copy, the link is there, and is selected.
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }));
    await bar.getByRole('button', { name: 'Copy link' }).click();
    const link = bar.getByRole('textbox');
    await expect(link).toHaveValue(copied);
    expect(await link.evaluate((field: HTMLInputElement) => field.value.slice(field.selectionStart!))).toBe(copied);

    // A link to an entry that is not there is one to the last, which stays shown.
    await page.goto(`${server.url}/replay?at=99999999`);
    await expect.poll(sought).toBeLessThan(99_999_999);
    expect(sought()).toBeGreaterThanOrEqual(last.seq);
    await expect(bar.getByText(`entry ${sought().toLocaleString('en')} of`)).toBeVisible();

    // Before anybody was there.
    await fill(0);
    await expect(bar.getByText(/entry 1 of/)).toBeVisible();
    await expect(page.getByRole('region', { name: 'The network' }).getByText('0 miners')).toBeVisible();

    // It plays until it is paused, or at its end.
    await bar.getByRole('button', { name: 'Play' }).click();
    await expect.poll(sought).toBeGreaterThan(1);
    await bar.getByRole('button', { name: 'Pause' }).click();
    await fill(0.998);
    await bar.getByRole('button', { name: 'Play' }).click();
    await expect(bar.getByRole('button', { name: 'Play' })).toBeVisible();
    expect(sought()).toBeGreaterThanOrEqual(last.seq);
    await page.context().close();
  });

  test(`what the legend names moves in the replay, too, and its range grows while the run goes on, on ${screen.name}`, async ({
    browser,
  }) => {
    const { last } = await ask<MomentRange>('/v1/moments');
    // Whichever moment was looked at before.
    const kinds = new Set<string>();
    let lively = 0;
    for (let seq = last.seq; seq > 0; seq -= 50) {
      const { moves: all } = await ask<Moment>(`/v1/moments/${seq}`);
      for (const move of all) expect(move.seq).toBeLessThanOrEqual(seq);
      // Those that somebody is shown who comes to this moment first.
      const moves = all.filter((move) => move.seq > seq - 200);
      const here = new Set(moves.map(({ kind }) => kind));
      if (here.size >= 4 && here.has('audit') && here.has('merge')) lively = seq;
      for (const move of moves) kinds.add(move.kind);
    }
    expect([...kinds].sort()).toEqual(['audit', 'backward', 'evaluate', 'forward', 'merge']);

    const page = await open(browser, '/', screen);
    await watchPicture(page);
    await page.goto(`${server.url}/replay?at=${lively}`);
    await drew(page, ['merges', 'audits', 'flights']);

    const shown = page.getByRole('region', { name: 'Replay' }).getByText(/· entry/);
    const place = async () => /entry ([\d,]+) of ([\d,]+)/.exec((await shown.textContent())!)!.slice(1);
    const [entry, end] = await place();
    await expect.poll(async () => (await place())[1]).not.toBe(end);
    expect((await place())[0], 'what is shown stays').toBe(entry);
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
