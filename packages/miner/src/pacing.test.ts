import { expect, test } from 'vitest';
import { LEAST_INTENSITY, LONGEST_REST_MS, restAfter } from './pacing.ts';

test('a rest makes the share that was asked for', () => {
  for (const intensity of [LEAST_INTENSITY, 0.5, 0.95]) {
    const { ms, message } = restAfter(100, intensity)!;
    expect(100 / (100 + ms)).toBeCloseTo(intensity, 12);
    expect(message).toBe(`Rests after a microbatch: it is to compute ${Math.round(100 * intensity)} % of the time.`);
  }
  expect(restAfter(100, 1)).toBeNull();
});

test('where the longest rest is too short for that, the share that comes of it is told', () => {
  expect(restAfter(2_000, 0.1)).toEqual({
    ms: LONGEST_REST_MS,
    message: 'Rests for 10 s, the longest there is: it is to compute 10 % of the time, but a microbatch took 2.0 s, which makes it 17 %.',
  });
});
