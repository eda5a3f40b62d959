import { EVENTS_KEPT, type RunEvent, type StepPoint } from '@starling/protocol';
import { type Row, SqliteStore } from '@starling/store';
import { expect, it } from 'vitest';
import { curveBy, eventRow, eventsBy } from './records.ts';

const storeOf = async (rows: Row[]) => {
  const store = new SqliteStore(':memory:');
  await store.append({ entries: [{ seq: 1, at: 0, body: '{}' }], rows, tensors: [], released: [] });
  return store;
};
const event = (time: number, code: string): RunEvent => ({ time, level: 'info', code, message: code });
const pointRow = (at: number, point: Partial<StepPoint>): Row => ({ kind: 'point', owner: '', at, body: JSON.stringify(point) });

it('the events until any moment are found, whatever lies between them, and also those of before they had kinds', async () => {
  const old = { ...eventRow(event(0, 'OLD')), owner: '' };
  const events = Array.from({ length: 40 }, (_, i) => event(5 * i, i % 4 === 3 ? 'MINER_JOINED' : 'STEP_MERGED'));
  const rows = events.flatMap((one, i): Row[] => [eventRow(one), { kind: 'receipt', owner: '', at: 5 * i + 1, body: '' }]);
  const store = await storeOf([old, ...rows]);
  for (let at = -1; at <= 200; at++) {
    const until = [event(0, 'OLD'), ...events].filter(({ time }) => time <= at);
    expect(await eventsBy(store, at), `until ${at}`).toEqual(until);
  }
  await store.close();
});

it('merges push nothing else out', async () => {
  const merges = Array.from({ length: 2 * EVENTS_KEPT }, (_, i) => event(i + 1, 'STEP_MERGED'));
  const store = await storeOf([event(0, 'MINER_JOINED'), ...merges].map(eventRow));
  expect((await eventsBy(store, Infinity)).map(({ time }) => time)).toEqual([0, ...merges.slice(EVENTS_KEPT).map(({ time }) => time)]);
  await store.close();
});

it('of steps that were made twice the newest point counts, and what is undone, or came later, is left out', async () => {
  const point = (step: number, loss: number) => ({ step, loss });
  const made = [point(1, 5), point(2, 4), point(3, 3), point(2, 4.5), point(3, 2.5)];
  const store = await storeOf(made.map((one, at) => pointRow(at, one)));
  expect(await curveBy(store, Infinity, 2)).toEqual([point(1, 5), point(2, 4.5)]);
  expect(await curveBy(store, 2, 9)).toEqual([point(1, 5), point(2, 4), point(3, 3)]);
  expect(await curveBy(store, 1, 9, [point(0, 6), point(1, 9)] as StepPoint[])).toEqual([point(0, 6), point(1, 5), point(2, 4)]);
  expect(await curveBy(store, -1, 9)).toEqual([]);
  await store.close();
});

it('the curve of a run that is longer than a page begins where the run began', async () => {
  const store = await storeOf(Array.from({ length: 12_000 }, (_, step) => pointRow(step, { step, validationLoss: null })));
  const steps = (await curveBy(store, Infinity, 12_000)).map(({ step }) => step);
  expect([steps[0], steps.at(-1)]).toEqual([0, 11_999]);
  expect(steps.length).toBeLessThan(5_000);
  await store.close();
});
