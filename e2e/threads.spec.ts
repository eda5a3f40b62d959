/** A tab on WebAssembly: with threads where its page is isolated from other origins, without them elsewhere, and always to the same bits. */
import { mkdtempSync } from 'node:fs';
import { createServer, type OutgoingHttpHeaders, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, expect, type Page, test } from '@playwright/test';
import type { MinerState } from '@starling/miner';
import { startServerProcess } from '@starling/server/process';

const STEPS = 4;
/** One microbatch, so that nothing but the arithmetic decides what is added to what. */
const OPTIONS = ['--stages', '1', '--microbatches', '1', '--steps', `${STEPS}`, '--seed', '3', '--validate-every', '1000'];

const stateOf = (page: Page) => page.evaluate(() => (globalThis as unknown as { starling: { state: MinerState | null } }).starling.state);

/** In front of the server, as an operator has one. */
async function startProxy(port: number, change: (headers: OutgoingHttpHeaders) => void) {
  const proxy = createServer((asked, answer) => {
    const passed = request({ port, method: asked.method!, path: asked.url!, headers: asked.headers }, (response) => {
      const headers = { ...response.headers };
      change(headers);
      answer.writeHead(response.statusCode!, headers);
      response.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  });
  proxy.on('upgrade', ({ method, url, rawHeaders }, socket) => {
    const upstream = connect({ port }, () => {
      const lines = rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${rawHeaders[i + 1]}`] : []));
      upstream.write(`${method} ${url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  const close = () => {
    proxy.closeAllConnections();
    proxy.close();
  };
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, close };
}

/** Mines a whole run by itself. */
async function train(browser: Browser, threads: number, change: (headers: OutgoingHttpHeaders) => void = () => {}) {
  const server = await startServerProcess(['--port', '0', '--data', mkdtempSync(join(tmpdir(), 'starling-threads-')), ...OPTIONS]);
  const proxy = await startProxy(server.port, change);
  const context = await browser.newContext();
  const errors: string[] = [];
  try {
    const page = await context.newPage();
    page.on('pageerror', ({ message }) => errors.push(message));
    await page.goto(`${proxy.url}/?autostart=1&backend=wasm&name=threads&threads=${threads}`);
    await expect.poll(async () => (await stateOf(page))?.version).toBe(STEPS);
    const { adapter, parameterHash, rejected } = (await stateOf(page))!;
    return { isolated: await page.evaluate(() => crossOriginIsolated), adapter, parameterHash, rejected, errors };
  } finally {
    await context.close();
    proxy.close();
    await server.kill();
  }
}

test('one thread, two, a page that is not isolated, and one that may start no threads end with the same parameters', async ({
  browser,
}) => {
  const one = await train(browser, 1);
  expect(one).toMatchObject({ isolated: true, adapter: 'CPU (WebAssembly, SIMD)', rejected: 0, errors: [] });
  expect(one.parameterHash).toMatch(/^[0-9a-f]{64}$/);
  const page = await browser.newPage();
  const cores = await page.evaluate(() => navigator.hardwareConcurrency);
  await page.close();
  test.skip(cores < 2, 'This machine has one core.');
  expect(await train(browser, 2)).toEqual({ ...one, adapter: 'CPU (WebAssembly, SIMD, 2 threads)' });
  const shared = await train(browser, 2, (headers) => {
    delete headers['cross-origin-embedder-policy'];
  });
  expect(shared).toEqual({ ...one, isolated: false });
  const strict = await train(browser, 2, (headers) => {
    headers['content-security-policy'] = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:";
  });
  expect(strict).toEqual(one);
});
