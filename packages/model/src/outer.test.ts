import { expect, it } from 'vitest';
import { applyOuter, DILOCO, SPARSE_LOCO } from './outer.ts';

const vector = (...numbers: number[]) => Float32Array.from(numbers);

it('a plain outer step of one miner is where the miner came to', () => {
  const start = vector(1, -2, 0.5, 0);
  const end = vector(0.75, -2.5, 0.5, 8);
  applyOuter(
    start,
    null,
    start.map((value, i) => value - end[i]!),
    SPARSE_LOCO,
  );
  expect(start).toEqual(end);
});

it("Nesterov's momentum, against the recurrence written out for three steps", () => {
  const parameters = vector(0);
  const momentum = vector(0);
  for (let step = 0; step < 3; step++) applyOuter(parameters, momentum, vector(1), DILOCO);
  // b = 1, 1.9, 2.71; Δ + μ·b = 1.9, 2.71, 3.439
  expect(momentum[0]).toBeCloseTo(2.71, 6);
  expect(parameters[0]).toBeCloseTo(-0.7 * (1.9 + 2.71 + 3.439), 5);
});

it('without a change the momentum goes on, and fades', () => {
  const parameters = vector(0);
  const momentum = vector(1);
  const steps: number[] = [];
  for (let step = 0; step < 3; step++) {
    const before = parameters[0]!;
    applyOuter(parameters, momentum, vector(0), DILOCO);
    steps.push(before - parameters[0]!);
  }
  expect(steps[0]).toBeCloseTo(0.7 * 0.81, 6);
  expect(steps[1]! / steps[0]!).toBeCloseTo(0.9, 5);
  expect(steps[2]! / steps[1]!).toBeCloseTo(0.9, 5);
});
