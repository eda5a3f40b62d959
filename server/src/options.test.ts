import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseServerArgs, type ServerOptions } from './options.ts';

const parsed = (...argv: string[]) => parseServerArgs(argv) as ServerOptions;

describe('--public-url', () => {
  it.each(['https://example.org', 'http://example.org:8650', 'https://example.org/run/'])('takes %s', (url) => {
    expect(parsed('--public-url', url).publicUrl).toBe(url);
  });

  it.each(['example.org', 'example.org:8650', 'ws://example.org', 'javascript:alert(1)', 'https://', ''])('refuses "%s"', (url) => {
    const refused = expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('--public-url') });
    expect(() => parsed('--public-url', url)).toThrow(refused);
  });

  it('may be left out', () => {
    expect(parsed().publicUrl).toBeUndefined();
  });
});

it('reads how many miners an address may have, and in which header it is', () => {
  expect(parsed()).toMatchObject({ addressMiners: 250 });
  expect(parsed('--address-miners', '5', '--address-header', 'X-Real-IP')).toMatchObject({ addressMiners: 5, addressHeader: 'X-Real-IP' });
  expect(() => parsed('--address-miners', '0')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});

it('reads what stages are computed in', () => {
  expect([parsed().precision, parsed('--precision', 'f16').precision]).toEqual(['f32', 'f16']);
  expect(() => parsed('--precision', 'f8')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});

it('takes the commands of the README, whose runs have a goal', () => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  for (const command of ['npm start', 'npm run demo']) {
    const line = new RegExp(`^${command}( -- [^#\\n]*)?`, 'm').exec(readme)![0];
    const [, argv = ''] = line.split(' -- ');
    expect(parsed(...argv.trim().split(/\s+/)).steps, line).toBeGreaterThan(0);
  }
});
