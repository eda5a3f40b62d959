import type { RunEvent } from '@starling/protocol';
import { expect, test } from 'vitest';
import { linesOf } from './log-lines.ts';

const merge = (step: number, time: number): RunEvent => ({
  time,
  entry: 10 * step,
  level: 'info',
  code: 'STEP_MERGED',
  message: `Step ${step} made version ${step + 1}`,
  merged: { step, microbatches: 4, tookMs: 100 + step },
});
const joined: RunEvent = { time: 450, level: 'info', code: 'MINER_JOINED', message: 'A miner joined.' };
const texts = (events: readonly RunEvent[]) => linesOf(events).map(({ text }) => text);

test('ten merges a second are a line, which ends where something else happens and with its ten seconds', () => {
  const quick = Array.from({ length: 200 }, (_, step) => merge(step, 100 * step));
  const lines = linesOf([...quick.slice(0, 5), joined, ...quick.slice(5)]);
  expect(lines.map(({ text }) => /^Steps (\d+–\d+) made versions (\d+–\d+): (\d+) microbatches/.exec(text)?.slice(1) ?? text)).toEqual([
    ['100–199', '101–200', '400'],
    ['5–99', '6–100', '380'],
    joined.message,
    ['0–4', '1–5', '20'],
  ]);
  expect(lines[0]!.text, 'the slowest of them').toMatch(/merged in 0\.3 s at most\.$/);
  expect(lines[0]!.event, 'it leads to the newest').toEqual(quick.at(-1));
});

test('a line that grows is another one, and the others stay the same', () => {
  const quick = Array.from({ length: 6 }, (_, step) => merge(step, 3_000 * Math.floor(step / 3) + 100 * step));
  const keys = (events: readonly RunEvent[]) => linesOf(events).map(({ key }) => key);
  const [before, after] = [keys(quick.slice(0, 5)), keys(quick)];
  expect(after.slice(1)).toEqual(before.slice(1));
  expect(after[0]).not.toBe(before[0]);
});

test('a line tells what was uploaded and sent for all of its steps; nothing where nobody counted', () => {
  const counted = [2, 3].map((step) => {
    const { merged, ...event } = merge(step, 100 * step);
    return { ...event, merged: { ...merged!, bytes: { uploaded: 10 * step, sent: step } } };
  });
  expect(linesOf([merge(1, 100), ...counted])[0]!.bytes).toEqual({ uploaded: 50, sent: 5 });
  expect(linesOf([merge(1, 100)])[0]!.bytes).toBeNull();
});

test('slow merges, steps that are made again, and merges of an older release have a line each', () => {
  const slow = [merge(0, 0), merge(1, 1_000), merge(2, 2_500)];
  expect(texts(slow)).toEqual(slow.map(({ message }) => message).reverse());
  const again = [merge(7, 0), merge(5, 10)];
  expect(texts(again)).toHaveLength(2);
  const old = [merge(0, 0), merge(1, 10)].map(({ merged: _, ...event }) => event);
  expect(texts(old)).toHaveLength(2);
});
