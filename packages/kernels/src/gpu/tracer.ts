/** Writes operations down as steps instead of computing them. */
import type { AttentionShape, Operations, Precision, Tensor, TokenRows } from '../kernels.ts';
import { attentionStep, keyValueGradientStep, queryGradientStep, rotaryStep } from './attention.ts';
import { type Form, type Output, productStep, type Term } from './product.ts';
import {
  CHUNK,
  columnSumStep,
  crossEntropyStep,
  elementwiseStep,
  embeddingBackwardStep,
  embeddingStep,
  gainGradientStep,
  gateGradient,
  rmsNormBackwardStep,
  rmsNormStep,
  silu,
  upGradient,
} from './rows.ts';
import type { Step } from './shader.ts';
import { temporary, type Value } from './value.ts';

/** Logits that are on the device at a time: of as many rows as fit, and at least of `LOGIT_ROWS`. */
const LOGIT_BYTES = 16 * 2 ** 20;
/** Keeps every part of a matrix aligned as bindings must be, whatever its width. */
const LOGIT_ROWS = 64;

const plain: Output['code'] = ([s]) => s!;

export class Tracer implements Operations {
  readonly steps: Step[] = [];
  /** Rotary angles `[T, D]`. */
  private readonly anglesOf: (shape: AttentionShape) => Value;
  private readonly precision: Precision;

  constructor(anglesOf: (shape: AttentionShape) => Value, precision: Precision) {
    this.anglesOf = anglesOf;
    this.precision = precision;
  }

  matmul(a: Tensor, b: Tensor, transposeA = false, transposeB = false, addend?: Tensor): Value {
    if (transposeA && transposeB) throw new RangeError('A product of two transposed matrices is not among the operations.');
    const form = transposeA ? 'TN' : transposeB ? 'NT' : 'NN';
    const to = temporary([a.shape[transposeA ? 1 : 0]!, b.shape[transposeB ? 0 : 1]!]);
    this.product(form, [[{ a, b }]], [{ to, code: addend ? ([s], at) => `${s} + ${at(addend as Value)}` : plain }], addend ? 'sum' : '');
    return to;
  }

  matmuls(a: Tensor, bs: readonly Tensor[], transposeA = false): Value[] {
    const outputs = bs.map((b) => temporary([a.shape[transposeA ? 1 : 0]!, b.shape[1]!]));
    const form = transposeA ? 'TN' : 'NN';
    const products = bs.map((b, i) => ({
      form,
      sums: [[{ a: this.operand(a), b: this.operand(b) }]],
      outputs: [{ to: outputs[i]!, code: plain }],
    })) satisfies Parameters<typeof productStep>[1];
    this.steps.push(productStep('matmul', products));
    return outputs;
  }

  sumOfMatmuls(pairs: readonly (readonly [a: Tensor, b: Tensor])[]): Value {
    const to = temporary([pairs[0]![0].shape[0]!, pairs[0]![1].shape[0]!]);
    this.product('NT', [pairs.map(([a, b]) => ({ a, b }))], [{ to, code: plain }]);
    return to;
  }

  add(a: Tensor, b: Tensor): Value {
    const y = temporary(a.shape);
    this.steps.push(elementwiseStep('sum', [y], (read) => [`${read(a as Value)} + ${read(b as Value)}`]));
    return y;
  }

  rmsNorm(x: Tensor, gain: Tensor): { y: Value; inverse: Value } {
    const [y, inverse] = [temporary(x.shape), temporary([x.shape[0]!, 1])];
    this.steps.push(rmsNormStep(x as Value, gain as Value, y, inverse));
    return { y, inverse };
  }

  rmsNormBackward(x: Tensor, gain: Tensor, inverse: Tensor, dy: Tensor, addend?: Tensor): { dx: Value; dgain: Value } {
    const [rows, width] = x.shape as [number, number];
    const dx = temporary(x.shape);
    this.steps.push(
      rmsNormBackwardStep(x as Value, gain as Value, inverse as Value, dy as Value, (addend as Value | undefined) ?? null, dx),
    );
    const parts = temporary([Math.ceil(rows / CHUNK), width]);
    this.steps.push(gainGradientStep(x as Value, inverse as Value, dy as Value, parts));
    return { dx, dgain: this.sumRows(parts).as(width) };
  }

