import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import type { MinerPage } from './launch.ts';
import { jsonLine, metrics, serveMetrics, textLine } from './report.ts';

const page: MinerPage = { tab: 0, name: 'a "b"\\', activity: 'forward', backend: 'wasm', id: 'x', stage: null, microbatches: 7 };

test('a line for people, and one for collectors', () => {
  expect(textLine(page)).toBe('a "b"\\  forward  wasm  no stage  7 microbatches');
  expect(JSON.parse(jsonLine(0, page))).toEqual({ time: '1970-01-01T00:00:00.000Z', ...page });
});

test('metrics escape their labels and end with a line feed', () => {
  const text = metrics([page]);
  expect(text).toContain('starling_miner_info{miner="a \\"b\\"\\\\",activity="forward",backend="wasm",stage=""} 1\n');
  expect(text).toContain('starling_miner_microbatches_total{miner="a \\"b\\"\\\\"} 7\n');
});

test('metrics are served at the address that is asked for', async () => {
  const server = await serveMetrics('0.0.0.0', 0, async () => [page]);
  expect(server.address()).toMatchObject({ address: '0.0.0.0' });
  server.close();
});

test('metrics are served at one path; a port in use is refused; a browser that is gone is 503', async () => {
  let gone = false;
  const server = await serveMetrics('127.0.0.1', 0, async () => (gone ? Promise.reject(new Error('closed')) : [page]));
  try {
    const { port } = server.address() as AddressInfo;
    const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
    expect(await (await get('/metrics')).text()).toBe(metrics([page]));
    expect((await get('/')).status).toBe(404);
    await expect(serveMetrics('127.0.0.1', port, async () => [])).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(serveMetrics('192.0.2.1', 0, async () => [])).rejects.toMatchObject({ code: 'CONFIG_INVALID' }); // not an address of ours
    gone = true;
    expect((await get('/metrics')).status).toBe(503);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
