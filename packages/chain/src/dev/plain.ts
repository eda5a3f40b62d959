/** Values with bigints as JSON and back: 12n is `{ "bigint": "12" }`. */
export type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

export function toPlain(value: unknown): Plain {
  if (typeof value === 'bigint') return { bigint: String(value) };
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value === 'object' && value !== null) return mapped(value, toPlain);
  return value as Plain;
}

export function fromPlain<T>(plain: unknown): T {
  return read(plain) as T;
}

function read(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(read);
  if (typeof value !== 'object' || value === null) return value;
  return 'bigint' in value ? BigInt(value.bigint as string) : mapped(value, read);
}

function mapped<T>(value: object, change: (one: unknown) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, change(one)]));
}
