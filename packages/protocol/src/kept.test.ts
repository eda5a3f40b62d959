import { expect, test } from 'vitest';
import { EVENTS_KEPT, newestEvents, POINTS_KEPT, thinned, thinning } from './kept.ts';

const event = (code: string, level: 'info' | 'warning' = 'info') => ({ code, level });

test('a merge at every step pushes nobody’s joining and no warning out, and of each kind the newest stay', () => {
  const rare = [event('MINER_JOINED'), event('MINER_BANNED', 'warning')];
  const merges = Array.from({ length: 4 * EVENTS_KEPT }, (_, step) => ({ ...event('STEP_MERGED'), step }));
  expect(newestEvents([...rare, ...merges])).toEqual([...rare, ...merges.slice(-EVENTS_KEPT)]);
  expect(newestEvents(rare)).toEqual(rare);
});

const pointsTo = (steps: number) => Array.from({ length: steps }, (_, i) => point(i + 1));
const point = (step: number) => ({ step, validationLoss: step % 97 === 1 ? 1 : null });

test('of a run of any length the beginning, the whole course and every newest step are there', () => {
  for (const steps of [1, POINTS_KEPT, POINTS_KEPT + 1, 12_345, 400_000]) {
    const kept = thinned(pointsTo(steps)).map(({ step }) => step);
    expect(kept.length, `${steps}`).toBeLessThanOrEqual(POINTS_KEPT);
    expect(kept.length, `${steps}`).toBeGreaterThanOrEqual(Math.min(steps, POINTS_KEPT / 2));
    expect([kept[0], kept.at(-1)]).toEqual([1, steps]);
    expect(kept.slice(-1_000)).toEqual(
      pointsTo(steps)
        .slice(-1_000)
        .map(({ step }) => step),
    );
    const { every = 1 } = thinning(1, steps) ?? {};
    for (const [i, step] of kept.entries()) if (i > 0) expect(step - kept[i - 1]!).toBeLessThan(2 * every + 1);
  }
});

test('whoever thins as points come has what thinning all of them gives, and validations stay', () => {
  let kept: { step: number; validationLoss: number | null }[] = [];
  for (let step = 1; step <= 2 * POINTS_KEPT; step++) kept = thinned([...kept, point(step)]);
  expect(kept).toEqual(thinned(pointsTo(2 * POINTS_KEPT)));
  const validated = (points: typeof kept) => points.filter(({ validationLoss }) => validationLoss !== null);
  expect(validated(kept)).toEqual(validated(pointsTo(2 * POINTS_KEPT)));
});
