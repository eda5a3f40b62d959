import { expect, it } from 'vitest';
import { call, i32, Module, v128 } from './assembler.ts';
import { defineExp } from './exp.ts';

const COUNT = 4096;

/** e^x of each number, by the program. */
function exponentials(numbers: Float32Array): Float32Array {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new Module();
  const exp = defineExp(module);
  module.define('all', ['i32'], null, (body, count) => {
    body.loop(i32.const(0), count, 16, (at) => body.store(at, call(exp, v128.load(at))));
  });
  const values = new Float32Array(memory.buffer, 0, numbers.length);
  values.set(numbers);
  (module.instantiate(memory).all as (bytes: number) => void)(4 * numbers.length);
  return values;
}

it('is e^x to two units in the last place, where that is a normal number', () => {
  const numbers = Float32Array.from({ length: COUNT }, (_, i) => -87 + (175 * i) / COUNT);
  exponentials(numbers).forEach((value, i) => {
    expect(Math.abs(value / Math.exp(numbers[i]!) - 1), `e^${numbers[i]}`).toBeLessThan(2 ** -22);
  });
});

it('is 0 below, finite above, and 1 at 0', () => {
  expect([...exponentials(Float32Array.of(-88, -1e30, Number.NEGATIVE_INFINITY, 0))]).toEqual([0, 0, 0, 1]);
  for (const value of exponentials(Float32Array.of(88.37, 100, 1e30, Number.POSITIVE_INFINITY))) expect(Number.isFinite(value)).toBe(true);
});
