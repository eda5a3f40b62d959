import { expect, test } from 'vitest';
import { NewestMoves } from './newest-moves.ts';

test('of any number of entries the newest merge of each stage, the newest audit of each miner here and the newest receipts are told', () => {
  const moves = new NewestMoves();
  moves.add({ kind: 'audit', minerId: 'wren', outcome: 'failed' }, 1);
  moves.add({ kind: 'merge', stage: 1 }, 2);
  moves.add({ kind: 'audit', minerId: 'gone', outcome: 'passed' }, 3);
  for (let seq = 10; seq < 100_000; seq += 10) {
    moves.add({ kind: 'forward', minerId: 'wren' }, seq);
    moves.add({ kind: 'backward', minerId: 'gone' }, seq);
    moves.add({ kind: 'merge', stage: 0 }, seq + 1);
  }
  moves.add({ kind: 'audit', minerId: 'kestrel', outcome: 'passed' }, 100_000);
  const told = moves.among(new Set(['wren', 'kestrel']));
  expect(told.filter(({ kind }) => kind !== 'forward')).toEqual([
    { kind: 'audit', minerId: 'wren', outcome: 'failed', seq: 1 },
    { kind: 'merge', stage: 1, seq: 2 },
    { kind: 'merge', stage: 0, seq: 99_991 },
    { kind: 'audit', minerId: 'kestrel', outcome: 'passed', seq: 100_000 },
  ]);
  expect(told.filter(({ kind }) => kind === 'forward').map(({ seq }) => seq)).toEqual(
    Array.from({ length: 120 }, (_, i) => 99_990 - 10 * (119 - i)),
  );
});
