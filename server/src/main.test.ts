/** What `npm start` says to whoever runs it. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startNodeMiner } from '@starling/miner/node';
import type { RunSnapshot } from '@starling/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';

let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-main-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

it('names the address that others know it by, and where it listens, and goes on when nobody reads any more what it says', async () => {
  const argv = ['--port', '0', '--data', dataDir, '--preset', 'pico', '--stages', '1', '--public-url', 'https://example.org/'];
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'main.ts'), ...argv]);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (line.startsWith('Open')) break;
    }
    expect(lines.at(-1)).toMatch(
      /^Open https:\/\/example\.org to mine, https:\/\/example\.org\/dashboard to watch\. It listens at http:\/\/127\.0\.0\.1:\d+ here\.$/,
    );
    // Each miner that joins is told of.
    child.stdout.destroy();
    const url = /http:\S+(?= here\.)/.exec(lines.at(-1)!)![0];
    const miner = startNodeMiner({ url, name: 'n', backend: 'wasm' });
    const step = async () => ((await (await fetch(`${url}/v1/run`)).json()) as RunSnapshot).step;
    await expect.poll(step, { timeout: 60_000 }).toBeGreaterThan(0);
    await miner.kill();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
});
