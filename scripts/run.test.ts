import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

/** Whether a process with this number is there. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

it('a command ends what it started when the shell that npm put before it is killed', { timeout: 60_000 }, async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-run-'));
  const script = resolve(import.meta.dirname, 'run.mjs');
  // Like npm's shell: it waits for its child, and passes no signal on.
  const shell = spawn('sh', ['-c', `node ${script} start --port 0 --data ${dataDir}; true`], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  for await (const chunk of shell.stdout) {
    output += chunk;
    if (output.includes('to mine')) break;
  }
  const children = await once(spawn('pgrep', ['-f', dataDir]).stdout, 'data');
  const pids = String(children[0])
    .trim()
    .split('\n')
    .map(Number)
    .filter((pid) => pid !== shell.pid);
  expect(pids.length).toBeGreaterThanOrEqual(2);
  shell.kill('SIGTERM');
  await expect.poll(() => pids.filter(isAlive), { timeout: 20_000 }).toEqual([]);
  await rm(dataDir, { recursive: true, force: true });
});
