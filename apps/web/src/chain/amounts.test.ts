import { expect, it } from 'vitest';
import { brief, coins, percent, share, work } from './amounts.ts';

it('shows rao as coins, of any size, to the thousandth', () => {
  expect(coins('1234567890000')).toBe('1,234.568');
  expect(coins('499999')).toBe('0.000');
  expect(coins('500000')).toBe('0.001');
  expect(coins('9007199254740993000000000')).toBe('9,007,199,254,740,993.000');
});

it('shows shares, work and addresses, and nothing as a dash', () => {
  expect([percent(1, 8), percent(0, 8), percent(1, 0)]).toEqual(['12.5 %', '–', '–']);
  expect([share(32_767), share(0)]).toEqual(['0.500', '–']);
  expect([work(0), work(950), work(1.2e12), work(999_600), work(4e22)]).toEqual([
    '–',
    '950 FLOP',
    '1.20 TFLOP',
    '1.00 MFLOP',
    '40000 EFLOP',
  ]);
  expect(brief('5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY')).toBe('5Grwva…utQY');
});
