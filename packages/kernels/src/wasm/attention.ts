/**
 * Causal attention with rotary positions for one shape, four query rows at a time (flash attention's order, arXiv:2205.14135): no T×T matrix, and
 * nothing is computed for keys that no row of the four may see. Every sum has a fixed order.
 *
 * Operands of a head are packed to scratch, rows padded to eight and columns to four with zeros, so that the products have no edges.
 */
import type { AttentionShape, Precision } from '../kernels.ts';
import { type Body, call, type F32, f32, type I32, i32, Module, type V128, v128 } from './assembler.ts';
import { defineExp } from './exp.ts';
import { defineHalf } from './half.ts';

/** Rows of queries that are worked on together. */
const ROWS = 4;
/** Far below any score, and finite. */
const HIDDEN = -1e30;
const FLOAT = 4;

export interface AttentionProgram {
  /** Bytes of scratch. */
  scratch: number;
  /** Floats of `statistics`: the largest score and 1 / Σ of each row, by sequence, head and position. */
  statistics: number;
  forward(query: number, key: number, value: number, angles: number, output: number, statistics: number, scratch: number): void;
  backward(
    query: number,
    key: number,
    value: number,
    angles: number,
    output: number,
    statistics: number,
    doutput: number,
    dquery: number,
    dkey: number,
    dvalue: number,
    scratch: number,
  ): void;
}

const roundUp = (value: number, to: number) => Math.ceil(value / to) * to;
const times = (a: I32, factor: number) => i32.mul(a, i32.const(factor));
const plus = (a: I32, bytes: number) => (bytes === 0 ? a : i32.add(a, i32.const(bytes)));

