import {
  EVENTS_KEPT,
  POINTS_KEPT,
  type RunEvent,
  type RunSnapshot,
  type StepPoint,
  type WatchSnapshot,
  type WatchUpdate,
} from '@starling/protocol';
import { expect, test } from 'vitest';
import { applySnapshot, applyUpdate, initialLive, withConnection } from './live-state.ts';

const run = (step: number) => ({ step, stages: [] as unknown[] }) as RunSnapshot;
const point = (step: number) => ({ step, validationLoss: null as number | null }) as StepPoint;
const event = (time: number) => ({ time, level: 'info', code: 'MINER_JOINED' }) as RunEvent;
const message = (sequence: number, steps: number[] = [], times: number[] = []): WatchSnapshot => ({
  feed: 'f',
  sequence,
  run: run(sequence),
  points: steps.map(point),
  events: times.map(event),
});
const update = (sequence: number, steps: number[] = [], times: number[] = []): WatchUpdate => ({
  sequence,
  run: { step: sequence },
  ...(steps.length > 0 && { points: steps.map(point) }),
  ...(times.length > 0 && { events: times.map(event) }),
});

test('a snapshot replaces everything and opens the connection', () => {
  const before = applySnapshot(initialLive(0), message(9, [1, 2], [1]), 5);
  const lost = withConnection(before, 'lost', 8);
  const after = applySnapshot(lost, message(3, [7], [4]), 12);
  expect(after).toEqual({ connection: 'open', since: 12, feed: 'f', sequence: 3, run: run(3), points: [point(7)], events: [event(4)] });
});

test('the next update appends points and events and replaces the run', () => {
  const live = applySnapshot(initialLive(0), message(4, [1], [1]), 0);
  const next = applyUpdate(live, update(5, [2, 3], [2]), 0);
  expect(next).toMatchObject({ sequence: 5, run: run(5), points: [1, 2, 3].map(point), events: [1, 2].map(event) });
});

test('an update without new points keeps the very same array', () => {
  const live = applySnapshot(initialLive(0), message(4, [1], [1]), 0);
  const next = applyUpdate(live, update(5), 0);
  expect(next?.points).toBe(live.points);
  expect(next?.events).toBe(live.events);
});

test('a gap, a repetition and an update before any snapshot are refused', () => {
  const live = applySnapshot(initialLive(0), message(4), 0);
  expect(applyUpdate(live, update(6), 0)).toBeNull();
  expect(applyUpdate(live, update(4), 0)).toBeNull();
  expect(applyUpdate(initialLive(0), update(1), 0)).toBeNull();
});

test('a long run keeps its beginning, and what happened seldom', () => {
  const many = Array.from({ length: POINTS_KEPT }, (_, i) => i);
  const live = applySnapshot(initialLive(0), message(0, many, [0]), 0);
  const merges = Array.from({ length: 2 * EVENTS_KEPT }, (_, time) => ({ time, level: 'info', code: 'STEP_MERGED' }) as RunEvent);
  const next = applyUpdate(live, { ...update(1, [POINTS_KEPT]), events: merges }, 0)!;
  expect(next.points.length).toBeLessThan(POINTS_KEPT);
  expect([next.points[0], next.points.at(-1)]).toEqual([point(0), point(POINTS_KEPT)]);
  expect(next.events).toEqual([event(0), ...merges.slice(-EVENTS_KEPT)]);
});

test('`since` tells when the connection changed, not when it was last confirmed', () => {
  const lost = withConnection(initialLive(0), 'lost', 10);
  expect(withConnection(lost, 'lost', 20)).toBe(lost);
  expect(lost.since).toBe(10);
});
