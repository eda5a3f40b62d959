/**
 * WebAssembly modules of our own, written as TypeScript: expressions are their own machine code, and what is known when a program is made
 * (sizes, unrolling, padding) is ordinary control flow. Binary format: webassembly.github.io/spec/core/binary, with 128-bit SIMD.
 */

export type Type = 'i32' | 'f32' | 'v128';

const TYPES: Record<Type, number> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };
const VOID = 0x40;

/** Code that leaves one value of a type. */
export interface Expression<T extends Type = Type> {
  readonly type: T;
  readonly code: readonly number[];
}
export type I32 = Expression<'i32'>;
export type F32 = Expression<'f32'>;
/** Four float32 numbers, where nothing else is said. */
export type V128 = Expression<'v128'>;

const made = <T extends Type>(type: T, ...parts: (readonly number[] | number)[]): Expression<T> => ({ type, code: parts.flat() });

/** LEB128, signed. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; ) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && byte < 0x40) || (rest === -1 && byte >= 0x40)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

/** LEB128, unsigned. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(Math.floor(value / 0x80))];
}

const floatBytes = (value: number) => [...new Uint8Array(Float32Array.of(value).buffer)];
const simd = (opcode: number) => [0xfd, ...unsigned(opcode)];

const binary =
  <A extends Type, R extends Type = A>(result: R, opcode: readonly number[]) =>
  (a: Expression<A>, b: Expression<A>): Expression<R> =>
    made(result, a.code, b.code, opcode);
const unary =
  <A extends Type, R extends Type = A>(result: R, opcode: readonly number[]) =>
  (a: Expression<A>): Expression<R> =>
    made(result, a.code, opcode);

export const i32 = {
  const: (value: number): I32 => made('i32', 0x41, signed(value)),
  add: binary('i32', [0x6a]),
  sub: binary('i32', [0x6b]),
  mul: binary('i32', [0x6c]),
  and: binary('i32', [0x71]),
  lessThan: binary<'i32'>('i32', [0x48]),
  load: (address: I32, offset = 0): I32 => made('i32', address.code, 0x28, 2, unsigned(offset)),
};

export const f32 = {
  const: (value: number): F32 => made('f32', 0x43, floatBytes(value)),
  add: binary('f32', [0x92]),
  sub: binary('f32', [0x93]),
  mul: binary('f32', [0x94]),
  div: binary('f32', [0x95]),
  max: binary('f32', [0x97]),
  sqrt: unary('f32', [0x91]),
  fromInt: unary<'i32', 'f32'>('f32', [0xb2]),
  load: (address: I32, offset = 0): F32 => made('f32', address.code, 0x2a, 2, unsigned(offset)),
};

export const v128 = {
  load: (address: I32, offset = 0): V128 => made('v128', address.code, simd(0x00), 2, unsigned(offset)),
  /** One float32 in all four places. */
  loadSplat: (address: I32, offset = 0): V128 => made('v128', address.code, simd(0x09), 2, unsigned(offset)),
  const: (value: number): V128 => made('v128', simd(0x0c), Array(4).fill(floatBytes(value)).flat()),
  constInt: (value: number): V128 =>
    made(
      'v128',
      simd(0x0c),
      Array(4)
        .fill([...new Uint8Array(Int32Array.of(value).buffer)])
        .flat(),
    ),
  splat: unary<'f32', 'v128'>('v128', simd(0x13)),
  lane: (a: V128, lane: number): F32 => made('f32', a.code, simd(0x1f), lane),
  add: binary('v128', simd(0xe4)),
  sub: binary('v128', simd(0xe5)),
  mul: binary('v128', simd(0xe6)),
  div: binary('v128', simd(0xe7)),
  min: binary('v128', simd(0xe8)),
  max: binary('v128', simd(0xe9)),
  nearest: unary('v128', simd(0x6a)),
  magnitude: unary('v128', simd(0xe0)),
  and: binary('v128', simd(0x4e)),
  or: binary('v128', simd(0x50)),
  /** The bits of a that are set in the mask, and of b that are not. */
  select: (a: V128, b: V128, mask: V128): V128 => made('v128', a.code, b.code, mask.code, simd(0x52)),
  greaterOrEqual: binary('v128', simd(0x46)),
  /** To 32-bit integers. */
  truncate: unary('v128', simd(0xf8)),
  addInt: binary('v128', simd(0xae)),
  shiftLeftInt: (a: V128, bits: number): V128 => made('v128', a.code, 0x41, signed(bits), simd(0xab)),
  /** Places 0 to 3 of a, 4 to 7 of b. */
  shuffle: (a: V128, b: V128, places: readonly [number, number, number, number]): V128 =>
    made(
      'v128',
      a.code,
      b.code,
      simd(0x0d),
      places.flatMap((place) => [0, 1, 2, 3].map((byte) => 4 * place + byte)),
    ),
  /** The sum of the four, always in the same order. */
  sum: (a: Local<'v128'>): F32 =>
    f32.add(f32.add(v128.lane(a.value, 0), v128.lane(a.value, 2)), f32.add(v128.lane(a.value, 1), v128.lane(a.value, 3))),
  largest: (a: Local<'v128'>): F32 =>
    f32.max(f32.max(v128.lane(a.value, 0), v128.lane(a.value, 2)), f32.max(v128.lane(a.value, 1), v128.lane(a.value, 3))),
};

