/** The built pages as browsers get them. */
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningServer, startServer } from './index.ts';

let folder: string;
let server: RunningServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-pages-'));
  const webRoot = join(folder, 'web');
  await mkdir(webRoot);
  await writeFile(join(webRoot, 'index.html'), '<!doctype html>');
  await mkdir(join(webRoot, 'assets'));
  await writeFile(join(webRoot, 'assets', 'mine.worker.js'), '');
  server = await startServer({ port: 0, dataDir: join(folder, 'data'), webRoot, preset: 'pico', stages: 1, log: () => {} });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

it.each(['/', '/index.html', '/dashboard', '/?autostart=1'])('no other page can put %s into a frame', async (path) => {
  const response = await fetch(`${server.url}${path}`, { headers: { accept: 'text/html' } });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-security-policy')).toBe("frame-ancestors 'none'");
});

it.each(['/', '/dashboard', '/assets/mine.worker.js'])('%s may be part of a page that is isolated from other origins', async (path) => {
  const { headers } = await fetch(`${server.url}${path}`, { headers: { accept: 'text/html' } });
  // Fetched as browsers do from secure addresses.
  expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
  expect(headers.get('cross-origin-embedder-policy')).toBe('require-corp');
  expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
});

it('who asks as browsers do from addresses that are not secure is told no policy that they would call an error', async () => {
  const [response] = (await once(get(server.url, { headers: { accept: 'text/html' } }), 'response')) as [IncomingMessage];
  response.resume();
  expect(response.headers).not.toHaveProperty('cross-origin-opener-policy');
  expect(response.headers).toMatchObject({
    'cross-origin-embedder-policy': 'require-corp',
    vary: expect.stringContaining('sec-fetch-mode'),
  });
});
