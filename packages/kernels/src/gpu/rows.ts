/** Programs over the rows of an activation: RMSNorm, SwiGLU, embedding, cross entropy, and plain sums. */
import { NORM_EPSILON } from '../kernels.ts';
import { componentsFor, elementOf, float, perInvocation, Scope, type Shader, type Step, sumOf, WORKGROUP } from './shader.ts';
import type { Value } from './value.ts';

const single = (label: string, build: () => Shader): Step => ({ label, variants: [{ name: 'own', kind: 'own', build }] });

/** Element by element over values of one size; `code` gives each output's, by how an input is read at the element. */
export function elementwiseStep(
  label: string,
  outputs: readonly Value[],
  code: (read: (value: Value) => string, zero: string) => string[],
): Step {
  const { size } = outputs[0]!;
  const c = componentsFor(size);
  return single(`${label} ${size}`, () =>
    perInvocation(size / c, (scope) => {
      const stores = outputs.map((output) => scope.store(output, elementOf(c)));
      const values = code((value) => scope.load(value, elementOf(c))('index'), `${elementOf(c)}()`);
      // All are read before any is stored: an output may be in an input's place.
      return [...values.map((value, i) => `let y${i} = ${value};`), ...stores.map((store, i) => store('index', `y${i}`))].join('\n');
    }),
  );
}

// ── a row at a time ─────────────────────────────────────────────────────────────────────────────

interface RowWork {
  /** First column and distance of those that an invocation looks at. */
  from: string;
  by: string;
  /** The sum, or the largest, over all that look at the row. */
  sum: (value: string) => string;
  most: (value: string) => string;
  /** Between reading and overwriting what others of the row read. */
  fence: string;
}

const OWN: RowWork = { from: '0', by: '1', sum: (value) => value, most: (value) => value, fence: '' };
const SHARED: RowWork = {
  from: 'lane',
  by: `${WORKGROUP}`,
  sum: (value) => `sumOfRow(${value}, lane)`,
  most: (value) => `mostOfRow(${value}, lane)`,
  fence: 'storageBarrier();',
};

const reduction = (name: string, combine: (a: string, b: string) => string) => `
  fn ${name}(value : f32, lane : i32) -> f32 {
    workgroupBarrier();
    part[lane] = value;
    workgroupBarrier();
    for (var half = ${WORKGROUP / 2}; half > 0; half = half / 2) {
      if (lane < half) { part[lane] = ${combine('part[lane]', 'part[lane + half]')}; }
      workgroupBarrier();
    }
    return part[0];
  }`;

/** An invocation for each row (`own`), or a workgroup (`shared`); `code` knows it by `row`. */
function rowsStep(label: string, rows: number, code: (scope: Scope, work: RowWork) => string): Step {
  const shared = () => {
    const scope = new Scope();
    scope.declare(`var<workgroup> part : array<f32, ${WORKGROUP}>;`);
    scope.declare(reduction('sumOfRow', (a, b) => `${a} + ${b}`));
    scope.declare(reduction('mostOfRow', (a, b) => `max(${a}, ${b})`));
    return scope.shader([{ groups: rows, code: `let row = group;\n${code(scope, SHARED)}` }]);
  };
  return {
    label,
    variants: [
      { name: 'own', kind: 'own', build: () => perInvocation(rows, (scope) => `let row = index;\n${code(scope, OWN)}`) },
      { name: 'shared', kind: 'shared', build: shared },
    ],
  };
}

