import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import type { MinerState } from '@starling/miner';
import type { MinerView, RunEvent, RunSnapshot, StepPoint } from '@starling/protocol';
import { startServerProcess } from '@starling/server/process';

const STEPS = 22;
/** Nats by which the loss must fall over the run. */
const MARGIN = 1;

async function openMiner(browser: Browser, url: string, name: string, errors: string[]): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  page.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
  await page.goto(`${url}/?name=${name}&backend=webgpu&autostart=1`);
  const adapter = await page.evaluate(async () => (await navigator.gpu?.requestAdapter())?.info.vendor ?? null);
  expect(adapter, 'a WebGPU adapter in the page').not.toBeNull();
  return page;
}

const stateOf = (page: Page) => page.evaluate(() => (globalThis as unknown as { starling: { state: MinerState | null } }).starling.state);

test('a swarm of tabs trains on WebGPU, over a killed tab and a killed server', async ({ browser, request }) => {
  const options = [
    '--data',
    mkdtempSync(join(tmpdir(), 'starling-e2e-')),
    '--steps',
    `${STEPS}`,
    '--stages',
    '3',
    '--sequences',
    '2',
    '--microbatches',
    '4',
  ];
  const args = [...options, '--checkpoint-every', '2', '--validate-every', '10'];
  let server = await startServerProcess(['--port', '0', ...args]);
  const { url, port } = server;
  const run = async (): Promise<RunSnapshot> => (await request.get(`${url}/v1/run`)).json();
  const points = async (): Promise<StepPoint[]> => (await request.get(`${url}/v1/run/points`)).json();
  const reached = (step: number) =>
    expect.poll(async () => (await run()).step, { timeout: 8 * 60_000, message: `step ${step}` }).toBeGreaterThanOrEqual(step);
  try {
    const errors: string[] = [];
    const pages = await Promise.all(Array.from({ length: 6 }, (_, i) => openMiner(browser, url, `tab-${i}`, errors)));
    await reached(2);
    const staffed = (await run()).stages.map((stage) => stage.miners.map((miner) => miner.backend));
    // Newcomers go where the throughput is least, which is not always where the fewest are.
    expect(staffed.flat()).toEqual(Array(pages.length).fill('webgpu'));
    for (const crew of staffed) expect(crew.length).toBeGreaterThan(0);
    for (const page of pages) expect((await stateOf(page))?.backend).toBe('webgpu');

    // A tab dies while it works: nothing is said, its socket just closes.
    const killed = pages.pop()!;
    const { minerId } = (await stateOf(killed))!;
    const miner = async (): Promise<MinerView> => (await request.get(`${url}/v1/miners/${minerId}`)).json();
    await expect.poll(async () => (await miner()).leases, { intervals: [20] }).toBeGreaterThan(0);
    const crashed = killed.waitForEvent('crash');
    void (await killed.context().newCDPSession(killed)).send('Page.crash').catch(() => {}); // a dead page answers nothing
    await crashed;
    await killed.context().close();
    const events = async () => ((await (await request.get(`${url}/v1/run/events`)).json()) as RunEvent[]).map(({ message }) => message);
    await expect.poll(events).toContainEqual(expect.stringMatching(`Miner ${minerId} is gone.`));

    // Another takes its place in the running swarm: from the click on Start to its first receipt that counts.
    const clicked = performance.now();
    const newcomer = await openMiner(browser, url, 'newcomer', errors);
    await newcomer.waitForFunction(() => {
      const { state } = (globalThis as unknown as { starling: { state: MinerState | null } }).starling;
      return state !== null && state.microbatches > 0;
    });
    console.log(`From opening the page to the first accepted receipt: ${((performance.now() - clicked) / 1000).toFixed(1)} s`);
    pages.push(newcomer);
    await reached(6);

    // The server dies in mid-step: whatever was accepted is still there when it is back.
    const before = { run: await run(), points: await points() };
    await server.kill();
    server = await startServerProcess(['--port', `${port}`, ...args]);
    const resumed = await run();
    expect(resumed.step).toBeGreaterThanOrEqual(before.run.step);
    for (const stage of before.run.stages) {
      const now = resumed.stages[stage.index]!;
      if (now.version === stage.version) expect(now.done, `microbatches of stage ${stage.index}`).toBeGreaterThanOrEqual(stage.done);
      for (const miner of stage.miners) {
        const { microbatches } = (await (await request.get(`${url}/v1/miners/${miner.id}`)).json()) as MinerView;
        expect(microbatches, `receipts of ${miner.name}`).toBeGreaterThanOrEqual(miner.microbatches);
      }
    }
    expect((await points()).slice(0, before.points.length)).toEqual(before.points);
    await reached(STEPS);

    // Every replica of a stage holds the same bits as the server.
    await expect
      .poll(
        async () => {
          const { stages } = await run();
          const states = await Promise.all(pages.map(stateOf));
          return states.filter((state) => state?.version !== STEPS || state.parameterHash !== stages[state.stage!]!.parameterHash).length;
        },
        { message: 'replicas that differ from their stage' },
      )
      .toBe(0);
    const all = await points();
    expect(all.map((point) => point.step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
    expect(all[0]!.loss - all.at(-1)!.loss).toBeGreaterThan(MARGIN);
    expect(errors).toEqual([]);

    for (const [width, height] of [
      [1440, 900],
      [360, 780],
    ] as const) {
      for (const [path, name] of [
        ['/', 'mine'],
        ['/dashboard', 'dashboard'],
      ] as const) {
        const page = path === '/' ? pages[0]! : await browser.newPage();
        await page.setViewportSize({ width, height });
        if (path !== '/') await page.goto(`${url}${path}`);
        await expect(page.getByText(/loss/i).first()).toBeVisible();
        await page.screenshot({ path: `test-results/${name}-${width}.png`, fullPage: true });
        expect(
          await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
          `${name} scrolls sideways at ${width} px`,
        ).toBeLessThanOrEqual(0);
      }
    }
    expect(await server.terminate(), 'status after SIGTERM with open tabs').toBe(0);
  } finally {
    await server.kill();
  }
});
