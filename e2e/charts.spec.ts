/** Curves: what they show, by which axis, of which range, and what is taken home of them. */
import { readFileSync } from 'node:fs';
import { expect, type Locator, type Page } from '@playwright/test';
import type { Moment, StepPoint } from '@starling/protocol';
import type { ServerProcess } from '@starling/server/process';
import { csv } from './downloads.ts';
import { spectator, test } from './finished-run.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
test.beforeAll(({ finished }) => {
  server = finished;
});
const { errors, ask, run, open } = spectator(() => server);

const curves = (page: Page) => page.getByRole('region', { name: 'Curves' });
const chart = (page: Page, title: string) =>
  curves(page)
    .getByRole('figure')
    .filter({ has: page.getByRole('heading', { name: title, exact: true }) });
const LOSS = 'Loss, nats per token';
const saveAs = (page: Page, title: string, kind: 'CSV' | 'PNG') =>
  page.getByRole('button', { name: `Save ${title} as ${kind}`, exact: true });

for (const screen of SCREENS) {
  test(`curves go to a spreadsheet and into a picture, and say their values to a keyboard, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen, 'dark');
    expect((await csv(page, saveAs(page, LOSS, 'CSV'))).name).toBe('loss-nats-per-token.csv');
    const [picture] = await Promise.all([page.waitForEvent('download'), saveAs(page, LOSS, 'PNG').click()]);
    expect(picture.suggestedFilename()).toBe('loss-nats-per-token.png');
    expect(
      readFileSync(await picture.path())
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    const large = chart(page, LOSS);
    await large.getByRole('img').focus();
    for (const [key, text] of [
      ['ArrowLeft', 'step 6'],
      ['ArrowLeft', 'step 5'],
      ['Home', 'step 1'],
      ['ArrowRight', 'step 2'],
      ['Escape', ''],
    ] as const) {
      await page.keyboard.press(key);
      await expect(large.locator('.chart-x')).toHaveText(text);
    }
    await page.context().close();
  });

  test(`curves by step, tokens and time, smoothed or not, linear or logarithmic, on ${screen.name}`, async ({ browser }) => {
    const points = await ask<StepPoint[]>('/v1/run/points');
    const { startedAt } = await run();
    const page = await open(browser, '/dashboard', screen);
    const large = chart(page, LOSS);
    const table = async () => (await csv(page, saveAs(page, LOSS, 'CSV'))).lines;
    const numbers = async (column: number) => (await table()).slice(1).map((line) => Number(line[column]));

    for (const [name, head, x, said] of [
      ['Tokens', 'tokens', points.map(({ tokens }) => tokens), /^[\d.]+k? tokens$/],
      ['Time', 'time', points.map(({ time }) => (time - startedAt) / 1000), /^\d+:\d\d since the start$/],
      ['Step', 'step', points.map(({ step }) => step), /^step 6$/],
    ] as const) {
      await curves(page).getByRole('radio', { name, exact: true }).check();
      expect((await table())[0]![0]).toBe(head);
      expect(await numbers(0)).toEqual(x);
      await large.getByRole('img').focus();
      await page.keyboard.press('End');
      await expect(large.locator('.chart-x')).toHaveText(said);
    }

    // Columns: step, the loss of each step, the same smoothed, and the validation loss.
    const raw = points.map(({ loss }) => loss);
    await curves(page).getByRole('slider', { name: 'Smoothing' }).fill('0');
    expect(await numbers(2)).toEqual(raw);
    await curves(page).getByRole('slider', { name: 'Smoothing' }).fill('0.98');
    expect(await numbers(1), 'what was measured stays').toEqual(raw);
    const smoothed = await numbers(2);
    expect(smoothed[0]).toBeCloseTo(raw[0]!, 10);
    // A weight near one is a mean of all there is, nearly.
    expect(smoothed[5]).toBeCloseTo(
      raw.reduce((sum, loss) => sum + loss / 6, 0),
      1,
    );
    await expect(large.getByRole('listitem').filter({ hasText: 'training' })).toContainText(smoothed[5]!.toFixed(3));

    const picture = () => large.locator('canvas').evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
    // What is drawn depends on the scale and on nothing else.
    await page.keyboard.press('Escape');
    const linear = await picture();
    await curves(page).getByRole('radio', { name: 'Log', exact: true }).check();
    await expect.poll(picture).not.toBe(linear);
    await curves(page).getByRole('radio', { name: 'Linear', exact: true }).check();
    await expect.poll(picture).toBe(linear);
    await fits(page);
    await page.context().close();
  });

  test(`a range is set by fields and by dragging, and is that of all curves, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/dashboard', screen);
    const [from, to] = [curves(page).getByLabel('From, step'), curves(page).getByLabel('to, step')];
    const large = chart(page, LOSS);
    const hover = async (plot: Locator, share: number) => {
      const { width, height } = (await plot.boundingBox())!;
      await plot.hover({ position: { x: share * (width - 1), y: height / 2 } });
    };
    const shows = async (first: number, last: number) => {
      for (const [share, step] of [
        [0, first],
        [1, last],
      ] as const) {
        await hover(large.locator('.u-over'), share);
        await expect(large.locator('.chart-x')).toHaveText(`step ${step}`);
      }
    };
    await shows(1, 6);
    await from.fill('2');
    await to.fill('4');
    await shows(2, 4);
    await curves(page).getByRole('button', { name: 'All' }).click();
    await shows(1, 6);
    // In another chart, from the middle to its end.
    const other = chart(page, 'Queue of ready tasks, by stage').locator('.u-over');
    await hover(other, 0.5);
    await page.mouse.down();
    await hover(other, 0.75);
    await hover(other, 1);
    await page.mouse.up();
    await expect(from).toHaveValue('3');
    await expect(to).toHaveValue('6');
    await shows(3, 6);
    await large.locator('.u-over').dblclick();
    await shows(1, 6);
    // The other way round there is nothing.
    await from.fill('5');
    await to.fill('2');
    await expect(curves(page).getByText('Nothing lies there: all is shown.')).toBeVisible();
    for (const field of [from, to]) await expect(field).toHaveAttribute('aria-invalid', 'true');
    await shows(1, 6);
    await to.fill('6');
    await expect(from).toHaveAttribute('aria-invalid', 'false');
    await shows(5, 6);
    await fits(page);
    await page.context().close();
  });

  test(`axes say what they show, bytes in round numbers; a spike flattens no loss curve, and is shown when asked for, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await (await browser.newContext(screen.options)).newPage();
    await page.addInitScript(() => {
      const { fillText } = CanvasRenderingContext2D.prototype;
      const drawn = new Map<HTMLCanvasElement, string[]>();
      CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        drawn.set(this.canvas, [...(drawn.get(this.canvas) ?? []), text]);
        fillText.call(this, text, ...place);
      };
      Object.assign(window, { drawn });
    });
    // Forty steps more than there were, and one of them went wrong.
    await page.route('**/v1/moments/*', async (route) => {
      const moment = (await (await route.fetch()).json()) as Moment;
      const last = moment.points.at(-1)!;
      const more = (i: number) => ({
        ...last,
        step: last.step + i,
        loss: i === 20 ? 8.3 : 2 + 0.1 * Math.sin(i * i),
        bytesPerToken: 1024 * (9 + i),
      });
      await route.fulfill({ json: { ...moment, points: [...moment.points, ...Array.from({ length: 40 }, (_, i) => more(i + 1))] } });
    });
    await page.goto(`${server.url}/replay`);
    const texts = (title: string) =>
      chart(page, title)
        .locator('canvas')
        .evaluate((canvas) => (window as unknown as { drawn: Map<Element, string[]> }).drawn.get(canvas) ?? []);
    const forget = () => page.evaluate(() => (window as unknown as { drawn: Map<Element, string[]> }).drawn.clear());
    const loss = chart(page, LOSS);
    await expect(loss.getByRole('button', { name: 'Spikes up to 8.300 are cut off: show them' })).toBeVisible();
    expect(await texts(LOSS)).toContain('step');
    expect((await texts(LOSS)).map(Number)).not.toContain(8);
    expect(await texts('Server bytes per token')).toContain('20 KiB');
    await forget();
    await loss.getByRole('button', { name: /^Spikes/ }).click();
    await expect.poll(async () => (await texts(LOSS)).map(Number)).toContain(8);
    await forget();
    await loss.getByRole('button', { name: 'Cut spikes off' }).click();
    await expect.poll(async () => (await texts(LOSS)).length).toBeGreaterThan(0);
    expect((await texts(LOSS)).map(Number)).not.toContain(8);
    for (const [axis, name] of [
      ['Tokens', 'tokens'],
      ['Time', 'time since the start'],
    ] as const) {
      await page.getByRole('radio', { name: axis, exact: true }).check();
      await expect.poll(() => texts('Learning rate')).toContain(name);
    }
    await expect(chart(page, 'Lease time by stage').getByRole('listitem')).toHaveText([/^stage 0/, /^stage 1/]);
    await page.context().close();
  });

  test(`throughput and queue are curves by stage, and progress is counted in tokens, on ${screen.name}`, async ({ browser }) => {
    const points = await ask<StepPoint[]>('/v1/run/points');
    expect(points).toHaveLength(6);
    for (const { stageTokensPerSecond, queue } of points) {
      expect(stageTokensPerSecond!.map((rate) => rate! > 0)).toEqual([true, true]);
      expect(queue!.every((mean) => mean! >= 0)).toBe(true);
    }
    const page = await open(browser, '/dashboard', screen);
    const { tokens, config } = await run();
    const { steps, microbatchesPerStep, sequences, model } = config;
    const bar = page.getByRole('progressbar', { name: 'Tokens of the goal' });
    await expect(bar).toHaveAttribute('aria-valuenow', `${tokens}`);
    await expect(bar).toHaveAttribute('aria-valuemax', `${steps * microbatchesPerStep * sequences * model.context}`);
    const { lines } = await csv(page, saveAs(page, 'Tokens per second while each stage works', 'CSV'));
    expect(lines[0]).toEqual(['step', 'stage 0', 'stage 1']);
    expect(lines.slice(1).map((line) => line.map(Number))).toEqual(
      points.map(({ step, stageTokensPerSecond }) => [step, ...stageTokensPerSecond!]),
    );
    await page.context().close();
  });
}

test('no page said an error', () => {
  expect(errors).toEqual([]);
});
