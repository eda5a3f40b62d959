import { expect, test } from 'vitest';
import { bytes, compact, count, elapsed, layers, loss, plural, roughly, small } from './format.ts';

test('compact keeps three digits and never shows 1000 of a unit', () => {
  const shown = [0, 7, 0.4, 950, 999.6, 1000, 12_345, 999_499, 999_500, 4_200_000, 1e13, -1500].map(compact);
  expect(shown).toEqual(['0', '7', '0.4', '950', '1.00k', '1.00k', '12.3k', '999k', '1.00M', '4.20M', '10.0T', '−1.50k']);
});

test('what is not known is a dash', () => {
  expect([count(null), compact(null), compact(Number.NaN), loss(null), loss(Number.NaN), small(null)]).toEqual(Array(6).fill('–'));
});

test('counts, losses and small numbers', () => {
  expect([count(1_234_567), loss(2.34567), small(0.0003), small(0)]).toEqual(['1,234,567', '2.346', '3.00e-4', '0']);
});

test('elapsed counts up in clock form and turns to days', () => {
  expect([-5, 7000, 723_000, 3_723_000, 187_200_000].map(elapsed)).toEqual(['0:00', '0:07', '12:03', '1:02:03', '2 d 4 h']);
});

test('estimates are in one unit', () => {
  expect([200, 45_000, 90_000, 3_600_000, 7_200_000, 259_200_000].map(roughly)).toEqual([
    '1 s',
    '45 s',
    '2 min',
    '60 min',
    '2 h',
    '3 days',
  ]);
});

test('layers, plurals and bytes', () => {
  expect([layers([0, 1]), layers([3, 3])]).toEqual(['layers 0–1', 'layer 3']);
  expect([plural(1, 'miner'), plural(0, 'miner')]).toEqual(['1 miner', '0 miners']);
  expect([bytes(0), bytes(1023), bytes(5_242_880), bytes(2 ** 42)]).toEqual(['0 B', '1023 B', '5.0 MiB', '4096.0 GiB']);
});
