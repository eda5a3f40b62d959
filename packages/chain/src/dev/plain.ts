/** Values with bigints as JSON and back: 12n is `{ "bigint": "12" }`. */
import { SwarmError } from '@starling/protocol';

export type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

export function toPlain(value: unknown): Plain {
  if (typeof value === 'bigint') return { bigint: String(value) };
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value === 'object' && value !== null) return mapped(value, toPlain);
  return value as Plain;
}

/** The chain's numbers have 128 bits at most. Of a quarter of a million digits `BigInt` would hold the thread for 40 ms. */
const DIGITS = /^-?\d{1,39}$/;

/** Throws `BAD_MESSAGE` when a bigint is none of 1 to 39 decimal digits. */
export function fromPlain<T>(plain: unknown): T {
  return read(plain) as T;
}

function read(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(read);
  if (typeof value !== 'object' || value === null) return value;
  if (!('bigint' in value)) return mapped(value, read);
  const { bigint } = value;
  if (typeof bigint !== 'string' || !DIGITS.test(bigint)) throw new SwarmError('BAD_MESSAGE', 'A bigint has 1 to 39 decimal digits.');
  return BigInt(bigint);
}

function mapped<T>(value: object, change: (one: unknown) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, change(one)]));
}
