import type { StepPoint } from '@starling/protocol';
import { type Row, SqliteStore } from '@starling/store';
import { expect, it } from 'vitest';
import { curveOf, newestBy } from './records.ts';

it('the rows of a list until any moment are found, whatever lies between them', async () => {
  const store = new SqliteStore(':memory:');
  const rows = Array.from({ length: 200 }, (_, i): Row => ({ kind: i % 7 === 3 ? 'event' : 'receipt', owner: '', at: i, body: String(i) }));
  await store.append({ entries: [{ seq: 1, at: 0, body: '{}' }], rows, tensors: [], released: [] });
  const all = rows.filter(({ kind }) => kind === 'event').map(({ at }) => at);
  for (let at = -1; at <= 200; at++) {
    const until = all.filter((time) => time <= at);
    expect(await newestBy<number>(store, 'event', at, 1_000), `until ${at}`).toEqual(until);
    expect(await newestBy<number>(store, 'event', at, 2), `two until ${at}`).toEqual(until.slice(-2));
  }
  expect(await newestBy(store, 'point', 200, 5)).toEqual([]);
  await store.close();
});

it('of steps that were made twice the newest point counts, and what is undone is left out', () => {
  const point = (step: number, loss: number) => ({ step, loss }) as StepPoint;
  expect(curveOf([point(1, 5), point(2, 4), point(3, 3), point(2, 4.5)], 2)).toEqual([point(1, 5), point(2, 4.5)]);
});
