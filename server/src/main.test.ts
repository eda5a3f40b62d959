/** What `npm start` says to whoever runs it. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';

let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-main-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

it('names the address that others know it by, and where it listens; and ends in order though nobody reads on', async () => {
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
  } finally {
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  }
});
