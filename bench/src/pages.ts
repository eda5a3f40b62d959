/**
 * What pages cost: a thousand spectators beside mining, the moving picture of the network with hundreds of miners, a tab's speed with
 * threads on WebAssembly, and the memory of one that mines a thousand microbatches.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core';
import { environment, type Report, type Row } from './report.ts';
import type { WireReport, WireTask } from './wire-miners.ts';

const MINERS = 500;
const STAGES = 4;
const SPECTATORS = 1_000;
const WAVE = 50;
/** Ms after which miners answer: at the first, both cores are busy with leases alone; at the second, every answer is due a while after the last. */
const PACES_MS = [400, 4_000] as const;
const MEASURED_S = 15;
const FRAMES_S = 8;
/** Microbatches at which the memory of a tab is looked at. */
const SOAKED = [100, 250, 500, 750, 1_000];
/** Microbatches after which all is compiled. */
const WARM = 8;
/** tfjs has no more. */
const MOST_THREADS = 8;
const FLAGS = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--disable-background-networking',
  '--disable-sync',
];

async function withServer<T>(options: string[], use: (server: ServerProcess) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-pages-'));
  const server = await startServerProcess(['--port', '0', '--data', dataDir, ...options]);
  try {
    return await use(server);
  } finally {
    await server.kill();
    await rm(dataDir, { recursive: true, force: true });
  }
}

const WIRED = [
  '--preset',
  'pico',
  '--stages',
  `${STAGES}`,
  '--microbatches',
  '8192',
  '--no-audits',
  '--checkpoint-every',
  '1000000',
  '--validate-every',
  '1000000',
];

/** Sockets of a process of their own, once all are connected. */
async function crowd(task: WireTask): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, 'wire-miners.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] });
  // Spectators look on from elsewhere: here, in the time that server and miners leave.
  if (task.kind === 'watch') setPriority(child.pid!, constants.priority.PRIORITY_LOW);
  child.send(task);
  for (;;) {
    const [{ connected }] = (await once(child, 'message')) as [WireReport];
    if (connected >= task.sockets) return child;
  }
}

/** The next reports, one a second. */
async function reportsOf(child: ChildProcess, seconds: number): Promise<WireReport[]> {
  const reports: WireReport[] = [];
  while (reports.length < seconds) reports.push(((await once(child, 'message')) as [WireReport])[0]);
  return reports;
}

async function perSecond(child: ChildProcess): Promise<{ answers: number; median: number }> {
  const reports = await reportsOf(child, MEASURED_S);
  const waits = reports.flatMap((report) => report.waits).sort((a, b) => a - b);
  return { answers: reports.reduce((sum, { answered }) => sum + answered, 0) / MEASURED_S, median: waits[waits.length >> 1] ?? 0 };
}

async function spectators(delayMs: number): Promise<Row[]> {
  return withServer(WIRED, async ({ url }) => {
    const miners = await crowd({ url, kind: 'mine', sockets: MINERS, wave: WAVE, delayMs });
    try {
      // Until the first microbatches have been through all stages and back, some miners have nothing to do.
      await reportsOf(miners, Math.ceil((2 * STAGES * delayMs) / 1_000));
      const alone = await perSecond(miners);
      const watching = await crowd({ url, kind: 'watch', sockets: SPECTATORS, wave: WAVE, delayMs: 0 });
      const [watched, updates] = await Promise.all([perSecond(miners), perSecond(watching)]);
      watching.kill('SIGKILL');
      return [
        { metric: `leases of ${MINERS} miners that answer after ${delayMs} ms, nobody watching`, value: alone.answers, unit: 'leases/s' },
        {
          metric: `the same, ${SPECTATORS} spectators`,
          value: watched.answers,
          unit: 'leases/s',
          against: 'nobody watching',
          ratio: watched.answers / alone.answers,
        },
        { metric: 'receipt to answer, median, nobody watching', value: alone.median, unit: 'ms' },
        { metric: `the same, ${SPECTATORS} spectators`, value: watched.median, unit: 'ms' },
        { metric: 'updates to each spectator', value: updates.answers / SPECTATORS, unit: '/s' },
      ];
    } finally {
      miners.kill('SIGKILL');
    }
  });
}

