import { expect, it } from 'vitest';
import { AgreementMatrix } from './agreement.ts';

it('the agreement matrix counts pairs, whoever is named first, adds up over merges, and comes back from its text', () => {
  const matrix = new AgreementMatrix();
  matrix.record('b', 'a', true);
  matrix.record('a', 'b', false);
  matrix.record('c', 'a', true);
  expect(matrix.of('a', 'b')).toEqual({ pair: ['a', 'b'], compared: 2, agreed: 1, disagreed: 1 });
  expect(matrix.of('b', 'c')).toBeUndefined();
  const total = new AgreementMatrix(JSON.parse(JSON.stringify(matrix.export())));
  total.add(matrix.export());
  expect(total.export()).toEqual([
    { pair: ['a', 'b'], compared: 4, agreed: 2, disagreed: 2 },
    { pair: ['a', 'c'], compared: 2, agreed: 2, disagreed: 0 },
  ]);
  expect(matrix.of('b', 'a')!.compared).toBe(2);
});
