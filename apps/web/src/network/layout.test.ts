import type { MinerView, RunSnapshot } from '@starling/protocol';
import { expect, test } from 'vitest';
import { layOut, under } from './layout.ts';

const run = (...counts: number[]) =>
  ({
    stages: counts.map((count, index) => ({
      ...{ index, phase: 'training', version: 3, done: 1, total: 4 },
      miners: Array.from(
        { length: count },
        (_, i) =>
          ({ id: `${index}-${i}`, name: '', tokensPerSecond: i, connected: true, activity: 'forward', bannedUntil: null }) as MinerView,
      ),
    })),
  }) as unknown as Pick<RunSnapshot, 'stages'>;

test('every miner has a place of its own inside its column, with one or with hundreds of them', () => {
  for (const counts of [[1], [2, 3, 1], [170, 165, 165], [500], [0, 4]]) {
    const [width, height] = [900, 320];
    const columns = layOut(run(...counts), width, height, 0);
    expect(columns.map(({ dots }) => dots.length)).toEqual(counts);
    for (const { x, reach, dots } of columns) {
      for (const [i, dot] of dots.entries()) {
        expect(Math.abs(dot.x - x) + dot.radius).toBeLessThanOrEqual(reach);
        expect(dot.y - dot.radius).toBeGreaterThanOrEqual(0);
        expect(dot.y + dot.radius).toBeLessThanOrEqual(height);
        for (const other of dots.slice(0, i))
          expect(Math.hypot(other.x - dot.x, other.y - dot.y)).toBeGreaterThan(other.radius + dot.radius - 1e-9);
      }
    }
  }
});

test('the faster, the larger; what is under a point is found', () => {
  const columns = layOut(run(3, 2), 600, 300, 0);
  const [slow, , fast] = columns[0]!.dots;
  expect(fast!.radius).toBeGreaterThan(slow!.radius);
  expect(under(columns, fast!.x + 1, fast!.y)).toEqual({ dot: fast });
  expect(under(columns, columns[1]!.x, 10)).toEqual({ stage: 1 });
  expect(under(columns, columns[1]!.x, 299), 'a column is its stage from top to bottom').toEqual({ stage: 1 });
  expect(under(columns, 700, 150)).toBeNull();
});

test('a finger means the nearest of the miners that it may mean', () => {
  const columns = layOut(run(400), 300, 300, 0);
  for (const dot of columns[0]!.dots) expect(under(columns, dot.x + 1, dot.y - 1, 16)).toEqual({ dot });
});

test('miners have their names beside them where there is room for those, in one line or several', () => {
  const [two, crowd] = layOut(run(2, 60), 1160, 250, 0);
  expect([two!.named, crowd!.named]).toEqual([true, false]);
  const [left, right] = two!.dots;
  expect(right!.y).toBe(left!.y);
  expect(right!.x - right!.radius - (left!.x + left!.radius), 'a name from a dot to the next').toBeGreaterThan(84);
  expect(layOut(run(1), 180, 250, 0)[0]!.named).toBe(false);
});