async function network(browser: Browser): Promise<Row[]> {
  return withServer(WIRED, async ({ url }) => {
    const miners = await crowd({ url, kind: 'mine', sockets: MINERS, wave: WAVE, delayMs: 8_000 });
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      // How long each picture takes to draw: what is left of a frame is the browser's.
      await page.addInitScript(() => {
        const drawn: number[] = [];
        Object.assign(window, { drawn });
        const { requestAnimationFrame } = window;
        window.requestAnimationFrame = (task) =>
          requestAnimationFrame((time) => {
            const started = performance.now();
            task(time);
            drawn.push(performance.now() - started);
          });
      });
      await page.goto(`${url}/dashboard`);
      await page.getByText(`${MINERS} miners`).first().waitFor();
      const { frames, drawn } = await page.evaluate(async (seconds) => {
        const times: number[] = [];
        const own = (window as unknown as { drawn: number[] }).drawn;
        own.length = 0;
        const until = performance.now() + 1_000 * seconds;
        await new Promise<void>((resolve) => {
          const tick = (now: number) => {
            times.push(now);
            if (now < until) requestAnimationFrame(tick);
            else resolve();
          };
          requestAnimationFrame(tick);
        });
        return { frames: times, drawn: own.slice() };
      }, FRAMES_S);
      const sorted = drawn.filter((ms) => ms > 0.05).sort((a, b) => a - b);
      await page.close();
      return [
        {
          metric: `network view, ${MINERS} miners: frames`,
          value: (frames.length - 1) / ((frames.at(-1)! - frames[0]!) / 1_000),
          unit: '/s',
        },
        { metric: 'a picture drawn in, median', value: sorted[sorted.length >> 1] ?? 0, unit: 'ms' },
        { metric: 'a picture drawn in, 99 %', value: sorted[Math.floor(0.99 * sorted.length)] ?? 0, unit: 'ms' },
      ];
    } finally {
      miners.kill('SIGKILL');
    }
  });
}

/** Asks the page's mining worker over the protocol of the developer tools. */
async function workerHeap(session: CDPSession): Promise<number> {
  const { targetInfos } = await session.send('Target.getTargets', { filter: [{ type: 'worker' }, { type: 'page', exclude: true }] });
  const worker = targetInfos.find(({ type }) => type === 'worker');
  if (!worker) throw new Error('The page has no mining worker.');
  const { sessionId } = await session.send('Target.attachToTarget', { targetId: worker.targetId, flatten: false });
  let next = 1;
  const ask = (method: string) =>
    new Promise<Record<string, number>>((resolve) => {
      const id = next++;
      const listen = ({ message }: { message: string }) => {
        const answer = JSON.parse(message) as { id?: number; result?: Record<string, number> };
        if (answer.id !== id) return;
        session.off('Target.receivedMessageFromTarget', listen);
        resolve(answer.result ?? {});
      };
      session.on('Target.receivedMessageFromTarget', listen);
      void session.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id, method, params: {} }) });
    });
  await ask('HeapProfiler.collectGarbage');
  const { usedSize } = await ask('Runtime.getHeapUsage');
  await session.send('Target.detachFromTarget', { sessionId });
  return usedSize!;
}

interface GpuBuffers {
  count: number;
  bytes: number;
}

/**
 * Runs in the mining worker before it has a device, and counts every buffer that is made and not destroyed, those of reading
 * back too, which the kernels' own count leaves out.
 */
function countBuffers(): void {
  const live: GpuBuffers = { count: 0, bytes: 0 };
  Object.assign(globalThis, { gpuBuffers: live });
  if (typeof GPUDevice === 'undefined') return;
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  const alive = new WeakSet<GPUBuffer>();
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    alive.add(buffer);
    live.count += 1;
    live.bytes += buffer.size;
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    if (alive.delete(this)) {
      live.count -= 1;
      live.bytes -= this.size;
    }
    return destroy.call(this);
  };
}

const gpuBuffers = (page: Page): Promise<GpuBuffers> =>
  page.workers()[0]!.evaluate(() => (globalThis as unknown as { gpuBuffers: GpuBuffers }).gpuBuffers);

const counted = (page: Page) => page.evaluate(() => Number(document.documentElement.dataset.minerMicrobatches ?? 0));