  attention(query: Tensor, key: Tensor, value: Tensor, shape: AttentionShape): { output: Value; saved: Value[] } {
    /** In its own place, where nobody else can have it; but what is turned is float32, and the result only an operand. */
    const turned = (x: Value) => (this.precision === 'f32' && x.storage.place.kind === 'temporary' ? x : temporary(x.shape));
    const [q, k] = [turned(query as Value), turned(key as Value)];
    const rows = [
      { from: query as Value, to: q, heads: shape.heads },
      { from: key as Value, to: k, heads: shape.keyValueHeads },
    ];
    this.steps.push(rotaryStep(rows, this.anglesOf(shape), shape));
    const output = temporary(query.shape);
    const statistics = temporary([2 * query.shape[0]!, shape.heads]);
    this.steps.push(attentionStep(this.operand(q), this.operand(k), this.operand(value), output, statistics, shape));
    return { output, saved: [q, k, value as Value, output, statistics] };
  }

  attentionBackward(saved: readonly Tensor[], doutput: Tensor, shape: AttentionShape): { dquery: Value; dkey: Value; dvalue: Value } {
    const [q, k, v, output] = saved.map((tensor) => this.operand(tensor)) as [Value, Value, Value, Value];
    const [dquery, dkey, dvalue] = [temporary(q.shape), temporary(k.shape), temporary(v.shape)];
    const given = { q, k, v, output, statistics: saved[4] as Value, angles: this.anglesOf(shape) };
    this.steps.push(queryGradientStep(given, this.operand(doutput), dquery, shape));
    this.steps.push(keyValueGradientStep(given, this.operand(doutput), dkey, dvalue, shape));
    return { dquery, dkey, dvalue };
  }

  swiglu(gate: Tensor, up: Tensor): Value {
    const y = temporary(gate.shape);
    this.steps.push(elementwiseStep('swiglu', [y], (read) => [`${silu(read(this.operand(gate)))} * ${read(this.operand(up))}`]));
    return y;
  }

  swigluBackward(gate: Tensor, up: Tensor, dy: Tensor): { dgate: Value; dup: Value } {
    const [dgate, dup] = [temporary(gate.shape), temporary(gate.shape)];
    this.steps.push(
      elementwiseStep('swiglu gradient', [dgate, dup], (read) => {
        const [g, u, d] = [read(this.operand(gate)), read(this.operand(up)), read(dy as Value)];
        return [gateGradient(d, g, u), upGradient(d, g)];
      }),
    );
    return { dgate, dup };
  }

  gatedMatmul(x: Tensor, toGate: Tensor, toUp: Tensor): { gate: Value; up: Value; activated: Value } {
    const size = [x.shape[0]!, toGate.shape[1]!];
    const [gate, up, activated] = [temporary(size), temporary(size), temporary(size)];
    this.product('NN', gated(x, toGate, toUp), [
      { to: gate, code: ([g]) => g! },
      { to: up, code: ([, u]) => u! },
      { to: activated, code: this.gatedUnit },
    ]);
    return { gate, up, activated };
  }

  gatedMatmulOnly(x: Tensor, toGate: Tensor, toUp: Tensor): Value {
    const to = temporary([x.shape[0]!, toGate.shape[1]!]);
    this.product('NN', gated(x, toGate, toUp), [{ to, code: this.gatedUnit }]);
    return to;
  }

  gatedMatmulBackward(gate: Tensor, up: Tensor, dy: Tensor, down: Tensor): { dgate: Value; dup: Value } {
    const [dgate, dup] = [temporary(gate.shape), temporary(gate.shape)];
    this.product(
      'NT',
      [[{ a: dy, b: down }]],
      [
        { to: dgate, code: ([s], at) => gateGradient(s!, at(this.operand(gate)), at(this.operand(up))) },
        { to: dup, code: ([s], at) => upGradient(s!, at(this.operand(gate))) },
      ],
      'swiglu gradient',
    );
    return { dgate, dup };
  }

  relu(x: Tensor): Value {
    const y = temporary(x.shape);
    this.steps.push(elementwiseStep('relu', [y], (read, zero) => [`max(${read(x as Value)}, ${zero})`]));
    return y;
  }

  reluBackward(x: Tensor, dy: Tensor): Value {
    const dx = temporary(x.shape);
    this.steps.push(
      elementwiseStep('relu gradient', [dx], (read, zero) => [`select(${zero}, ${read(dy as Value)}, ${read(x as Value)} > ${zero})`]),
    );
    return dx;
  }

