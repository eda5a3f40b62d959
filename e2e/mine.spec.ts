/** What a volunteer does with a tab: check, start, pause, set rules, reload, finish; on a desktop and on a telephone. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type BrowserContext, type BrowserContextOptions, devices, expect, type Page, test } from '@playwright/test';
import type { RunSnapshot } from '@starling/protocol';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { drew, watchPicture } from './network-picture.ts';
import { CALM } from './pace.ts';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

let server: ServerProcess;
const OPTIONS = [
  ...['--data', mkdtempSync(join(tmpdir(), 'starling-mine-')), '--preset', 'pico', '--stages', '1', '--microbatches', '6'],
  ...['--steps', '0', '--block-ms', '200', '--tempo', '5', '--round-steps', '2', '--held-steps', '2'],
];
test.beforeAll(async () => {
  server = await startServerProcess(['--port', '0', ...OPTIONS]);
});
test.afterAll(() => server.kill());

const run = async () => (await (await fetch(`${server.url}/v1/run`)).json()) as RunSnapshot;
const errors: string[] = [];
/** In a context of its own, or in the one given. */
async function open(where: Browser | BrowserContext, path: string, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await ('newContext' in where ? await where.newContext(options) : where).newPage();
  page.on('pageerror', ({ message }) => errors.push(message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(`${server.url}${path}`);
  return page;
}
const counted = async (page: Page) => Number(await page.evaluate(() => document.documentElement.dataset.minerMicrobatches ?? '0'));
const works = async (page: Page) => {
  const before = await counted(page);
  await expect.poll(() => counted(page)).toBeGreaterThan(before + 1);
};
const mining = (page: Page) => page.getByRole('region', { name: 'Mining' });
const button = (page: Page, name: string) => mining(page).getByRole('button', { name, exact: true });

for (const screen of SCREENS)
  test(`the first Start checks the device and says what it found, with a fix for what is missing; then it mines, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await open(browser, '/?name=checked&backend=wasm', screen.options);
    const device = page.getByRole('region', { name: 'This device' });
    await expect(device.getByText('The first Start checks')).toBeVisible();
    await button(page, 'Start').click();
    await expect(device.getByText(/GFLOP\/s in matrix products/)).toBeVisible();
    await expect(device.getByText(/Mbit\/s to the server/)).toBeVisible();
    await expect(device.getByText('It computes on the processor, by choice.')).toBeVisible();
    await works(page);
    await expect(page.getByText(/Mining|Waiting/).first()).toBeVisible();

    // It is remembered: a second tab of the browser is not checked again.
    const second = await page.context().newPage();
    await second.goto(`${server.url}/?name=second&backend=wasm`);
    await expect(second.getByRole('region', { name: 'This device' }).getByText(/^Checked /)).toBeVisible();
    await second.close();

    await button(page, 'Pause').click();
    await expect(mining(page).getByText('Paused', { exact: true })).toBeVisible();
    await expect(mining(page).getByText('PAUSED', { exact: true })).toBeVisible();
    const paused = await counted(page);
    await expect.poll(async () => (await run()).stages[0]!.miners[0]?.leases).toBe(0);
    expect(await counted(page), 'what was begun, and what was being sent, may count, nothing more').toBeLessThanOrEqual(paused + 2);
    // Header and window title say so too, on every page; and it is not forgotten.
    const pill = page.getByRole('banner').getByRole('link', { name: 'This tab’s miner' });
    await expect(pill).toHaveText(/: paused$/);
    await expect(page).toHaveTitle('Paused · Starling');
    await page.reload();
    await expect(mining(page).getByText('PAUSED', { exact: true })).toBeVisible();
    await expect(pill).toHaveText(/: paused$/);
    await expect(button(page, 'Resume')).toBeVisible();
    await button(page, 'Resume').click();
    await works(page);
    await expect(pill).toHaveText(/: [\d.k]+ tok\/s$/);

    // A reload goes on mining, as the same miner.
    const id = await page.evaluate(() => document.documentElement.dataset.minerId);
    await page.reload();
    await works(page);
    expect(await page.evaluate(() => document.documentElement.dataset.minerId)).toBe(id);

    // So does a page that was left, and is found again with Back as it was.
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })));
    await expect(mining(page).getByText('Stopped', { exact: true })).toBeVisible();
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
    await works(page);
    expect(await page.evaluate(() => document.documentElement.dataset.minerId)).toBe(id);

    const { handedOver } = (await run()).counters;
    await button(page, 'Finish').click();
    await expect(mining(page).getByText('Stopped', { exact: true })).toBeVisible();
    expect((await run()).counters.handedOver, 'nobody has to compute anything again').toBe(handedOver);
    await expect(button(page, 'Start')).toBeVisible();
    await page.context().close();
  });

for (const screen of SCREENS)
  test(`a tab that is opened again shows its history and goes on as the same miner; a duplicate waits for a click, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await open(browser, `/?name=returns&backend=wasm&autostart=1&${CALM}`, screen.options);
    await works(page);
    const id = await page.evaluate(() => document.documentElement.dataset.minerId);
    // As the browser's own “Duplicate” does, this copies what the tab remembers.
    const [duplicate] = await Promise.all([page.context().waitForEvent('page'), page.evaluate(() => void window.open('/'))]);
    // By the time it has its own name, it has decided.
    await expect.poll(() => duplicate.evaluate(() => sessionStorage.getItem('starling.mining'))).toBeNull();
    await expect(mining(duplicate).getByText('Ready', { exact: true })).toBeVisible();
    expect(await duplicate.evaluate(() => document.documentElement.dataset.minerActivity)).toBeUndefined();
    await button(duplicate, 'Start').click();
    await works(duplicate);
    const other = await duplicate.evaluate(() => document.documentElement.dataset.minerId);
    expect(other).not.toBe(id);
    await duplicate.close();
    await works(page);
    await page.close();

    const returned = await page.context().newPage();
    await returned.goto(`${server.url}/?backend=wasm`);
    const history = returned.getByRole('region', { name: 'History' });
    await expect(history.getByRole('row', { name: /counted/ }).first()).toBeVisible();
    await expect(history.getByText(/In all sessions: [1-9]\d* counted/)).toBeVisible();
    expect(await returned.evaluate(() => document.documentElement.dataset.minerActivity), 'it waits for a click').toBeUndefined();
    await button(returned, 'Start').click();
    await works(returned);
    const again = await returned.evaluate(() => document.documentElement.dataset.minerId);
    expect([id, other]).toContain(again);
    await expect(history.getByRole('link', { name: again === id ? other! : id! })).toBeVisible();
    await page.context().close();
  });

test('a line that does not answer holds no Start up, and a check can be stopped, on every screen', async ({ browser }) => {
  const tries = async (options: BrowserContextOptions) => {
    const context = await browser.newContext(options);
    await context.route('**/v1/probe', () => {});
    const page = await context.newPage();
    await page.goto(`${server.url}/?name=silent&backend=wasm`);
    await button(page, 'Start').click();
    await expect(mining(page).getByText('Checking', { exact: true })).toBeVisible();
    await button(page, 'Stop').click();
    await expect(mining(page).getByText('Ready', { exact: true })).toBeVisible();
    await expect(page.getByText('The first Start checks')).toBeVisible();

    await button(page, 'Start').click();
    await expect(page.getByText(/The line to the server could not be measured: 256 KiB were not answered in 5 s/)).toBeVisible();
    await works(page);
    await context.close();
  };
  await Promise.all(SCREENS.map(({ options }) => tries(options)));
});

for (const screen of SCREENS)
  test(`a link starts nothing: without a program that drives the browser, ?autostart=1 waits for a click, on ${screen.name}`, async ({
    browser,
  }) => {
    const context = await browser.newContext(screen.options);
    await context.addInitScript(() => Object.defineProperty(Navigator.prototype, 'webdriver', { get: () => false }));
    const page = await context.newPage();
    await page.goto(`${server.url}/?name=stranger&backend=wasm&autostart=1&wallet=polkadot-js`);
    await expect(mining(page).getByText('Ready', { exact: true })).toBeVisible();
    await expect(page.getByRole('region', { name: 'Account' })).toContainText('Mining as a guest');
    await expect(page.getByText('WALLET_MISSING')).toHaveCount(0);
    expect(await page.evaluate(() => document.documentElement.dataset.minerActivity)).toBeUndefined();
    await context.close();
  });

for (const screen of SCREENS)
  test(`on WebGPU, the screen stays on while it mines, and may sleep while it is paused; and it finishes, on ${screen.name}`, async ({
    browser,
  }) => {
    const context = await browser.newContext(screen.options);
    // The browser's own lock, written down: a page cannot ask whether it holds one.
    await context.addInitScript(() => {
      const request = navigator.wakeLock.request.bind(navigator.wakeLock);
      navigator.wakeLock.request = async () => {
        const lock = await request('screen');
        document.documentElement.dataset.awake = '1';
        lock.addEventListener('release', () => delete document.documentElement.dataset.awake);
        return lock;
      };
    });
    const page = await open(context, '/?name=awake&backend=webgpu&autostart=1&intensity=0.2');
    const awake = () => page.evaluate(() => document.documentElement.dataset.awake ?? '0');
    await works(page);
    await expect.poll(awake).toBe('1');
    await button(page, 'Pause').click();
    await expect.poll(awake).toBe('0');
    await button(page, 'Resume').click();
    await expect.poll(awake).toBe('1');
    await mining(page).getByText('Settings', { exact: true }).click();
    await page.getByLabel('Keep the screen awake').uncheck();
    await expect.poll(awake).toBe('0');
    expect(await page.evaluate(() => document.documentElement.dataset.minerBackend)).toBe('webgpu');
    const { handedOver } = (await run()).counters;
    await button(page, 'Finish').click();
    await expect(mining(page).getByText('Stopped', { exact: true })).toBeVisible();
    expect((await run()).counters.handedOver, 'nobody has to compute anything again').toBe(handedOver);
    await context.close();
  });

for (const screen of SCREENS)
  test(`a spectator sees the step under way, merges and audits, on ${screen.name}`, async ({ browser }) => {
    const context = await browser.newContext(screen.options);
    await watchPicture(context);
    const spectator = await open(context, '/dashboard');
    const miner = await open(browser, `/?name=watched&backend=wasm&autostart=1&${CALM}`, screen.options);
    const dial = spectator.getByRole('img', { name: /^Step \d+: (computing|merging), \d+ % of its microbatches are done$/ });
    const step = async () => Number(/^Step (\d+)/.exec((await dial.getAttribute('aria-label')) ?? '')?.[1]);
    await expect(dial).toBeVisible();
    const first = await step();
    await expect.poll(step).toBeGreaterThan(first);
    await drew(spectator, ['merges', 'audits']);
    await miner.context().close();
    await context.close();
  });

for (const screen of SCREENS)
  test(`a tone that the browser keeps silent after a reload is told, and sounds at the next click, on ${screen.name}`, async ({
    browser,
  }) => {
    const page = await open(browser, `/?name=hummer&backend=wasm&autostart=1&${CALM}`, screen.options);
    await works(page);
    await mining(page).getByText('Settings', { exact: true }).click();
    await page.getByLabel('Keep this tab awake').check();
    const silent = page.getByText('The tone that keeps this tab awake is silent');
    await page.reload();
    await expect(silent).toBeVisible();
    await page.getByRole('heading', { name: 'This device' }).click();
    await expect(silent).toHaveCount(0);
    await page.context().close();
  });

for (const screen of SCREENS)
  test(`only while nobody uses the device: the whole device is watched, over a reload too, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, `/?name=shy&backend=wasm&autostart=1&${CALM}`, screen.options);
    const device = await page.context().newCDPSession(page);
    const { targetInfo } = await device.send('Target.getTargetInfo');
    const { browserContextId } = targetInfo;
    await device.send('Browser.grantPermissions', { permissions: ['idleDetection'], origin: server.url, browserContextId });
    const inUse = (isUserActive: boolean) => device.send('Emulation.setIdleOverride', { isUserActive, isScreenUnlocked: true });
    await inUse(false);
    await works(page);
    await mining(page).getByText('Settings', { exact: true }).click();
    await page.getByLabel('Only while nobody uses').check();
    await expect(page.getByText('The whole device is watched.')).toBeVisible();
    await works(page);
    await inUse(true);
    await expect(mining(page).getByText(/Somebody uses this device/)).toBeVisible();
    await page.reload();
    await expect(mining(page).getByText(/Somebody uses this device/)).toBeVisible();
    // Though this page was touched just now, which is all that a page alone would know.
    await mining(page).getByText('Settings', { exact: true }).click();
    await expect(page.getByText('The whole device is watched.')).toBeVisible();
    await inUse(false);
    await works(page);
    await page.context().close();
  });

for (const screen of SCREENS)
  test(`rules hold at once and over a reload, on ${screen.name}`, async ({ browser }) => {
    const context = await browser.newContext(screen.options);
    // The machine of a test has no battery.
    await context.addInitScript(() => {
      const battery = Object.assign(new EventTarget(), { charging: sessionStorage.getItem('unplugged') === null });
      const plug = (charging: boolean) => {
        battery.charging = charging;
        if (charging) sessionStorage.removeItem('unplugged');
        else sessionStorage.setItem('unplugged', '');
        battery.dispatchEvent(new Event('chargingchange'));
      };
      Object.assign(navigator, { getBattery: async () => battery });
      Object.assign(window, { plug });
    });
    const page = await open(context, '/?name=ruled&backend=wasm&autostart=1');
    const plug = (charging: boolean) => page.evaluate((to) => (window as unknown as { plug(to: boolean): void }).plug(to), charging);
    await works(page);
    await page.getByText('Settings', { exact: true }).click();
    const cap = page.getByRole('combobox', { name: 'Memory on the device' });
    await cap.selectOption('256');
    await plug(false);
    await page.getByLabel('Only on mains power').check();
    const onBattery = mining(page).getByText('This device runs on battery, and is to mine on mains power only.').first();
    await expect(onBattery).toBeVisible();
    await page.reload();
    await expect(onBattery, 'though the battery is heard of only after Start').toBeVisible();
    await page.getByText('Settings', { exact: true }).click();
    await plug(true);
    await works(page);
    await page.getByRole('slider', { name: 'Intensity' }).fill('0.1');
    await expect(mining(page).getByText(/^Rests .*: it is to compute 10 % of the time/)).toBeVisible();
    await expect(mining(page).getByText('INTENSITY', { exact: true })).toBeVisible();
    await expect(page.getByText('Intensity: 10 % of the time (it rests after each microbatch, for 10 s at most)')).toBeVisible();
    await page.getByRole('slider', { name: 'Intensity' }).fill('0.5');
    await expect(page.getByText('Intensity: 50 % of the time')).toBeVisible();
    await page.getByLabel('Only at these hours').check();
    // An hour that is not now.
    const other = new Date((await page.evaluate(() => Date.now())) + 5 * 3_600_000).getHours();
    await page.getByLabel('From').fill(`${String(other).padStart(2, '0')}:00`);
    await page.getByLabel('Until').fill(`${String(other).padStart(2, '0')}:30`);
    await expect(mining(page).getByText('POLICY', { exact: true })).toBeVisible();
    await expect(
      mining(page)
        .getByText(/It is to mine from \d\d:00 to \d\d:30 only/)
        .first(),
    ).toBeVisible();
    await expect(mining(page).getByText(/ left$/), 'with the time until it goes on').toBeVisible();
    await fits(page);
    await page.reload();
    await expect(mining(page).getByText('POLICY', { exact: true })).toBeVisible();
    await page.getByText('Settings', { exact: true }).click();
    await expect(cap).toHaveValue('256');
    await page.getByLabel('Only at these hours').uncheck();
    await works(page);
    await button(page, 'Stop').click();
    await expect(button(page, 'Start')).toBeVisible();
    await page.context().close();
  });

for (const screen of SCREENS)
  test(`what is set in one tab is set in the other, on ${screen.name}`, async ({ browser }) => {
    const page = await open(browser, '/', screen.options);
    const other = await page.context().newPage();
    await other.goto(`${server.url}/`);
    for (const one of [page, other]) await one.getByText('Settings', { exact: true }).click();
    await page.getByLabel('Only on mains power').check();
    await expect(other.getByLabel('Only on mains power')).toBeChecked();
    await other.getByRole('slider', { name: 'Intensity' }).fill('0.5');
    await expect(page.getByText('50 % of the time')).toBeVisible();
    await page.reload();
    await page.getByText('Settings', { exact: true }).click();
    await expect(page.getByLabel('Only on mains power')).toBeChecked();
    await expect(page.getByText('50 % of the time')).toBeVisible();
    await page.context().close();
  });

test('a page whose server is away counts down to the next try, and goes on as the same miner, on every screen', async ({ browser }) => {
  const pages = await Promise.all(SCREENS.map(({ options }) => open(browser, `/?name=offline&backend=wasm&autostart=1&${CALM}`, options)));
  const ids = () => Promise.all(pages.map((page) => page.evaluate(() => document.documentElement.dataset.minerId)));
  for (const page of pages) await works(page);
  const before = await ids();
  for (const page of pages) await page.context().setOffline(true);
  const { port } = server;
  await server.kill();
  for (const page of pages) {
    await expect(mining(page).getByText('No connection').first()).toBeVisible();
    await expect(mining(page).getByText(/ left$| over now$/)).toBeVisible();
    await fits(page);
  }
  server = await startServerProcess(['--port', `${port}`, ...OPTIONS]);
  for (const page of pages) await page.context().setOffline(false);
  for (const page of pages) await works(page);
  expect(await ids()).toEqual(before);
  for (const page of pages) await page.context().close();
  errors.length = 0; // what the browser says of a server that is away
});

test('a telephone watches by default, and mines where its owner insists', async ({ browser }) => {
  const page = await open(browser, '/?backend=wasm', devices['iPhone 15']);
  await expect(mining(page).getByRole('link', { name: 'Watch' })).toBeVisible();
  await expect(page.getByText('This telephone watches')).toBeVisible();
  await fits(page);
  await mining(page).getByRole('button', { name: 'Mine here anyway' }).click();
  await button(page, 'Start').click();
  await works(page);
  await mining(page).getByText('Settings', { exact: true }).click();
  await fits(page);
  // iOS ends the page and loads it anew: it does not go on by itself, to be ended again.
  await page.reload();
  await expect(mining(page).getByText('Stopped', { exact: true })).toBeVisible();
  await expect(
    mining(page)
      .getByText(/within a minute of its Start/)
      .first(),
  ).toBeVisible();
  await page.context().close();
});

test('whoever presses Finish before the tab knows which miner it is has nothing to complete, on every screen', async ({ browser }) => {
  for (const { options } of SCREENS) {
    const context = await browser.newContext(options);
    await context.addInitScript(() => {
      const request = navigator.locks.request.bind(navigator.locks) as (...asked: unknown[]) => Promise<unknown>;
      const later = new Promise<void>((resolve) => Object.assign(window, { grant: resolve }));
      Object.assign(navigator.locks, { request: (...asked: unknown[]) => later.then(() => request(...asked)) });
    });
    const page = await open(context, '/?backend=wasm&autostart=1');
    await button(page, 'Finish').click();
    await expect(button(page, 'Finishing…')).toBeVisible();
    await page.evaluate(() => (window as unknown as { grant(): void }).grant());
    await expect(mining(page).getByText('Stopped', { exact: true })).toBeVisible();
    await context.close();
  }
});

test('where there is no WebGPU the page says what follows for what is chosen, and nothing where the CPU is', async ({ browser }) => {
  for (const { options } of SCREENS) {
    const context = await browser.newContext(options);
    await context.addInitScript(() => Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined }));
    const page = await open(context, '/');
    const notice = page.getByText(/^No WebGPU:/);
    await expect(notice).toHaveText('No WebGPU: this tab would mine on the CPU');
    await mining(page).getByRole('radio', { name: 'WebGPU' }).check();
    await expect(notice).toHaveText('No WebGPU: this tab cannot mine on it');
    await mining(page).getByRole('radio', { name: 'CPU' }).check();
    await expect(notice).toHaveCount(0);
    await context.close();
  }
});

test('a page that is not secure says so first, with its code, and offers nothing that it cannot do', async ({ browser }) => {
  const open = await startServerProcess(['--port', '0', '--host', '0.0.0.0', '--data', mkdtempSync(join(tmpdir(), 'starling-insecure-'))]);
  for (const { options } of SCREENS) {
    const page = await browser.newPage(options);
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await page.goto(`http://0.0.0.0:${new URL(open.url).port}/`);
    await expect(mining(page).getByText('Cannot mine here', { exact: true })).toBeVisible();
    await expect(mining(page).getByText('INSECURE_CONTEXT', { exact: true })).toBeVisible();
    await expect(button(page, 'Start')).toBeDisabled();
    await expect(page.getByRole('button', { name: 'Check', exact: true })).toBeDisabled();
    await expect(page.getByRole('region', { name: 'Account' })).toContainText('This page cannot mine, so no account is shown.');
    await expect(page.getByRole('region', { name: 'History' })).toContainText('This page cannot mine');
    await expect(page.getByText(/Press Start|The first Start|Start, and one|Not up to date|threads?$/)).toHaveCount(0);
    await page.close();
  }
  await open.kill();
});

