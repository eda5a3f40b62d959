import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseServerArgs } from '@starling/server';
import { expect, test } from 'vitest';
import { parseMineArgs } from './options.ts';

const ROOT = join(import.meta.dirname, '../../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const lines = (path: string) => read(path).split('\n');

const UNITS = ['starling-miner', 'starling-server'] as const;
/** Key → value of a unit; of a key given twice, the last. */
const unit = (name: (typeof UNITS)[number]) =>
  new Map(
    lines(`deploy/${name}.service`).flatMap((line) => {
      const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      return key ? [[key, value!] as const] : [];
    }),
  );

test('no file is empty', () => {
  const files = readdirSync(join(ROOT, 'deploy'));
  for (const name of UNITS) expect(files).toContain(`${name}.service`);
  for (const file of files) expect(read(`deploy/${file}`).trim(), file).not.toBe('');
});

test('the unit lets miners finish, as nobody in particular', () => {
  const keys = unit('starling-miner');
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

test('the unit of the server is held as closely, and closer: it has no browser', () => {
  const [server, miner] = [unit('starling-server'), unit('starling-miner')];
  // What a miner's browser needs.
  const ownOfMiners = ['CHROMIUM_PATH', 'SupplementaryGroups', 'KillMode', 'Description', 'Environment', 'EnvironmentFile', 'ExecStart'];
  for (const [key, value] of miner)
    if (!ownOfMiners.includes(key) && !['RestartPreventExitStatus', 'StateDirectory'].includes(key))
      expect([key, server.get(key)]).toEqual([key, value]);
  expect(Object.fromEntries(server)).toMatchObject({
    RestartPreventExitStatus: '2',
    StateDirectory: 'starling-server',
    PrivateDevices: 'yes',
    RestrictNamespaces: 'yes',
  });
});

/** What the unit gives to the script, with the options and the hotkey that its comments show. */
function argvOf(name: (typeof UNITS)[number], path: string): string[] {
  const [program, ...words] = unit(name).get('ExecStart')!.split(' ');
  expect(program).toBe('/opt/starling/node_modules/.bin/node');
  const script = words.indexOf(path);
  expect(script).toBeGreaterThan(-1);
  const comments = read(`deploy/${name}.service`);
  const OPTIONS = /^# {3}OPTIONS=(.*)$/m.exec(comments)![1]!;
  const HOTKEY = /^# {3}Environment=HOTKEY=(.*)$/m.exec(comments)![1]!;
  return words.slice(script + 1).flatMap((word) => ({ $OPTIONS: OPTIONS.split(' '), $HOTKEY: [HOTKEY] })[word] ?? [word]);
}

test('the command lines in the units are ones that miner and server know', () => {
  const miner = parseMineArgs(argvOf('starling-miner', 'apps/headless/src/main.ts'));
  expect(miner).toMatchObject({ json: true, url: 'https://example.org', count: 2, hotkeyFile: '%d/hotkey' });
  const server = parseServerArgs(argvOf('starling-server', 'server/src/main.ts'));
  expect(server).toMatchObject({ dataDir: '%S/starling-server', publicUrl: 'https://example.org', hotkeyFile: '%d/hotkey' });
});

test.for(UNITS)('systemd has nothing to say against the unit of %s', (name, { skip }) => {
  if (spawnSync('systemd-analyze', ['--version']).status !== 0) skip('systemd-analyze is not installed here');
  const folder = mkdtempSync(join(tmpdir(), 'starling-'));
  try {
    const path = join(folder, `${name}.service`);
    writeFileSync(path, read(`deploy/${name}.service`).replaceAll('/opt/starling', ROOT)); // it looks whether the program is there
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
    const about = stderr.split('\n').filter((line) => line.includes(name)); // it reads other units, too
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
