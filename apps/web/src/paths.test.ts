import { expect, test } from 'vitest';
import { minerPath, minersIn, pageAt, splitAtMiners, stagePath } from './paths.ts';

test('every page has its address, and what is unknown is nowhere', () => {
  expect(['/', '/dashboard', '/miner', '/miner/a/b', '/elsewhere'].map((path) => pageAt(path).name)).toEqual([
    'mine',
    'dashboard',
    'nowhere',
    'nowhere',
    'nowhere',
  ]);
  expect([pageAt(stagePath(3)), pageAt('/stage/x'), pageAt('/miners')]).toEqual([
    { name: 'stage', index: 3 },
    { name: 'nowhere' },
    { name: 'miners' },
  ]);
});

test('a miner’s address brings its id back, whatever is in it', () => {
  for (const id of ['m-01234567-89ab', 'a/b c?d#e', '100%']) expect(pageAt(minerPath(id))).toEqual({ name: 'miner', id });
  expect(pageAt('/miner/%zz')).toEqual({ name: 'miner', id: '%zz' });
});

test('a sentence is cut at the miners it names', () => {
  expect(splitAtMiners('Miner m-01234567-89ab left; m-fedcba98-0123 did not.')).toEqual([
    'Miner ',
    'm-01234567-89ab',
    ' left; ',
    'm-fedcba98-0123',
    ' did not.',
  ]);
  expect(minersIn('Miner m-01234567-89ab left; m-fedcba98-0123 did not.')).toEqual(['m-01234567-89ab', 'm-fedcba98-0123']);
  expect(splitAtMiners('The server went on.')).toEqual(['The server went on.']);
});
