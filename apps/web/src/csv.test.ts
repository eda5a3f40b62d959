import { expect, test } from 'vitest';
import { csvOf } from './csv.ts';

const cells = (...row: (string | number | null)[]) => csvOf(['a'], [row]).split('\r\n')[1];

test('commas, quotes and nothing', () => {
  expect(cells('a,b', 'say "x"', null, 0)).toBe('"a,b","say ""x""",,0');
});

test('what a spreadsheet would compute is only text', () => {
  expect(cells('=1+1', '+SUM(A1)', '-2+3', '@now', '=HYPERLINK("x","y")')).toBe(`'=1+1,'+SUM(A1),'-2+3,'@now,"'=HYPERLINK(""x"",""y"")"`);
});

test('numbers stay numbers', () => {
  expect(cells(-1.5, '-1.5', '+3', '-2e-7', -2e-7, 'm-1')).toBe('-1.5,-1.5,+3,-2e-7,-2e-7,m-1');
});
