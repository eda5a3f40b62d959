/** Numbers as halves (IEEE-754 binary16) on the host, by the rule that every backend rounds operands by. */
import { fromHalf, toHalf } from '@starling/protocol';
import { LARGEST_HALF } from './kernels.ts';

const NAN = 0x7e00;
/** What is not smaller is no number, or nearly none, and becomes NaN: so it is wherever numbers are written small. */
export const NO_NUMBER = 2 ** 127;

/** The bits of the half nearest to a float32, ties to even; of what is larger than `LARGEST_HALF`, of that. */
export function nearestHalf(x: number): number {
  if (!(Math.abs(x) < NO_NUMBER)) return NAN;
  return toHalf(Math.max(-LARGEST_HALF, Math.min(LARGEST_HALF, x)));
}

export function asHalves(numbers: Float32Array): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) halves[i] = nearestHalf(numbers[i]!);
  return halves;
}

export function fromHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  return Float32Array.from(halves, fromHalf);
}