  embedding(tokens: Tensor, table: Tensor): Value {
    const y = temporary([tokens.shape[0]!, table.shape[1]!]);
    this.steps.push(embeddingStep(tokens as Value, table as Value, y));
    return y;
  }

  embeddingBackward({ order, starts }: TokenRows, dy: Tensor, vocabulary: number): Value {
    const y = temporary([vocabulary, dy.shape[1]!]);
    this.steps.push(embeddingBackwardStep(order as Value, starts as Value, dy as Value, y));
    return y;
  }

  crossEntropy(logits: Tensor, targets: Tensor): { lossSum: Value; dlogits: Value } {
    const losses = temporary([logits.shape[0]!, 1]);
    let own = logits as Value;
    if (own.storage.place.kind !== 'temporary') {
      own = temporary(logits.shape);
      this.steps.push(elementwiseStep('copy', [own], (read) => [read(logits as Value)]));
    }
    this.steps.push(crossEntropyStep(own, targets as Value, losses, true));
    return { lossSum: this.sumRows(losses).as(), dlogits: own };
  }

  headLoss(y: Tensor, head: Tensor, targets: Tensor): Value {
    const losses = temporary([y.shape[0]!, 1]);
    for (const [first, count] of chunks(y.shape[0]!, head.shape[1]!)) {
      const logits = this.matmul((y as Value).rows(first, count), head);
      this.steps.push(crossEntropyStep(logits, (targets as Value).rows(first, count), losses.rows(first, count), false));
    }
    return this.sumRows(losses).as();
  }

  headLossBackward(y: Tensor, head: Tensor, targets: Tensor): { lossSum: Value; dy: Value; dhead: Value } {
    const [losses, dy, dhead] = [temporary([y.shape[0]!, 1]), temporary(y.shape), temporary(head.shape)];
    for (const [first, count] of chunks(y.shape[0]!, head.shape[1]!)) {
      const rows = (y as Value).rows(first, count);
      const logits = this.matmul(rows, head);
      this.steps.push(crossEntropyStep(logits, (targets as Value).rows(first, count), losses.rows(first, count), true));
      this.product('NT', [[{ a: logits, b: head }]], [{ to: dy.rows(first, count), code: plain }]);
      const more: Output['code'] = ([s], at) => `${s} + ${at(dhead)}`;
      this.product('TN', [[{ a: rows, b: logits }]], [{ to: dhead, code: first === 0 ? plain : more }], first === 0 ? '' : 'sum');
    }
    return { lossSum: this.sumRows(losses).as(), dy, dhead };
  }

  private product(form: Form, sums: { a: Tensor; b: Tensor }[][], outputs: Output[], name = ''): void {
    const operation = `matmul${outputs.length > 1 || name ? ` ${name || outputs.length}` : ''}`;
    const operands = sums.map((terms) => terms.map(({ a, b }): Term => ({ a: this.operand(a), b: this.operand(b) })));
    this.steps.push(productStep(operation, [{ form, sums: operands, outputs }]));
  }

  /** As products, and SwiGLU, take it. */
  private operand(tensor: Tensor): Value {
    return this.precision === 'f16' ? (tensor as Value).asHalves() : (tensor as Value);
  }

  /** SwiGLU of the sums gate and up. */
  private readonly gatedUnit: Output['code'] = ([g, u], _, round) =>
    this.precision === 'f16' ? `${silu(round(g!))} * ${round(u!)}` : `${silu(g!)} * ${u}`;

  /** `[n,w]` → `[1,w]`, by as many passes as it takes. */
  private sumRows(x: Value): Value {
    if (x.shape[0] === 1) return x;
    const y = temporary([Math.ceil(x.shape[0]! / CHUNK), x.shape[1]!]);
    this.steps.push(columnSumStep(x, y));
    return this.sumRows(y);
  }
}

const gated = (x: Tensor, toGate: Tensor, toUp: Tensor) => [[{ a: x, b: toGate }], [{ a: x, b: toUp }]];

/** Ranges of rows whose logits are on the device together. */
function chunks(rows: number, vocabulary: number): [first: number, count: number][] {
  const most = Math.max(LOGIT_ROWS, Math.floor(LOGIT_BYTES / (4 * vocabulary) / LOGIT_ROWS) * LOGIT_ROWS);
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => [i * most, Math.min(most, rows - i * most)]);
}
