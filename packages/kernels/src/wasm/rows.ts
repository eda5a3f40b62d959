/** What is done to every row or number by itself: norms, SwiGLU, cross entropy, transposition. One pass over memory each, sums in a fixed order. */
import { NORM_EPSILON, type Precision } from '../kernels.ts';
import { type Body, call, type F32, f32, type I32, i32, Module, type V128, v128 } from './assembler.ts';
import { defineExp } from './exp.ts';
import { halfOf } from './half.ts';

const FLOAT = 4;

/** Addresses are bytes; `rows`, `width` and `count` are numbers of float32. Tensors are as in `Kernels`. */
export interface RowPrograms {
  rmsNorm(x: number, gain: number, y: number, inverse: number, rows: number, width: number): void;
  rmsNormBackward(x: number, gain: number, inverse: number, dy: number, dx: number, dgain: number, rows: number, width: number): void;
  swiglu(gate: number, up: number, y: number, count: number): void;
  swigluBackward(gate: number, up: number, dy: number, dgate: number, dup: number, count: number): void;
  /** `sums` gets two numbers a row: Σ exp(logit − largest), and the target's logit − largest. */
  crossEntropy(logits: number, targets: number, dlogits: number, sums: number, rows: number, vocabulary: number): void;
  transpose(from: number, to: number, rows: number, columns: number): void;
  /** The nearest half of each number, as float32. */
  half(from: number, to: number, count: number): void;
}

const bytes = (count: I32) => i32.mul(count, i32.const(FLOAT));

/** The same arithmetic on four numbers and on one. */
interface Lanes<T extends V128 | F32> {
  load(address: I32): T;
  store(address: I32, value: T): void;
  constant(value: number): T;
  /** One number for all lanes. */
  of(value: F32): T;
  add(a: T, b: T): T;
  sub(a: T, b: T): T;
  mul(a: T, b: T): T;
  div(a: T, b: T): T;
  exp(a: T): T;
  half(a: T): T;
}
type AnyLanes = Lanes<V128 | F32>;