async function soak(browser: Browser, backend: 'webgpu' | 'wasm'): Promise<Row[]> {
  return withServer(['--stages', '1', '--sequences', '1', '--no-audits'], async ({ url }) => {
    const page = await browser.newPage();
    page.on('worker', (worker) => void worker.evaluate(countBuffers));
    await page.goto(`${url}/?autostart=1&backend=${backend}&name=soak&threads=1`);
    const session = await browser.newBrowserCDPSession();
    const rows: Row[] = [];
    let first: { heap: number; bytes: number; buffers: GpuBuffers } | null = null;
    for (const goal of SOAKED) {
      while ((await counted(page)) < goal) await page.waitForTimeout(200);
      const heap = await workerHeap(session);
      const memory = await page.evaluate(
        () => (window as unknown as { starling: { state: { memory: { tensors: number; bytes: number } } } }).starling.state.memory,
      );
      const buffers = await gpuBuffers(page);
      first ??= { heap, bytes: memory.bytes, buffers };
      const name = `${backend}, after ${goal} microbatches`;
      rows.push(
        { metric: `${name}: JavaScript heap`, value: heap / 2 ** 20, unit: 'MiB', against: `after ${SOAKED[0]}`, ratio: heap / first.heap },
        { metric: `${name}: tensors`, value: memory.tensors, unit: '' },
        {
          metric: `${name}: their bytes`,
          value: memory.bytes / 2 ** 20,
          unit: 'MiB',
          against: `after ${SOAKED[0]}`,
          ratio: memory.bytes / first.bytes,
        },
      );
      if (backend === 'wasm') continue;
      rows.push(
        {
          metric: `${name}: GPU buffers`,
          value: buffers.count,
          unit: '',
          against: `after ${SOAKED[0]}`,
          ratio: buffers.count / first.buffers.count,
        },
        {
          metric: `${name}: their bytes, with what is read back through`,
          value: buffers.bytes / 2 ** 20,
          unit: 'MiB',
          against: `after ${SOAKED[0]}`,
          ratio: buffers.bytes / first.buffers.bytes,
        },
      );
    }
    await page.close();
    return rows;
  });
}

/** A run of one tab, on one thread and on more, up to the cores there are. */
async function threads(browser: Browser): Promise<Row[]> {
  const rows: Row[] = [];
  let alone = 0;
  for (let count = 1; count <= Math.min(MOST_THREADS, availableParallelism()); count *= 2) {
    const options = ['--preset', 'shakespeare', '--stages', '1', '--no-audits', '--validate-every', '1000000'];
    const speed = await withServer(options, async ({ url }) => {
      const page = await browser.newPage();
      await page.goto(`${url}/?autostart=1&lean=1&backend=wasm&name=threads&threads=${count}`);
      const state = () =>
        page.evaluate(() => (window as unknown as { starling: { state: { tokens: number; adapter: string } | null } }).starling.state);
      while ((await counted(page)) < WARM) await page.waitForTimeout(200);
      const [before, started] = [await state(), performance.now()];
      await page.waitForTimeout(1_000 * MEASURED_S);
      const after = await state();
      const seconds = (performance.now() - started) / 1_000;
      await page.close();
      if (count > 1 && !after!.adapter.includes(`${count} threads`)) throw new Error(`It computes on ${after!.adapter}.`);
      return (after!.tokens - before!.tokens) / seconds;
    });
    alone ||= speed;
    const against = { against: 'one thread', ratio: speed / alone };
    rows.push({ metric: `shakespeare, ${count} thread${count > 1 ? 's' : ''}`, value: speed, unit: 'tokens/s', ...(count > 1 && against) });
  }
  return rows;
}

const PARTS = ['spectators', 'network', 'threads', 'wasm', 'webgpu'] as const;

/** `only`: of `PARTS`, separated by commas. */
export async function pages(only: string = PARTS.join()): Promise<Report> {
  const wants = (part: (typeof PARTS)[number]) => only.split(',').includes(part);
  const rows: Row[] = [];
  if (wants('spectators')) for (const pace of PACES_MS) rows.push(...(await spectators(pace)));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM_PATH, args: FLAGS });
  try {
    if (wants('network')) rows.push(...(await network(browser)));
    if (wants('threads')) rows.push(...(await threads(browser)));
    for (const backend of ['wasm', 'webgpu'] as const) if (wants(backend)) rows.push(...(await soak(browser, backend)));
    return { name: 'pages', environment: { ...environment(), chromium: browser.version() }, rows };
  } finally {
    await browser.close();
  }
}
