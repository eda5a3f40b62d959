import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import type { MinerPage } from './launch.ts';
import { jsonLine, metrics, serveMetrics, summary, textLine } from './report.ts';

const page: MinerPage = {
  ...{ tab: 0, name: 'a "b"\\', activity: 'forward', reason: '', backend: 'wasm', id: 'x', stage: null },
  ...{ microbatches: 7, refused: 1, tokensPerSecond: 99.6, restarts: 0, failures: 0 },
};

test('a line for people, and one for collectors', () => {
  expect(textLine(page)).toBe('a "b"\\  forward  wasm  no stage  100 tokens/s  7 receipts, 1 refused');
  expect(textLine({ ...page, activity: 'waiting', reason: 'COMPLETE' })).toContain('  waiting (COMPLETE)  wasm  ');
  expect(textLine({ ...page, restarts: 1, failures: 2 })).toMatch(/ {2}2 failures, 1 restart$/);
  expect(JSON.parse(jsonLine(0, page))).toEqual({ time: '1970-01-01T00:00:00.000Z', ...page });
});

test('metrics escape their labels and end with a line feed', () => {
  const text = metrics([page]);
  expect(text).toContain('starling_miner_info{miner="a \\"b\\"\\\\",activity="forward",backend="wasm",stage=""} 1\n');
  expect(text).toContain('starling_miner_microbatches_total{miner="a \\"b\\"\\\\"} 7\n');
  const figures = metrics([{ ...page, name: 'a', restarts: 3, failures: 4 }]);
  for (const line of [
    'refused_total{miner="a"} 1',
    'tokens_per_second{miner="a"} 99.6',
    'restarts_total{miner="a"} 3',
    'failures_total{miner="a"} 4',
  ])
    expect(figures).toContain(`\nstarling_miner_${line}\n`);
});

test('what was done is that of all tabs', () => {
  expect(summary([page, { ...page, restarts: 1, failures: 2 }])).toEqual({ microbatches: 14, refused: 2, restarts: 1, failures: 2 });
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
