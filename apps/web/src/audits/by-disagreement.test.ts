import { expect, test } from 'vitest';
import { type Agreement, byDisagreement } from './by-disagreement.ts';

const pair = (a: string, b: string, disagreed: number): Agreement => ({ pair: [a, b], compared: 4, agreed: 4 - disagreed, disagreed });

test('whoever disagrees with most is first, however late it came, and nobody is left out', () => {
  expect(byDisagreement([pair('a', 'b', 0), pair('a', 'c', 1), pair('b', 'liar', 2), pair('c', 'liar', 2)])).toEqual([
    'liar',
    'c',
    'b',
    'a',
  ]);
  expect(byDisagreement([])).toEqual([]);
});
