/** The demo as a person starts it, but for its size. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const run = (args: string[]) => promisify(execFile)(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args]);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-demo-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('trains the default model with a tab, ends by itself and writes what it measured', { timeout: 120_000 }, async () => {
  const json = join(folder, 'out.json');
  const { stdout } = await run([
    '--miners',
    '1',
    '--stages',
    '1',
    '--steps',
    '4',
    // Or it would not be paid: a new key's work counts after its first passed audit.
    '--no-audits',
    '--held-steps',
    '2',
    '--exit',
    '--port',
    '0',
    '--backend',
    'wasm',
    '--json',
    json,
  ]);
  expect(stdout).toContain('step 4/4  loss');
  expect(stdout).toContain('Emission by miner against verified work');
  expect(JSON.parse(await readFile(json, 'utf8'))).toEqual({
    preset: 'nano',
    stages: 1,
    miners: 1,
    backend: 'wasm',
    adapter: expect.stringContaining('WebAssembly'),
    steps: 4,
    tokens: 4 * 6 * 4 * 64,
    seconds: expect.any(Number),
    tokensPerSecond: expect.any(Number),
    firstLoss: expect.closeTo(Math.log(256), 0),
    lastLoss: expect.closeTo(Math.log(256), 0),
    validationLoss: expect.closeTo(Math.log(256), 0),
    parameterHashes: [expect.stringMatching(/^[0-9a-f]{64}$/)],
    // One account is no line.
    correlation: null,
    pay: [{ names: ['demo-1'], work: expect.any(Number), emission: expect.stringMatching(/^[1-9]/) }],
  });
});

it('says before the work what is wrong with an option, and what to do', async () => {
  const failure = (args: string[]) =>
    run(args).catch((error: { code: number; stderr: string }) => ({ code: error.code, stderr: error.stderr }));
  expect(await failure(['--json', join(folder, 'no', 'such', 'folder.json')])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('[CONFIG_INVALID]'),
  });
  expect(await failure(['--exit'])).toMatchObject({ code: 2, stderr: expect.stringContaining('--exit needs --steps') });
  expect(await failure(['--preset', 'huge'])).toMatchObject({ code: 2, stderr: expect.stringContaining('nano or shakespeare') });
});
