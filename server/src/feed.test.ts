import { type RunEvent, type RunSnapshot, type StepPoint, withDelta } from '@starling/protocol';
import { expect, test } from 'vitest';
import { Feed } from './feed.ts';
import type { RunView } from './view.ts';

/** As much of a view as a feed looks at. */
function viewOf() {
  const points: StepPoint[] = [];
  const events: RunEvent[] = [];
  const appended = { points: 0, events: 0 };
  let run = { step: 0, stages: [] as unknown[] } as RunSnapshot;
  return {
    view: { points, events, appended, snapshot: () => run, takeMoves: () => [] } as unknown as RunView,
    step: (step: number) => {
      run = { ...run, step };
      points.push({ step } as StepPoint);
      appended.points += 1;
    },
  };
}

test('updates follow from a snapshot, one from the other, and nothing new is nothing', () => {
  const { view, step } = viewOf();
  const feed = new Feed(view, 0);
  step(1);
  expect(feed.snapshot()).toMatchObject({ sequence: 0, run: { step: 0 }, points: [] });
  expect(feed.next(0)).toEqual({ sequence: 1, run: { step: 1 }, points: [{ step: 1 }] });
  expect(feed.next(0)).toBeNull();
  expect(feed.snapshot()).toMatchObject({ sequence: 1, run: { step: 1 }, points: [{ step: 1 }] });
});

test('who was away gets what it missed, and a snapshot where that is too much, or of another process', () => {
  const { view, step } = viewOf();
  const feed = new Feed(view, 0);
  const { feed: name, run } = feed.snapshot();
  for (let i = 1; i <= 300; i++) {
    step(i);
    feed.next(0);
  }
  expect(feed.since({ feed: name, sequence: 300 })).toEqual([]);
  const missed = feed.since({ feed: name, sequence: 290 })!;
  expect(missed.map(({ sequence }) => sequence)).toEqual([291, 292, 293, 294, 295, 296, 297, 298, 299, 300]);
  expect(missed.reduce(withDelta, run).step).toBe(300);
  expect([feed.since({ feed: name, sequence: 10 }), feed.since({ feed: 'other', sequence: 300 }), feed.since({})]).toEqual([
    null,
    null,
    null,
  ]);
  expect(feed.since({ feed: name, sequence: 301 })).toBeNull();
});

test('of a large swarm a few miners are told at a time, in turn, and all of them in the end', () => {
  const miners = Array.from({ length: 200 }, (_, i) => ({ id: `m-${i}`, tokens: 0 }));
  const run = (tokens: number) =>
    ({ step: 0, stages: [{ index: 0, miners: miners.map((miner) => ({ ...miner, tokens })) }] }) as unknown as RunSnapshot;
  let now = run(0);
  const view = {
    points: [],
    events: [],
    appended: { points: 0, events: 0 },
    snapshot: () => now,
    takeMoves: () => [],
  } as unknown as RunView;
  const feed = new Feed(view, 0);
  let shown = feed.snapshot().run;
  now = run(1);
  for (let i = 0; i < 4; i++) {
    const update = feed.next(0)!;
    expect(update.miners!.length).toBeLessThanOrEqual(60);
    shown = withDelta(shown, update);
  }
  expect(shown).toEqual(now);
  expect(feed.next(0)).toBeNull();
});