test('a stage that needs more memory than is allowed is refused with the numbers, and the cap is raised, on every screen', async ({
  browser,
}) => {
  const data = mkdtempSync(join(tmpdir(), 'starling-large-'));
  const large = await startServerProcess(`--port 0 --data ${data} --stages 1 --sequences 100 --microbatches 1`.split(' '));
  for (const { options } of SCREENS) {
    const page = await (await browser.newContext(options)).newPage();
    await page.goto(`${large.url}/?name=small&backend=wasm`);
    await mining(page).getByText('Settings', { exact: true }).click();
    const cap = page.getByRole('combobox', { name: 'Memory on the device' });
    await cap.selectOption('256');
    await button(page, 'Start').click();
    await expect(mining(page).getByText('MEMORY_SHORT', { exact: true })).toBeVisible();
    await expect(mining(page).getByText('Stopped', { exact: true })).toBeVisible();
    await expect(
      mining(page)
        .getByText(/^Stage 0 needs about \d+\.\d MB on the device \(.*\); 268\.4 MB are allowed\.$/)
        .first(),
    ).toBeVisible();
    await expect(
      mining(page)
        .getByText(/^Raise the memory cap under Settings/)
        .first(),
    ).toBeVisible();
    await fits(page);
    await cap.selectOption('0');
    await button(page, 'Start').click();
    await expect.poll(() => page.evaluate(() => document.documentElement.dataset.minerStage)).toBe('0');
    await expect(mining(page).getByText('MEMORY_SHORT', { exact: true })).toHaveCount(0);
    await page.context().close();
  }
  await large.kill();
});

test('none of it left an error on the console', () => {
  expect(errors).toEqual([]);
});