/** All addresses are bytes into `memory`; tensors are as in `Kernels.attention`. `angles` are `rotaryAngles`. */
export function attentionProgram(shape: AttentionShape, memory: WebAssembly.Memory, precision: Precision): AttentionProgram {
  const { sequences, context, heads, keyValueHeads, headWidth } = shape;
  const group = heads / keyValueHeads;
  const length = roundUp(context, 8);
  const padded = roundUp(headWidth, 4);
  /** Bytes of a row: of a head's operand, of scores, of `query` and of `key`. */
  const [row, line, queryRow, keyRow] = [padded * FLOAT, length * FLOAT, heads * headWidth * FLOAT, keyValueHeads * headWidth * FLOAT];
  const matrix = length * row;
  const across = headWidth * line;
  const part = (index: number) => index * Math.max(matrix, across);
  const [Q, K, KT, V, VT, D, DK, DV] = [0, 1, 2, 3, 4, 5, 6, 7].map(part) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const P = part(8);
  const DP = P + ROWS * line;
  const OUT = DP + ROWS * line;
  const scratch = OUT + ROWS * row;
  const vectors = padded / 4;

  const module = new Module();
  const exp = defineExp(module);
  const half = precision === 'f16' ? defineHalf(module) : null;

  /** S `[4, lim]` = A `[4, D]` · B `[D, lim]`, lim a multiple of eight. */
  const acrossRows = module.define(null, ['i32', 'i32', 'i32', 'i32'], null, (body, a, b, to, limit) => {
    const unroll = headWidth % 4 === 0 ? 4 : 1;
    body.loop(i32.const(0), times(limit, FLOAT), 8 * FLOAT, (at) => {
      const sums = Array.from({ length: ROWS }, () => [body.local('v128', v128.const(0)), body.local('v128', v128.const(0))] as const);
      const right = body.local('i32', i32.add(b, at));
      body.loop(a, plus(a, headWidth * FLOAT), unroll * FLOAT, (left) => {
        for (let step = 0; step < unroll; step++) {
          const low = body.local('v128', v128.load(right.value, step * line));
          const high = body.local('v128', v128.load(right.value, step * line + 16));
          for (const [r, [first, second]] of sums.entries()) {
            const factor = body.local('v128', v128.loadSplat(left, step * FLOAT + r * row));
            first.set(v128.add(first.value, v128.mul(factor.value, low.value)));
            second.set(v128.add(second.value, v128.mul(factor.value, high.value)));
          }
        }
        right.set(plus(right.value, unroll * line));
      });
      const target = body.local('i32', i32.add(to, at));
      for (const [r, [first, second]] of sums.entries()) {
        body.store(target.value, first.value, r * line);
        body.store(target.value, second.value, r * line + 16);
      }
    });
  });

  /** C `[4, D]` = A `[4, lim]` · B `[lim, D]`. */
  const overRows = module.define(null, ['i32', 'i32', 'i32', 'i32'], null, (body, a, b, to, limit) => {
    for (let column = 0; column < vectors; column += 2) {
      const count = Math.min(2, vectors - column);
      const sums = Array.from({ length: ROWS }, () => Array.from({ length: count }, () => body.local('v128', v128.const(0))));
      const right = body.local('i32', plus(b, column * 16));
      body.loop(a, i32.add(a, times(limit, FLOAT)), 4 * FLOAT, (left) => {
        for (let step = 0; step < 4; step++) {
          const operands = Array.from({ length: count }, (_, i) => body.local('v128', v128.load(right.value, step * row + 16 * i)));
          for (const [r, parts] of sums.entries()) {
            const factor = body.local('v128', v128.loadSplat(left, step * FLOAT + r * line));
            for (const [i, sum] of parts.entries()) sum.set(v128.add(sum.value, v128.mul(factor.value, operands[i]!.value)));
          }
        }
        right.set(plus(right.value, 4 * row));
      });
      for (const [r, parts] of sums.entries())
        for (const [i, sum] of parts.entries()) body.store(to, sum.value, r * row + (column + i) * 16);
    }
  });

  /** C `[lim, D]` += Aᵀ · B of A `[4, lim]` and B `[4, D]`. */
  const addTransposed = module.define(null, ['i32', 'i32', 'i32', 'i32'], null, (body, a, b, to, limit) => {
    const target = body.local('i32', to);
    body.loop(a, i32.add(a, times(limit, FLOAT)), 2 * FLOAT, (left) => {
      const factors = [0, 1].map((next) =>
        Array.from({ length: ROWS }, (_, r) => body.local('v128', v128.loadSplat(left, next * FLOAT + r * line))),
      );
      for (let column = 0; column < vectors; column++) {
        const operands = Array.from({ length: ROWS }, (_, r) => body.local('v128', v128.load(b, r * row + column * 16)));
        for (const [next, four] of factors.entries()) {
          const sum = four.reduce(
            (total, factor, r) => v128.add(total, v128.mul(factor.value, operands[r]!.value)),
            v128.load(target.value, next * row + column * 16),
          );
          body.store(target.value, sum, next * row + column * 16);
        }
      }
      target.set(plus(target.value, 2 * row));
    });
  });

  /** Four numbers, or one, as products take them. */
  const operand = (value: V128 | F32): V128 | F32 => {
    if (!half) return value;
    return value.type === 'v128' ? call(half, value as V128) : v128.lane(call(half, v128.splat(value as F32)), 0);
  };

  /** Copies one row of a head. `turn`: rotated by the position's angles, or back; `operands`: then as products take it, and only then scaled. */
  const copyRow = (body: Body, from: I32, to: I32, scale: number, turn?: { angles: I32; back: boolean }, operands = false) => {
    const middle = headWidth / 2;
    const wide = turn ? middle % 4 === 0 : headWidth % 4 === 0;
    const width = wide ? 4 : 1;
    const get = (address: I32, offset: number): V128 | F32 => (wide ? v128.load(address, offset) : f32.load(address, offset));
    const ops = (wide ? { ...v128, constant: v128.const } : { ...f32, constant: f32.const }) as unknown as {
      add(a: V128 | F32, b: V128 | F32): V128 | F32;
      sub(a: V128 | F32, b: V128 | F32): V128 | F32;
      mul(a: V128 | F32, b: V128 | F32): V128 | F32;
      constant(value: number): V128 | F32;
    };
    const put = (offset: number, value: V128 | F32) => {
      const taken = operands ? operand(value) : value;
      const scaled = scale === 1 ? taken : ops.mul(taken, ops.constant(scale));
      if (wide) body.store(to, scaled as V128, offset);
      else body.storeF32(to, scaled as F32, offset);
    };
    if (!turn) {
      for (let i = 0; i < headWidth; i += width) put(i * FLOAT, get(from, i * FLOAT));
      return;
    }
    for (let i = 0; i < middle; i += width) {
      const [low, high] = [i * FLOAT, (middle + i) * FLOAT];
      const [first, second, cos, sin] = [get(from, low), get(from, high), get(turn.angles, low), get(turn.angles, high)];
      const crossed = [ops.mul(second, sin), ops.mul(first, sin)] as const;
      put(low, turn.back ? ops.add(ops.mul(first, cos), crossed[0]) : ops.sub(ops.mul(first, cos), crossed[0]));
      put(high, turn.back ? ops.sub(ops.mul(second, cos), crossed[1]) : ops.add(ops.mul(second, cos), crossed[1]));
    }
  };

  /** A head's rows out of a tensor, `stride` bytes apart, as operands. */
  const pack = (body: Body, from: I32, stride: number, to: I32, scale: number, angles?: I32) => {
    body.loop(i32.const(0), i32.const(context), 1, (t) => {
      const [source, target] = [body.local('i32', i32.add(from, times(t, stride))), body.local('i32', i32.add(to, times(t, row)))];
      const turned = angles && body.local('i32', i32.add(angles, times(t, headWidth * FLOAT)));
      copyRow(body, source.value, target.value, scale, turned && { angles: turned.value, back: false }, true);
    });
  };

  const transpose = (body: Body, from: I32, to: I32) => {
    body.loop(i32.const(0), i32.const(context), 1, (t) => {
      const [source, target] = [body.local('i32', i32.add(from, times(t, row))), body.local('i32', i32.add(to, times(t, FLOAT)))];
      for (let i = 0; i < headWidth; i++) body.storeF32(target.value, f32.load(source.value, i * FLOAT), i * line);
    });
  };

  const zero = (body: Body, from: I32, bytes: number) => body.loop(from, plus(from, bytes), 16, (at) => body.store(at, v128.const(0)));

  /** Keys that the rows from `first` on look at: a multiple of eight. */
  const limitOf = (first: I32) => i32.and(plus(first, ROWS + 7), i32.const(-8));
  /** Where a row's hidden keys begin; at 0 for a row past the end. */
  const hiddenFrom = (position: I32) => i32.mul(i32.lessThan(position, i32.const(context)), plus(position, 1));

  /** Calls `work` for every head with the addresses of its rows in `query`, `key` and `statistics`. */
  const eachHead = (
    body: Body,
    begin: (sequence: I32, keyHead: I32) => void,
    work: (queryOffset: I32, statistics: I32) => void,
    end?: (keyOffset: I32) => void,
  ) => {
    body.loop(i32.const(0), i32.const(sequences), 1, (sequence) => {
      body.loop(i32.const(0), i32.const(keyValueHeads), 1, (keyHead) => {
        const keyOffset = body.local('i32', i32.add(times(sequence, context * keyRow), times(keyHead, headWidth * FLOAT)));
        begin(keyOffset.value, keyHead);
        body.loop(i32.const(0), i32.const(group), 1, (member) => {
          const head = body.local('i32', i32.add(times(keyHead, group), member));
          const queryOffset = body.local('i32', i32.add(times(sequence, context * queryRow), times(head.value, headWidth * FLOAT)));
          const statistics = body.local('i32', times(i32.add(times(sequence, heads), head.value), context * 2 * FLOAT));
          work(queryOffset.value, statistics.value);
        });
        end?.(keyOffset.value);
      });
    });
  };

  const scale = 1 / Math.sqrt(headWidth);

  module.define('forward', Array<'i32'>(7).fill('i32'), null, (body, ...parameters) => {
    const [query, key, value, angles, output, statistics, space] = parameters as [I32, I32, I32, I32, I32, I32, I32];
    zero(body, space, scratch);
    const at = (offset: number) => plus(space, offset);
    eachHead(
      body,
      (keyOffset) => {
        pack(body, i32.add(key, keyOffset), keyRow, at(K), 1, angles);
        transpose(body, at(K), at(KT));
        pack(body, i32.add(value, keyOffset), keyRow, at(V), 1);
      },
      (queryOffset, stats) => {
        pack(body, i32.add(query, queryOffset), queryRow, at(Q), scale, angles);
        body.loop(i32.const(0), i32.const(context), ROWS, (first) => {
          const limit = body.local('i32', limitOf(first));
          body.call(acrossRows, i32.add(at(Q), times(first, row)), at(KT), at(P), limit.value);
          const inverses = Array.from({ length: ROWS }, (_, r) => {
            const position = body.local('i32', plus(first, r));
            const scores = at(P + r * line);
            body.loop(hiddenFrom(position.value), limit.value, 1, (j) =>
              body.storeF32(i32.add(scores, times(j, FLOAT)), f32.const(HIDDEN)),
            );
            const end = i32.add(scores, times(limit.value, FLOAT));
            const most = body.local('v128', v128.const(HIDDEN));
            body.loop(scores, end, 16, (address) => most.set(v128.max(most.value, v128.load(address))));
            const largest = body.local('f32', v128.largest(most));
            const shift = body.local('v128', v128.splat(largest.value));
            const sums = body.local('v128', v128.const(0));
            body.loop(scores, end, 16, (address) => {
              const grown = body.local('v128', call(exp, v128.sub(v128.load(address), shift.value)));
              sums.set(v128.add(sums.value, grown.value));
              body.store(address, grown.value);
            });
            const inverse = body.local('f32', f32.div(f32.const(1), v128.sum(sums)));
            body.when(i32.lessThan(position.value, i32.const(context)), () => {
              const place = body.local('i32', i32.add(i32.add(statistics, stats), times(position.value, 2 * FLOAT)));
              body.storeF32(place.value, largest.value);
              body.storeF32(place.value, inverse.value, FLOAT);
            });
            return inverse;
          });
          body.call(overRows, at(P), at(V), at(OUT), limit.value);
          for (const [r, inverse] of inverses.entries()) {
            const position = plus(first, r);
            body.when(i32.lessThan(position, i32.const(context)), () => {
              const rowAt = at(OUT + r * row);
              const factor = body.local('v128', v128.splat(inverse.value));
              for (let i = 0; i < vectors; i++) body.store(rowAt, v128.mul(v128.load(rowAt, i * 16), factor.value), i * 16);
              copyRow(body, rowAt, i32.add(i32.add(output, queryOffset), times(position, queryRow)), 1);
            });
          }
        });
      },
    );
  });

  module.define('backward', Array<'i32'>(11).fill('i32'), null, (body, ...parameters) => {
    const [query, key, value, angles, output, statistics, doutput, dquery, dkey, dvalue, space] = parameters as I32[] & { length: 11 };
    zero(body, space!, scratch);
    const at = (offset: number) => plus(space!, offset);
    eachHead(
      body,
      (keyOffset) => {
        pack(body, i32.add(key!, keyOffset), keyRow, at(K), 1, angles);
        transpose(body, at(K), at(KT));
        pack(body, i32.add(value!, keyOffset), keyRow, at(V), 1);
        transpose(body, at(V), at(VT));
        zero(body, at(DK), matrix);
        zero(body, at(DV), matrix);
      },
      (queryOffset, stats) => {
        pack(body, i32.add(query!, queryOffset), queryRow, at(Q), scale, angles);
        pack(body, i32.add(doutput!, queryOffset), queryRow, at(D), 1);
        body.loop(i32.const(0), i32.const(context), ROWS, (first) => {
          const limit = body.local('i32', limitOf(first));
          const [queries, upstream] = [
            body.local('i32', i32.add(at(Q), times(first, row))),
            body.local('i32', i32.add(at(D), times(first, row))),
          ];
          body.call(acrossRows, queries.value, at(KT), at(P), limit.value);
          body.call(acrossRows, upstream.value, at(VT), at(DP), limit.value);
          for (let r = 0; r < ROWS; r++) {
            const position = body.local('i32', plus(first, r));
            const [probabilities, gradients] = [at(P + r * line), at(DP + r * line)];
            body.when(i32.lessThan(position.value, i32.const(context)), () => {
              const place = body.local('i32', i32.add(i32.add(statistics!, stats), times(position.value, 2 * FLOAT)));
              const shift = body.local('v128', v128.splat(f32.load(place.value)));
              const inverse = body.local('v128', v128.splat(f32.load(place.value, FLOAT)));
              body.loop(probabilities, i32.add(probabilities, times(limit.value, FLOAT)), 16, (address) => {
                const grown = call(exp, v128.sub(v128.load(address), shift.value));
                body.store(address, v128.mul(grown, inverse.value));
              });
            });
            body.loop(hiddenFrom(position.value), limit.value, 1, (j) =>
              body.storeF32(i32.add(probabilities, times(j, FLOAT)), f32.const(0)),
            );
            // δ = Σ dO·O of the row (arXiv:2205.14135, appendix B.4), and dS = P·(dP − δ).
            const delta = body.local('f32', f32.const(0));
            body.when(i32.lessThan(position.value, i32.const(context)), () => {
              const results = body.local('i32', i32.add(i32.add(output!, queryOffset), times(position.value, queryRow)));
              for (let i = 0; i < headWidth; i++) {
                const result = operand(f32.load(results.value, i * FLOAT)) as F32;
                const product = f32.mul(result, f32.load(upstream.value, r * row + i * FLOAT));
                delta.set(f32.add(delta.value, product));
              }
            });
            const deltas = body.local('v128', v128.splat(delta.value));
            body.loop(i32.const(0), times(limit.value, FLOAT), 16, (offset) => {
              const place = body.local('i32', i32.add(gradients, offset));
              const probability = v128.load(i32.add(probabilities, offset));
              body.store(place.value, v128.mul(probability, v128.sub(v128.load(place.value), deltas.value)));
            });
          }
          body.call(addTransposed, at(P), upstream.value, at(DV), limit.value);
          body.call(addTransposed, at(DP), queries.value, at(DK), limit.value);
          body.call(overRows, at(DP), at(K), at(OUT), limit.value);
          for (let r = 0; r < ROWS; r++) {
            const position = plus(first, r);
            body.when(i32.lessThan(position, i32.const(context)), () => {
              const turned = body.local('i32', i32.add(angles!, times(position, headWidth * FLOAT)));
              const target = body.local('i32', i32.add(i32.add(dquery!, queryOffset), times(position, queryRow)));
              copyRow(body, at(OUT + r * row), target.value, scale, { angles: turned.value, back: true });
            });
          }
        });
      },
      (keyOffset) => {
        body.loop(i32.const(0), i32.const(context), 1, (t) => {
          const turned = body.local('i32', i32.add(angles!, times(t, headWidth * FLOAT)));
          const target = body.local('i32', i32.add(keyOffset, times(t, keyRow)));
          const source = body.local('i32', times(t, row));
          copyRow(body, i32.add(at(DK), source.value), i32.add(dkey!, target.value), 1, { angles: turned.value, back: true });
          copyRow(body, i32.add(at(DV), source.value), i32.add(dvalue!, target.value), 1);
        });
      },
    );
  });

  const { forward, backward } = module.instantiate(memory) as unknown as Pick<AttentionProgram, 'forward' | 'backward'>;
  return { scratch, statistics: sequences * heads * context * 2, forward, backward };
}