/** y = x · r · gain, r = 1 / √(mean(x²) + ε): `[n,d]` and `inverse [n,1]`. */
export function rmsNormStep(x: Value, gain: Value, y: Value, inverse: Value): Step {
  const [rows, width] = x.shape as [number, number];
  const c = componentsFor(width);
  return rowsStep(`rms norm ${rows}×${width}`, rows, (scope, { from, by, sum }) => {
    const element = elementOf(c);
    const [input, gains, output, told] = [
      scope.read(x, element),
      scope.read(gain, element),
      scope.store(y, element),
      scope.write(inverse, 'f32'),
    ];
    return `
      let first = row * ${width / c};
      var squares = ${element}();
      for (var i = ${from}; i < ${width / c}; i += ${by}) { squares += ${input}[first + i] * ${input}[first + i]; }
      let total = ${sum(sumOf(c, 'squares'))};
      let r = inverseSqrt(total / ${float(width)} + ${NORM_EPSILON});
      for (var i = ${from}; i < ${width / c}; i += ${by}) { ${output('first + i', `${input}[first + i] * r * ${gains}[i]`)} }
      if (${from} == 0) { ${told}[row] = r; }`;
  });
}

/** dx = r·(g·dy) − x·r³·mean(x·g·dy), plus `addend` where there is one. */
export function rmsNormBackwardStep(x: Value, gain: Value, inverse: Value, dy: Value, addend: Value | null, dx: Value): Step {
  const [rows, width] = x.shape as [number, number];
  const c = componentsFor(width);
  return rowsStep(`rms norm gradient${addend ? ' and sum' : ''} ${rows}×${width}`, rows, (scope, { from, by, sum }) => {
    const element = elementOf(c);
    const [input, gains, gradient] = [scope.read(x, element), scope.read(gain, element), scope.read(dy, element)];
    const told = scope.read(inverse, 'f32');
    const output = scope.store(dx, element);
    const more = addend && scope.read(addend, element);
    return `
      let first = row * ${width / c};
      var along = ${element}();
      for (var i = ${from}; i < ${width / c}; i += ${by}) { along += ${input}[first + i] * ${gains}[i] * ${gradient}[first + i]; }
      let total = ${sum(sumOf(c, 'along'))};
      let r = ${told}[row];
      let share = r * r * r * (total / ${float(width)});
      for (var i = ${from}; i < ${width / c}; i += ${by}) {
        ${output('first + i', `${more ? `${more}[first + i] + ` : ''}${gradient}[first + i] * ${gains}[i] * r - ${input}[first + i] * share`)}
      }`;
  });
}

/**
 * Turns logits `[n,V]` into their gradient, softmax − one-hot, in place, and writes each row's loss, log Σ exp − the target's logit, in nats;
 * `gradient` false: only that.
 */
export function crossEntropyStep(logits: Value, targets: Value, losses: Value, gradient: boolean): Step {
  const [rows, vocabulary] = logits.shape as [number, number];
  const label = `cross entropy${gradient ? ' and gradient' : ''} ${rows}×${vocabulary}`;
  return rowsStep(label, rows, (scope, { from, by, sum, most, fence }) => {
    const x = scope.write(logits, 'f32');
    const [wanted, told] = [scope.read(targets, 'i32'), scope.write(losses, 'f32')];
    return `
      let first = row * ${vocabulary};
      let chosen = ${wanted}[row];
      let logit = ${x}[first + chosen];
      var largest = -3e38;
      for (var i = ${from}; i < ${vocabulary}; i += ${by}) { largest = max(largest, ${x}[first + i]); }
      let top = ${most('largest')};
      var exponentials = 0.0;
      for (var i = ${from}; i < ${vocabulary}; i += ${by}) { exponentials += exp(${x}[first + i] - top); }
      let logSum = top + log(${sum('exponentials')});
      if (${from} == 0) { ${told}[row] = logSum - logit; }
      ${
        gradient
          ? `${fence}
             for (var i = ${from}; i < ${vocabulary}; i += ${by}) {
               ${x}[first + i] = exp(${x}[first + i] - logSum) - select(0.0, 1.0, i == chosen);
             }`
          : ''
      }`;
  });
}

// ── sums over rows ──────────────────────────────────────────────────────────────────────────────

/** Rows summed by one invocation, so that long sums run in parallel, in passes. */
export const CHUNK = 32;

