import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseMineArgs } from './options.ts';

const ROOT = join(import.meta.dirname, '../../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const lines = (path: string) => read(path).split('\n');

/** Key → value of a unit; of a key given twice, the last. */
const unit = () =>
  new Map(
    lines('deploy/starling-miner.service').flatMap((line) => {
      const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      return key ? [[key, value!] as const] : [];
    }),
  );

test('no file is empty', () => {
  const files = readdirSync(join(ROOT, 'deploy'));
  expect(files).toContain('starling-miner.service');
  for (const file of files) expect(read(`deploy/${file}`).trim(), file).not.toBe('');
});

test('the unit lets miners finish, as nobody in particular', () => {
  const keys = unit();
  expect(Object.fromEntries(keys)).toMatchObject({
    TimeoutStopSec: '150',
    KillMode: 'mixed',
    Restart: 'on-failure',
    RestartPreventExitStatus: '2 3',
    DynamicUser: 'yes',
    StateDirectory: 'starling-miner',
    ProtectSystem: 'strict',
    NoNewPrivileges: 'yes',
    WantedBy: 'multi-user.target',
  });
  // Chromium's sandbox needs them.
  expect(keys.has('RestrictNamespaces')).toBe(false);
});

test('the command line in the unit is one that the miner knows', () => {
  const [program, ...words] = unit().get('ExecStart')!.split(' ');
  expect(program).toBe('/opt/starling/node_modules/.bin/node');
  const script = words.indexOf('apps/headless/src/main.ts');
  expect(script).toBeGreaterThan(-1);
  const comments = read('deploy/starling-miner.service');
  const OPTIONS = /^# {3}OPTIONS=(.*)$/m.exec(comments)![1]!;
  const HOTKEY = /^# {3}Environment=HOTKEY=(.*)$/m.exec(comments)![1]!;
  const argv = words.slice(script + 1).flatMap((word) => ({ $OPTIONS: OPTIONS.split(' '), $HOTKEY: [HOTKEY] })[word] ?? [word]);
  expect(parseMineArgs(argv)).toMatchObject({ json: true, url: 'https://example.org', count: 2, hotkeyFile: '%d/hotkey' });
});

test('systemd has nothing to say against the unit', ({ skip }) => {
  if (spawnSync('systemd-analyze', ['--version']).status !== 0) skip('systemd-analyze is not installed here');
  const folder = mkdtempSync(join(tmpdir(), 'starling-'));
  try {
    const path = join(folder, 'starling-miner.service');
    writeFileSync(path, read('deploy/starling-miner.service').replaceAll('/opt/starling', ROOT)); // it looks whether the program is there
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
    const about = stderr.split('\n').filter((line) => line.includes('starling-miner')); // it reads other units, too
    expect({ status, about }).toEqual({ status: 0, about: [] });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an image gets nothing that git leaves out', () => {
  const left = new Set(lines('.dockerignore').map((line) => line.replace(/^\*\*\//, '')));
  expect(left).toContain('.git');
  for (const line of lines('.gitignore').filter(Boolean)) expect(left).toContain(line.replace(/^\/|\/$/g, ''));
});
