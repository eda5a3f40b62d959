import { expect, test } from 'vitest';
import { rowPrograms } from './rows.ts';

test.each([false, true])('programs work on a memory, shared between threads: %s', (shared) => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536, shared });
  const numbers = new Float32Array(memory.buffer);
  numbers.set([1, 2, 3, 4, 5, 6]);
  rowPrograms(memory, 'f32').transpose(0, 64, 2, 3);
  expect([...numbers.subarray(16, 22)]).toEqual([1, 4, 2, 5, 3, 6]);
});
