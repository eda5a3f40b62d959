/** A stage that many hold: pages draw some of them, and lead to all. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { PROTOCOL_VERSION, type Reply, type Welcome } from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { io, type Socket } from 'socket.io-client';

const CROWD = 120;
let server: ServerProcess;
let sockets: Socket[];
test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-crowd-'));
  server = await startServerProcess(`--port 0 --data ${data} --preset pico --stages 1 --sequences 1 --microbatches 1`.split(' '));
  // They join, and are asked for nothing before they say that they hold the stage.
  sockets = Array.from({ length: CROWD }, () => io(server.url, { transports: ['websocket'], forceNew: true, parser: packets }));
  for (const [i, socket] of sockets.entries()) {
    const hello = { protocol: PROTOCOL_VERSION, name: `sparrow ${i}`, holding: null, backend: 'cpu', adapter: 'none' };
    const reply: Reply<Welcome> = await socket.emitWithAck('hello', hello);
    expect(reply.ok).toBe(true);
  }
});
test.afterAll(async () => {
  for (const socket of sockets) socket.disconnect();
  await server.kill();
});

for (const viewport of [
  { width: 1280, height: 900 },
  { width: 360, height: 740 },
])
  test(`the dashboard draws thirty of a full stage, whose page has them all, ${viewport.width} px wide`, async ({ browser }) => {
    const page = await (await browser.newContext({ viewport })).newPage();
    await page.goto(`${server.url}/dashboard`);
    const drawn = page.getByRole('list', { name: `${CROWD} miners` });
    await expect(drawn.getByRole('link', { name: /^sparrow/ })).toHaveCount(30);
    await drawn.getByRole('link', { name: `All ${CROWD} on the stage’s page` }).click();
    await expect(page).toHaveURL(/\/stage\/0$/);
    const crew = page.getByRole('region', { name: 'Who holds it' });
    await expect(crew.getByRole('link', { name: /^sparrow/ })).toHaveCount(100);
    await crew.getByRole('button', { name: `Show all ${CROWD}` }).focus();
    await page.keyboard.press('Enter');
    await expect(crew.getByRole('link', { name: /^sparrow/ })).toHaveCount(CROWD);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    await page.context().close();
  });
