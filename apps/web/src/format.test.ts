import { expect, test } from 'vitest';
import { bytes, clock, compact, count, elapsed, every, lasting, layers, loss, moment, plural, roughly, small, took } from './format.ts';

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

test('how often is said as people say it', () => {
  expect([1_000, 4_000, 60_000, 960_000, 3_600_000, 17_280_000].map(every)).toEqual([
    ...['every second', 'every 4 s', 'every minute', 'every 16 min', 'every hour', 'every 5 h'],
  ]);
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

test('what lasts counts up in whole units and is never negative', () => {
  const shown = [-900, 999, 4_200, 59_999, 60_000, 150_000, 3_600_000, 7_300_000, 172_800_000].map(lasting);
  expect(shown).toEqual(['0 s', '0 s', '4 s', '59 s', '1 min', '2 min', '1 h', '2 h', '2 days']);
});
test('what something took has two or three digits', () => {
  const shown = [0, 42.3, 999.4, 999.6, 1_234, 9_949, 9_950, 90_000, 119_499, 200_000].map(took);
  expect(shown).toEqual(['0 ms', '42 ms', '999 ms', '1.0 s', '1.2 s', '9.9 s', '10 s', '90 s', '119 s', '3 min']);
});
test('a time of another day says which', () => {
  const noon = new Date(2026, 2, 4, 12, 0, 5).getTime();
  expect(moment(noon, noon + 3_600_000)).toBe(clock(noon));
  expect(moment(noon, noon + 86_400_000)).toBe(`Mar 4 ${clock(noon)}`);
});
test('layers, plurals and bytes', () => {
  expect([layers([0, 1]), layers([3, 3])]).toEqual(['layers 0–1', 'layer 3']);
  expect([plural(1, 'miner'), plural(0, 'miner')]).toEqual(['1 miner', '0 miners']);
  expect([bytes(0), bytes(1023), bytes(5_242_880), bytes(2 ** 42)]).toEqual(['0 B', '1023 B', '5.0 MiB', '4096.0 GiB']);
});