/** `[⌈rows/CHUNK⌉, width]`: one pass of a sum over rows `[n,w]`. */
export function columnSumStep(x: Value, y: Value): Step {
  const [rows, width] = x.shape as [number, number];
  const c = componentsFor(width);
  return single(`column sum ${rows}×${width}`, () =>
    perInvocation((y.shape[0]! * width) / c, (scope) => {
      const [input, output] = [scope.read(x, elementOf(c)), scope.write(y, elementOf(c))];
      return chunkSum(rows, width / c, output, elementOf(c), (at) => `${input}[${at}]`);
    }),
  );
}

/** The first pass of the gain's gradient: Σ dy·x·r over rows. */
export function gainGradientStep(x: Value, inverse: Value, dy: Value, y: Value): Step {
  const [rows, width] = x.shape as [number, number];
  const c = componentsFor(width);
  return single(`rms norm gain gradient ${rows}×${width}`, () =>
    perInvocation((y.shape[0]! * width) / c, (scope) => {
      const [input, gradient, told] = [scope.read(x, elementOf(c)), scope.read(dy, elementOf(c)), scope.read(inverse, 'f32')];
      const output = scope.write(y, elementOf(c));
      return chunkSum(rows, width / c, output, elementOf(c), (at) => `${gradient}[${at}] * ${input}[${at}] * ${told}[row]`);
    }),
  );
}

const chunkSum = (rows: number, elements: number, output: string, element: string, term: (at: string) => string) => `
  let first = index / ${elements} * ${CHUNK};
  var total = ${element}();
  for (var row = first; row < min(first + ${CHUNK}, ${rows}); row++) { total += ${term(`row * ${elements} + index % ${elements}`)}; }
  ${output}[index] = total;`;

// ── embedding ───────────────────────────────────────────────────────────────────────────────────

/** Rows of a table: `[V, d]`, `[n]` → `[n, d]`. */
export function embeddingStep(tokens: Value, table: Value, y: Value): Step {
  const [rows, width] = y.shape as [number, number];
  const c = componentsFor(width);
  return single(`embedding ${rows}×${width}`, () =>
    perInvocation((rows * width) / c, (scope) => {
      const [ids, from, output] = [scope.read(tokens, 'i32'), scope.read(table, elementOf(c)), scope.write(y, elementOf(c))];
      return `${output}[index] = ${from}[${ids}[index / ${width / c}] * ${width / c} + index % ${width / c}];`;
    }),
  );
}

/** Gradient of the table: the rows of each token, which lie together in `order`, one after the other. */
export function embeddingBackwardStep(order: Value, starts: Value, dy: Value, y: Value): Step {
  const [vocabulary, width] = y.shape as [number, number];
  const c = componentsFor(width);
  return single(`embedding gradient ${vocabulary}×${width} of ${dy.shape[0]}`, () =>
    perInvocation((vocabulary * width) / c, (scope) => {
      const [rows, first] = [scope.read(order, 'i32'), scope.read(starts, 'i32')];
      const [gradient, output] = [scope.read(dy, elementOf(c)), scope.write(y, elementOf(c))];
      return `
        let token = index / ${width / c};
        var total = ${elementOf(c)}();
        for (var i = ${first}[token]; i < ${first}[token + 1]; i++) { total += ${gradient}[${rows}[i] * ${width / c} + index % ${width / c}]; }
        ${output}[index] = total;`;
    }),
  );
}

// ── products' epilogues ─────────────────────────────────────────────────────────────────────────

export const silu = (gate: string) => `${gate} / (1.0 + exp(-${gate}))`;

/** Gradients of gate and up: dy·up·(σ + silu·(1 − σ)) and dy·silu. */
export const gateGradient = (dy: string, gate: string, up: string) =>
  `${dy} * ${up} * (1.0 / (1.0 + exp(-${gate}))) * (1.0 + ${gate} * (1.0 - 1.0 / (1.0 + exp(-${gate}))))`;
export const upGradient = (dy: string, gate: string) => `${dy} * (${silu(gate)})`;