export function rowPrograms(memory: WebAssembly.Memory, precision: Precision): RowPrograms {
  const module = new Module();
  const exp = defineExp(module);

  const fours = (body: Body) =>
    ({
      ...{ add: v128.add, sub: v128.sub, mul: v128.mul, div: v128.div, constant: v128.const, of: v128.splat },
      load: (address: I32) => v128.load(address),
      store: (address: I32, value: V128) => body.store(address, value),
      exp: (value: V128) => call(exp, value),
      half: (value: V128) => halfOf(body, value),
    }) satisfies Lanes<V128> as unknown as AnyLanes;
  const ones = (body: Body) =>
    ({
      ...{ add: f32.add, sub: f32.sub, mul: f32.mul, div: f32.div, constant: f32.const, of: (value: F32) => value },
      load: (address: I32) => f32.load(address),
      store: (address: I32, value: F32) => body.storeF32(address, value),
      exp: (value: F32) => v128.lane(call(exp, v128.splat(value)), 0),
      half: (value: F32) => v128.lane(halfOf(body, v128.splat(value)), 0),
    }) satisfies Lanes<F32> as unknown as AnyLanes;

  /** A number of what SwiGLU is of. */
  const operand = (lanes: AnyLanes, address: I32) => {
    const value = lanes.load(address);
    return precision === 'f16' ? lanes.half(value) : value;
  };

  /** `turn` for the byte offsets of `count` numbers, four at a time and then one at a time. */
  const eachNumber = (body: Body, count: I32, turn: (lanes: AnyLanes, offset: I32) => void) => {
    const whole = body.local('i32', bytes(i32.and(count, i32.const(-4))));
    body.loop(i32.const(0), whole.value, 4 * FLOAT, (offset) => turn(fours(body), offset));
    body.loop(whole.value, bytes(count), FLOAT, (offset) => turn(ones(body), offset));
  };

  /** Σ of what `term` gives for each number of a row: four sums side by side, and one of what is left. */
  const sumOf = (body: Body, count: I32, term: (lanes: AnyLanes, offset: I32) => V128 | F32): F32 => {
    const side = body.local('v128', v128.const(0));
    const rest = body.local('f32', f32.const(0));
    eachNumber(body, count, (lanes, offset) => {
      const value = term(lanes, offset);
      if (value.type === 'v128') side.set(v128.add(side.value, value as V128));
      else rest.set(f32.add(rest.value, value as F32));
    });
    return f32.add(v128.sum(side), rest.value);
  };

  const eachRow = (body: Body, rows: I32, width: I32, turn: (row: I32, offset: I32) => void) =>
    body.loop(i32.const(0), rows, 1, (row) => turn(row, body.local('i32', bytes(i32.mul(row, width))).value));

  module.define('rmsNorm', Array<'i32'>(6).fill('i32'), null, (body, ...parameters) => {
    const [x, gain, y, inverse, rows, width] = parameters as I32[] & { length: 6 };
    const size = body.local('f32', f32.fromInt(width!));
    eachRow(body, rows!, width!, (row, at) => {
      const from = body.local('i32', i32.add(x!, at));
      const to = body.local('i32', i32.add(y!, at));
      const squares = sumOf(body, width!, (lanes, offset) => {
        const value = body.local(lanes.constant(0).type, lanes.load(i32.add(from.value, offset)));
        return lanes.mul(value.value as V128, value.value as V128);
      });
      const root = f32.sqrt(f32.add(f32.div(squares, size.value), f32.const(NORM_EPSILON)));
      const factor = body.local('f32', f32.div(f32.const(1), root));
      body.storeF32(i32.add(inverse!, bytes(row)), factor.value);
      eachNumber(body, width!, (lanes, offset) => {
        const normalised = lanes.mul(lanes.load(i32.add(from.value, offset)), lanes.of(factor.value));
        lanes.store(i32.add(to.value, offset), lanes.mul(normalised, lanes.load(i32.add(gain!, offset))));
      });
    });
  });

  module.define('rmsNormBackward', Array<'i32'>(8).fill('i32'), null, (body, ...parameters) => {
    const [x, gain, inverse, dy, dx, dgain, rows, width] = parameters as I32[] & { length: 8 };
    const size = body.local('f32', f32.fromInt(width!));
    eachNumber(body, width!, (lanes, offset) => lanes.store(i32.add(dgain!, offset), lanes.constant(0)));
    eachRow(body, rows!, width!, (row, at) => {
      const [from, upstream, to] = [
        body.local('i32', i32.add(x!, at)),
        body.local('i32', i32.add(dy!, at)),
        body.local('i32', i32.add(dx!, at)),
      ];
      const factor = body.local('f32', f32.load(i32.add(inverse!, bytes(row))));
      // mean(x·g·dy)·r², so that dx = r·(g·dy − x·that).
      const along = sumOf(body, width!, (lanes, offset) =>
        lanes.mul(
          lanes.mul(lanes.load(i32.add(from.value, offset)), lanes.load(i32.add(gain!, offset))),
          lanes.load(i32.add(upstream.value, offset)),
        ),
      );
      const share = body.local('f32', f32.mul(f32.mul(f32.div(along, size.value), factor.value), factor.value));
      eachNumber(body, width!, (lanes, offset) => {
        const type = lanes.constant(0).type;
        const value = body.local(type, lanes.load(i32.add(from.value, offset)));
        const given = body.local(type, lanes.load(i32.add(upstream.value, offset)));
        const own = lanes.mul(given.value as V128, lanes.load(i32.add(gain!, offset)));
        const less = lanes.mul(value.value as V128, lanes.of(share.value));
        lanes.store(i32.add(to.value, offset), lanes.mul(lanes.sub(own, less), lanes.of(factor.value)));
        const gained = lanes.mul(given.value as V128, lanes.mul(value.value as V128, lanes.of(factor.value)));
        const place = body.local('i32', i32.add(dgain!, offset));
        lanes.store(place.value, lanes.add(lanes.load(place.value), gained));
      });
    });
  });

  module.define('swiglu', Array<'i32'>(4).fill('i32'), null, (body, ...parameters) => {
    const [gate, up, y, count] = parameters as I32[] & { length: 4 };
    eachNumber(body, count!, (lanes, offset) => {
      const value = body.local(lanes.constant(0).type, operand(lanes, i32.add(gate!, offset)));
      const grown = lanes.exp(lanes.sub(lanes.constant(0), value.value as V128));
      const silu = lanes.div(value.value as V128, lanes.add(lanes.constant(1), grown));
      lanes.store(i32.add(y!, offset), lanes.mul(silu, operand(lanes, i32.add(up!, offset))));
    });
  });

  module.define('swigluBackward', Array<'i32'>(6).fill('i32'), null, (body, ...parameters) => {
    const [gate, up, dy, dgate, dup, count] = parameters as I32[] & { length: 6 };
    eachNumber(body, count!, (lanes, offset) => {
      const type = lanes.constant(0).type;
      const value = body.local(type, operand(lanes, i32.add(gate!, offset)));
      const given = body.local(type, lanes.load(i32.add(dy!, offset)));
      const grown = lanes.exp(lanes.sub(lanes.constant(0), value.value as V128));
      const sigma = body.local(type, lanes.div(lanes.constant(1), lanes.add(lanes.constant(1), grown)));
      const silu = body.local(type, lanes.mul(value.value as V128, sigma.value as V128));
      // silu' = σ + silu·(1 − σ)
      const slope = lanes.add(sigma.value as V128, lanes.mul(silu.value as V128, lanes.sub(lanes.constant(1), sigma.value as V128)));
      const through = lanes.mul(given.value as V128, operand(lanes, i32.add(up!, offset)));
      lanes.store(i32.add(dgate!, offset), lanes.mul(through, slope));
      lanes.store(i32.add(dup!, offset), lanes.mul(given.value as V128, silu.value as V128));
    });
  });

  module.define('crossEntropy', Array<'i32'>(6).fill('i32'), null, (body, ...parameters) => {
    const [logits, targets, dlogits, sums, rows, vocabulary] = parameters as I32[] & { length: 6 };
    eachRow(body, rows!, vocabulary!, (row, at) => {
      const [from, to] = [body.local('i32', i32.add(logits!, at)), body.local('i32', i32.add(dlogits!, at))];
      const most = body.local('v128', v128.splat(f32.load(from.value)));
      const rest = body.local('f32', f32.load(from.value));
      eachNumber(body, vocabulary!, (lanes, offset) => {
        const value = lanes.load(i32.add(from.value, offset));
        if (value.type === 'v128') most.set(v128.max(most.value, value as V128));
        else rest.set(f32.max(rest.value, value as F32));
      });
      const largest = body.local('f32', f32.max(v128.largest(most), rest.value));
      const total = body.local(
        'f32',
        sumOf(body, vocabulary!, (lanes, offset) => {
          const shifted = lanes.sub(lanes.load(i32.add(from.value, offset)), lanes.of(largest.value));
          const grown = body.local(lanes.constant(0).type, lanes.exp(shifted));
          lanes.store(i32.add(to.value, offset), grown.value as V128);
          return grown.value as V128;
        }),
      );
      const inverse = body.local('f32', f32.div(f32.const(1), total.value));
      eachNumber(body, vocabulary!, (lanes, offset) => {
        const place = body.local('i32', i32.add(to.value, offset));
        lanes.store(place.value, lanes.mul(lanes.load(place.value), lanes.of(inverse.value)));
      });
      const target = body.local('i32', bytes(i32.load(i32.add(targets!, bytes(row)))));
      const chosen = body.local('i32', i32.add(to.value, target.value));
      body.storeF32(chosen.value, f32.sub(f32.load(chosen.value), f32.const(1)));
      const told = body.local('i32', i32.add(sums!, bytes(i32.mul(row, i32.const(2)))));
      body.storeF32(told.value, total.value);
      body.storeF32(told.value, f32.sub(f32.load(i32.add(from.value, target.value)), largest.value), FLOAT);
    });
  });

  module.define('half', Array<'i32'>(3).fill('i32'), null, (body, ...parameters) => {
    const [from, to, count] = parameters as I32[] & { length: 3 };
    eachNumber(body, count!, (lanes, offset) => lanes.store(i32.add(to!, offset), lanes.half(lanes.load(i32.add(from!, offset)))));
  });

  module.define('transpose', Array<'i32'>(4).fill('i32'), null, (body, ...parameters) => {
    const [from, to, rows, columns] = parameters as I32[] & { length: 4 };
    const [line, column] = [body.local('i32', bytes(columns!)), body.local('i32', bytes(rows!))];
    const wholeRows = body.local('i32', i32.and(rows!, i32.const(-4)));
    const wholeColumns = body.local('i32', i32.and(columns!, i32.const(-4)));
    const single = (row: I32, at: I32) => {
      const source = i32.add(i32.add(from!, i32.mul(row, line.value)), bytes(at));
      body.storeF32(i32.add(i32.add(to!, i32.mul(at, column.value)), bytes(row)), f32.load(source));
    };
    // In blocks of four rows and four columns.
    body.loop(i32.const(0), wholeRows.value, 4, (row) => {
      body.loop(i32.const(0), wholeColumns.value, 4, (at) => {
        const source = body.local('i32', i32.add(i32.add(from!, i32.mul(row, line.value)), bytes(at)));
        const four = [0, 1, 2, 3].map(() => {
          const loaded = body.local('v128', v128.load(source.value));
          source.set(i32.add(source.value, line.value));
          return loaded.value;
        });
        const [a, b, c, d] = four as [V128, V128, V128, V128];
        const low = [body.local('v128', v128.shuffle(a, b, [0, 4, 1, 5])), body.local('v128', v128.shuffle(c, d, [0, 4, 1, 5]))] as const;
        const high = [body.local('v128', v128.shuffle(a, b, [2, 6, 3, 7])), body.local('v128', v128.shuffle(c, d, [2, 6, 3, 7]))] as const;
        const target = body.local('i32', i32.add(i32.add(to!, i32.mul(at, column.value)), bytes(row)));
        for (const [one, other] of [low, high]) {
          for (const places of [[0, 1, 4, 5] as const, [2, 3, 6, 7] as const]) {
            body.store(target.value, v128.shuffle(one.value, other.value, places));
            target.set(i32.add(target.value, column.value));
          }
        }
      });
      body.loop(wholeColumns.value, columns!, 1, (at) => {
        for (let r = 0; r < 4; r++) single(i32.add(row, i32.const(r)), at);
      });
    });
    body.loop(wholeRows.value, rows!, 1, (row) => body.loop(i32.const(0), columns!, 1, (at) => single(row, at)));
  });

  return module.instantiate(memory) as unknown as RowPrograms;
}