export interface Local<T extends Type> {
  readonly value: Expression<T>;
  set(to: Expression<T>): void;
}

/** A function's body while it is written. */
export class Body {
  readonly code: number[] = [];
  readonly locals: Type[] = [];
  private readonly parameters: number;

  constructor(parameters: number) {
    this.parameters = parameters;
  }

  /** A variable, set at once where `to` is given. */
  local<T extends Type>(type: T, to?: Expression<T>): Local<T> {
    const index = this.parameters + this.locals.length;
    this.locals.push(type);
    const local: Local<T> = {
      value: made(type, 0x20, unsigned(index)),
      set: (value) => {
        this.code.push(...value.code, 0x21, ...unsigned(index));
      },
    };
    if (to) local.set(to);
    return local;
  }

  /** For `from`, `from + step`, … while below `to`. */
  loop(from: I32, to: I32, step: number, turn: (at: I32) => void): void {
    const at = this.local('i32', from);
    this.code.push(0x02, VOID, 0x03, VOID);
    this.code.push(...i32.lessThan(at.value, to).code, 0x45, 0x0d, 1); // leave when not below
    turn(at.value);
    at.set(i32.add(at.value, i32.const(step)));
    this.code.push(0x0c, 0, 0x0b, 0x0b);
  }

  when(condition: I32, then: () => void): void {
    this.code.push(...condition.code, 0x04, VOID);
    then();
    this.code.push(0x0b);
  }

  /** A routine without a result. */
  call(routine: Routine<null>, ...args: readonly Expression[]): void {
    this.code.push(...args.flatMap(({ code }) => code), 0x10, ...unsigned(routine.index));
  }

  storeF32(address: I32, value: F32, offset = 0): void {
    this.code.push(...address.code, ...value.code, 0x38, 2, ...unsigned(offset));
  }

  store(address: I32, value: V128, offset = 0): void {
    this.code.push(...address.code, ...value.code, ...simd(0x0b), 2, ...unsigned(offset));
  }
}

export interface Routine<R extends Type | null> {
  index: number;
  parameters: readonly Type[];
  result: R;
}

interface Defined {
  name: string | null;
  parameters: readonly Type[];
  result: Type | null;
  body: Body;
}

/** A memory that threads share must say how large it may grow, and whoever imports it, at least as much: here all that 32 bits reach. */
const MOST_PAGES = 65_536;

const isShared = ({ buffer }: WebAssembly.Memory) =>
  typeof SharedArrayBuffer !== 'undefined' && (buffer as ArrayBufferLike) instanceof SharedArrayBuffer;

/** Functions over a memory that somebody else owns. */
export class Module {
  private readonly functions: Defined[] = [];

  /** `write` is given the parameters; a function with a result returns it. `name`: exported. */
  define<const P extends readonly Type[], R extends Type | null = null>(
    name: string | null,
    parameters: P,
    result: R,
    write: (body: Body, ...parameters: { [K in keyof P]: Expression<P[K]> }) => R extends Type ? Expression<R> : void,
  ): Routine<R> {
    const body = new Body(parameters.length);
    const given = parameters.map((type, i) => made(type, 0x20, unsigned(i))) as { [K in keyof P]: Expression<P[K]> };
    const returned = write(body, ...given);
    if (returned) body.code.push(...(returned as Expression).code);
    this.functions.push({ name, parameters, result, body });
    return { index: this.functions.length - 1, parameters, result };
  }

  /** Throws what the engine finds wrong. */
  instantiate(memory: WebAssembly.Memory): WebAssembly.Exports {
    return new WebAssembly.Instance(new WebAssembly.Module(this.bytes(isShared(memory))), { env: { memory } }).exports;
  }

  private bytes(shared: boolean): Uint8Array<ArrayBuffer> {
    const section = (id: number, content: readonly number[]) => [id, ...unsigned(content.length), ...content];
    const list = (items: readonly (readonly number[])[]) => [...unsigned(items.length), ...items.flat()];
    const text = (value: string) => list([...new TextEncoder().encode(value)].map((byte) => [byte]));
    const types = this.functions.map(({ parameters, result }) => [
      0x60,
      ...list(parameters.map((type) => [TYPES[type]])),
      ...list(result ? [[TYPES[result]]] : []),
    ]);
    const named = this.functions.flatMap(({ name }, i) => (name === null ? [] : [[...text(name), 0, ...unsigned(i)]]));
    const bodies = this.functions.map(({ body }) => {
      const code = [...list(body.locals.map((type) => [1, TYPES[type]])), ...body.code, 0x0b];
      return [...unsigned(code.length), ...code];
    });
    return Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      ...section(1, list(types)),
      ...section(2, list([[...text('env'), ...text('memory'), 0x02, ...(shared ? [0x03, 0x00, ...unsigned(MOST_PAGES)] : [0x00, 0x00])]])),
      ...section(3, list(types.map((_, i) => unsigned(i)))),
      ...section(7, list(named)),
      ...section(10, list(bodies)),
    ]);
  }
}

export const call = <R extends Type>({ index, result }: Routine<R>, ...args: readonly Expression[]): Expression<R> =>
  made(result, ...args.map(({ code }) => code), 0x10, unsigned(index));
