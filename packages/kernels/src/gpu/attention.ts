/**
 * Rotary positions and causal grouped-query attention, with memory linear in the context (FlashAttention-2, arXiv:2307.08691).
 *
 * The forward goes over the keys once and keeps the log of each row's softmax denominator; the backward computes every probability again
 * from it. An invocation owns a few rows of one head, so that what it reads of the other side serves all of them; queries on the one hand,
 * keys and values on the other get their gradients in separate passes, so there are no atomics. Query and output are `[n, H·D]`, key and
 * value `[n, K·D]`, rows b·T + t; statistics `[2n, H]`: log Σ exp of each row's scores, then, written by the query's gradient, Σ gradient·output
 * of each row, which the gradient of every score needs.
 */
import type { AttentionShape } from '../kernels.ts';
import {
  type Components,
  componentsFor,
  dot,
  each,
  elementOf,
  float,
  invocations,
  type Job,
  perInvocation,
  Scope,
  type Shader,
  type Step,
  type Variant,
  WORKGROUP,
} from './shader.ts';
import type { Value } from './value.ts';

/** Rows of one invocation, in `own` variants. */
const BLOCKS = [1, 2, 4];
/** Rows of the other side that a workgroup holds at once, in `shared` variants. */
const SHARED_ROWS = 16;

type Load = ReturnType<Scope['load']>;
type Store = ReturnType<Scope['store']>;

interface Sizes {
  T: number;
  H: number;
  K: number;
  group: number;
  c: Components;
  /** Elements of a head. */
  Q: number;
  scale: string;
  sequences: number;
}

function sizesOf({ sequences, context: T, heads: H, keyValueHeads: K, headWidth: D }: AttentionShape): Sizes {
  // Elements are as wide as half a head allows, since rotation pairs the halves.
  const c = componentsFor(D / 2);
  return { T, H, K, group: H / K, c, Q: D / c, scale: float(1 / Math.sqrt(D)), sequences };
}

const labelOf = (name: string, shape: AttentionShape) => `${name} ${Object.values(shape).join('×')}`;

/** Turns the halves of each head against each other by the angles of its row, in place. `angles [T, D]`: cosines, then sines. */
export function rotaryStep(rows: readonly { from: Value; to: Value; heads: number }[], angles: Value, shape: AttentionShape): Step {
  const { T, c, Q, sequences } = sizesOf(shape);
  const build = () => {
    const scope = new Scope();
    const table = scope.read(angles, elementOf(c));
    const jobs = rows.map(({ from, to, heads }): Job => {
      const y = scope.store(to, elementOf(c));
      const x = scope.load(from, elementOf(c));
      return invocations(
        (sequences * T * heads * Q) / 2,
        `let i = index % ${Q / 2};
         let first = index / ${Q / 2} * ${Q} + i;
         let t = index / ${Q / 2} / ${heads} % ${T};
         let cosine = ${table}[t * ${Q} + i];
         let sine = ${table}[t * ${Q} + ${Q / 2} + i];
         let low = ${x('first')};
         let high = ${x(`first + ${Q / 2}`)};
         ${y('first', 'low * cosine - high * sine')}
         ${y(`first + ${Q / 2}`, 'high * cosine + low * sine')}`,
      );
    });
    return scope.shader(jobs);
  };
  const label = labelOf(`rotary ${rows.map(({ from, to }) => (from.storage === to.storage ? 'in place' : 'copied')).join()}`, shape);
  return { label, variants: [{ name: 'own', kind: 'own', build }] };
}

/** Writes `total{r}_{i}`, turned back by the angles of position `t{r}`: the transpose of a rotation is its inverse. */
const turnedBack = ({ Q }: Sizes, target: Store, first: string, table: string, r: number) =>
  each(Q / 2, (i) => {
    const [low, high] = [`total${r}_${i}`, `total${r}_${i + Q / 2}`];
    return `{
      let cosine = ${table}[t${r} * ${Q} + ${i}];
      let sine = ${table}[t${r} * ${Q} + ${Q / 2 + i}];
      ${target(`${first} + ${i}`, `${low} * cosine + ${high} * sine`)}
      ${target(`${first} + ${i + Q / 2}`, `${high} * cosine - ${low} * sine`)}
    }`;
  });

const product = ({ Q, c }: Sizes, a: (i: number) => string, b: (i: number) => string) =>
  Array.from({ length: Q }, (_, i) => dot(c, a(i), b(i))).join(' + ');

/**
 * The rows of an invocation or a lane: `count` of `heads` heads, `t0…`, and the row's place among all of them `at0…`; past the sequence's
 * end the last one again, with `here{r}` false.
 */
const ownRows = ({ T }: Sizes, heads: number, count: number) => `
  let head = unit / ${Math.ceil(T / count)} % ${heads};
  let sequence = unit / ${Math.ceil(T / count) * heads};
  let block = unit % ${Math.ceil(T / count)} * ${count};
  ${each(
    count,
    (r) => `let t${r} = min(block + ${r}, ${T - 1});
      let here${r} = block + ${r} < ${T};
      let at${r} = (sequence * ${T} + t${r}) * ${heads} + head;`,
  )}`;

/**
 * Goes over rows of the other side, `j` from `from` up to and with `to` (the same for every lane of a workgroup where `shared`), reading
 * heads by `row{k}(i)`: through workgroup memory, or directly.
 */
interface Walk {
  from: string;
  to: string;
  /** Of each matrix that is walked over: its elements, and the element where the head of row j starts. */
  matrices: readonly { load: Load; at: (j: string) => string }[];
  /** Numbers that go with row j. */
  statistics: readonly { name: string; at: (j: string) => string }[];
}

type Readers = { row: (matrix: number, i: number) => string; statistic: (which: number) => string };

function walk(
  scope: Scope,
  sizes: Sizes,
  kind: Variant['kind'],
  { from, to, matrices, statistics }: Walk,
  body: (readers: Readers) => string,
): string {
  const { Q, c, T } = sizes;
  if (kind !== 'shared') {
    const readers: Readers = {
      row: (matrix, i) => `m${matrix}_${i}`,
      statistic: (which) => `n${which}`,
    };
    const share = Q / 4;
    const read = (k: number, load: Load) =>
      kind === 'quad'
        ? `${each(share, (i) => `let own${k}_${i} = ${load(`first${k} + unit % 4 * ${share} + ${i}`)};`)}
           ${each(Q, (i) => `let m${k}_${i} = ${scope.fromQuad(`own${k}_${i % share}`, Math.floor(i / share))};`)}`
        : each(Q, (i) => `let m${k}_${i} = ${load(`first${k} + ${i}`)};`);
    return `for (var j = ${from}; j <= ${to}; j++) {
      ${matrices.map(({ load, at }, k) => `let first${k} = ${at('j')};\n${read(k, load)}`).join('\n')}
      ${statistics.map(({ name, at }, k) => `let n${k} = ${name}[${at('j')}];`).join('\n')}
      ${body(readers)}
    }`;
  }
  for (const [k] of matrices.entries()) scope.declare(`var<workgroup> held${k} : array<${elementOf(c)}, ${SHARED_ROWS * Q}>;`);
  for (const [k] of statistics.entries()) scope.declare(`var<workgroup> told${k} : array<f32, ${SHARED_ROWS}>;`);
  const readers: Readers = {
    row: (matrix, i) => `held${matrix}[(j - tile) * ${Q} + ${i}]`,
    statistic: (which) => `told${which}[j - tile]`,
  };
  return `for (var tile = ${from} / ${SHARED_ROWS} * ${SHARED_ROWS}; tile <= ${to}; tile += ${SHARED_ROWS}) {
    workgroupBarrier();
    ${matrices
      .map(
        ({ load, at }, k) => `for (var i = lane; i < ${SHARED_ROWS * Q}; i += ${WORKGROUP}) {
          held${k}[i] = ${load(`${at(`min(tile + i / ${Q}, ${T - 1})`)} + i % ${Q}`)};
        }`,
      )
      .join('\n')}
    ${statistics.map(({ name, at }, k) => `if (lane < ${SHARED_ROWS}) { told${k}[lane] = ${name}[${at(`min(tile + lane, ${T - 1})`)}]; }`).join('\n')}
    workgroupBarrier();
    for (var j = max(tile, ${from}); j <= min(tile + ${SHARED_ROWS - 1}, ${to}); j++) {
      ${body(readers)}
    }
  }`;
}

/**
 * One job per block of rows, or, `shared`, a workgroup per 64 rows of one head: then `unit` counts rows rounded up to whole workgroups, and
 * every lane must get to every barrier. `products`: of a head's width, for each pair of rows.
 */
function rowsStep(
  label: string,
  sizes: Sizes,
  heads: number,
  products: number,
  build: (scope: Scope, count: number, kind: Variant['kind']) => string,
): Step {
  const { T, H: query, Q, c, sequences } = sizes;
  const lanes = (count: number, kind: 'own' | 'quad') => (): Shader =>
    perInvocation(
      sequences * heads * Math.ceil(T / count),
      (scope) => `let unit = index;\n${ownRows(sizes, heads, count)}\n${build(scope, count, kind)}`,
    );
  const own = BLOCKS.map((count): Variant => ({ name: `own ${count}`, kind: 'own', build: lanes(count, 'own') }));
  // Four rows of one head, each with a quarter of what is read: where rows, and what is read, come in fours.
  const quad: Variant[] = T % 4 === 0 && Q % 4 === 0 ? [{ name: 'quad', kind: 'quad', build: lanes(1, 'quad') }] : [];
  const across = Math.ceil(T / WORKGROUP);
  const shared: Variant = {
    name: 'shared',
    kind: 'shared',
    build: () => {
      const scope = new Scope();
      const code = `let head = group / ${across} % ${heads};
        let sequence = group / ${across * heads};
        let block = group % ${across} * ${WORKGROUP};
        let t0 = min(block + lane, ${T - 1});
        let here0 = block + lane < ${T};
        let at0 = (sequence * ${T} + t0) * ${heads} + head;
        ${build(scope, 1, 'shared')}`;
      return scope.shader([{ groups: sequences * heads * across, code }]);
    },
  };
  return { label, flops: sequences * query * (T * (T + 1)) * products * Q * c, variants: [...own, ...quad, shared] };
}

/** The last row that any of those which walk together sees. */
const lastSeen = ({ T }: Sizes, kind: Variant['kind'], count: number) =>
  ({ own: `t${count - 1}`, quad: 'block / 4 * 4 + 3', shared: `min(block + ${WORKGROUP - 1}, ${T - 1})` })[kind];

/** What a query's row goes over: the keys and values of its group. */
const keysAndValues = ({ T, K, group, Q }: Sizes, key: Load, value: Load): Walk['matrices'] => {
  const at = (j: string) => `((sequence * ${T} + ${j}) * ${K} + head / ${group}) * ${Q}`;
  return [
    { load: key, at },
    { load: value, at },
  ];
};

/** `output [n, H·D]` = probabilities · values. */
export function attentionStep(q: Value, k: Value, v: Value, output: Value, statistics: Value, shape: AttentionShape): Step {
  const sizes = sizesOf(shape);
  const { H, c, Q, scale } = sizes;
  return rowsStep(labelOf('attention', shape), sizes, H, 2, (scope, count, kind) => {
    const element = elementOf(c);
    const [query, key, value] = [scope.load(q, element), scope.load(k, element), scope.load(v, element)];
    const [result, sum] = [scope.store(output, element), scope.write(statistics, 'f32')];
    const walked = { from: '0', to: lastSeen(sizes, kind, count), matrices: keysAndValues(sizes, key, value), statistics: [] };
    return `${each(
      count,
      (r) => `${each(Q, (i) => `let q${r}_${i} = ${query(`at${r} * ${Q} + ${i}`)} * ${scale};\nvar total${r}_${i} = ${element}();`)}
        var most${r} = -1e30;
        var weight${r} = 0.0;`,
    )}
      ${walk(scope, sizes, kind, walked, ({ row }) =>
        each(
          count,
          (r) => `if (j <= t${r}) {
            let score = ${product(
              sizes,
              (i) => `q${r}_${i}`,
              (i) => row(0, i),
            )};
            if (score > most${r}) {
              let shrink = exp(most${r} - score);
              most${r} = score;
              weight${r} *= shrink;
              ${each(Q, (i) => `total${r}_${i} *= shrink;`)}
            }
            let p = exp(score - most${r});
            weight${r} += p;
            ${each(Q, (i) => `total${r}_${i} += p * ${row(1, i)};`)}
          }`,
        ),
      )}
      ${each(
        count,
        (r) => `if (here${r}) {
          let inverse = 1.0 / weight${r};
          ${each(Q, (i) => result(`at${r} * ${Q} + ${i}`, `total${r}_${i} * inverse`))}
          ${sum}[at${r}] = most${r} + log(weight${r});
        }`,
      )}`;
  });
}

/** What the backward knows of the forward. */
type Given = Record<'q' | 'k' | 'v' | 'output' | 'statistics' | 'angles', Value>;

/** Gradient of the query before its rotation. */
export function queryGradientStep(
  { q, k, v, output, statistics, angles }: Given,
  doutput: Value,
  dquery: Value,
  shape: AttentionShape,
): Step {
  const sizes = sizesOf(shape);
  const { H, c, Q, scale } = sizes;
  return rowsStep(labelOf('query gradient', shape), sizes, H, 3, (scope, count, kind) => {
    const element = elementOf(c);
    const [query, key, value] = [scope.load(q, element), scope.load(k, element), scope.load(v, element)];
    const [gradient, attended, table] = [scope.load(doutput, element), scope.load(output, element), scope.read(angles, element)];
    const [result, told] = [scope.store(dquery, element), scope.write(statistics, 'f32')];
    const walked = { from: '0', to: lastSeen(sizes, kind, count), matrices: keysAndValues(sizes, key, value), statistics: [] };
    return `${each(
      count,
      (r) => `${each(
        Q,
        (i) => `let q${r}_${i} = ${query(`at${r} * ${Q} + ${i}`)} * ${scale};
          let g${r}_${i} = ${gradient(`at${r} * ${Q} + ${i}`)};
          var total${r}_${i} = ${element}();`,
      )}
        let log${r} = ${told}[at${r}];
        let delta${r} = ${product(
          sizes,
          (i) => `g${r}_${i}`,
          (i) => attended(`at${r} * ${Q} + ${i}`),
        )};
        if (here${r}) { ${told}[${q.shape[0]! * H} + at${r}] = delta${r}; }`,
    )}
      ${walk(scope, sizes, kind, walked, ({ row }) =>
        each(
          count,
          (r) => `if (j <= t${r}) {
            let score = ${product(
              sizes,
              (i) => `q${r}_${i}`,
              (i) => row(0, i),
            )} - log${r};
            let slope = ${product(
              sizes,
              (i) => `g${r}_${i}`,
              (i) => row(1, i),
            )} - delta${r};
            let ds = exp(score) * slope * ${scale};
            ${each(Q, (i) => `total${r}_${i} += ds * ${row(0, i)};`)}
          }`,
        ),
      )}
      ${each(count, (r) => `if (here${r}) {\n${turnedBack(sizes, result, `at${r} * ${Q}`, table, r)}\n}`)}`;
  });
}

/** Gradients of the key before its rotation, and of the value: over all rows that see the key, and all heads of its group. */
export function keyValueGradientStep(
  { q, k, v, statistics: told, angles }: Given,
  doutput: Value,
  dkey: Value,
  dvalue: Value,
  shape: AttentionShape,
): Step {
  const sizes = sizesOf(shape);
  const { T, H, K, group, c, Q, scale } = sizes;
  return rowsStep(labelOf('key and value gradients', shape), sizes, K, 4, (scope, count, kind) => {
    const element = elementOf(c);
    const [query, key, value] = [scope.load(q, element), scope.load(k, element), scope.load(v, element)];
    const [gradient, sums, table] = [scope.load(doutput, element), scope.read(told, 'f32'), scope.read(angles, element)];
    const [keys, values] = [scope.store(dkey, element), scope.store(dvalue, element)];
    const row = (j: string) => `((sequence * ${T} + ${j}) * ${H} + head * ${group} + h)`;
    const matrices = [
      { load: query, at: (j: string) => `${row(j)} * ${Q}` },
      { load: gradient, at: (j: string) => `${row(j)} * ${Q}` },
    ];
    const statistics = [
      { name: sums, at: row },
      { name: sums, at: (j: string) => `${q.shape[0]! * H} + ${row(j)}` },
    ];
    return `${each(count, (r) =>
      each(
        Q,
        (i) => `let k${r}_${i} = ${key(`at${r} * ${Q} + ${i}`)} * ${scale};
          let v${r}_${i} = ${value(`at${r} * ${Q} + ${i}`)};
          var total${r}_${i} = ${element}();
          var other${r}_${i} = ${element}();`,
      ),
    )}
      for (var h = 0; h < ${group}; h++) {
        ${walk(
          scope,
          sizes,
          kind,
          { from: { own: 't0', quad: 'block / 4 * 4', shared: 'block' }[kind], to: `${T - 1}`, matrices, statistics },
          ({ row: of, statistic }) =>
            each(
              count,
              (r) => `if (j >= t${r}) {
              let p = exp(${product(
                sizes,
                (i) => `k${r}_${i}`,
                (i) => of(0, i),
              )} - ${statistic(0)});
              let slope = ${product(
                sizes,
                (i) => `v${r}_${i}`,
                (i) => of(1, i),
              )} - ${statistic(1)};
              let ds = p * slope * ${scale};
              ${each(Q, (i) => `total${r}_${i} += ds * ${of(0, i)};\nother${r}_${i} += p * ${of(1, i)};`)}
            }`,
            ),
        )}
      }
      ${each(
        count,
        (r) => `if (here${r}) {
          ${turnedBack(sizes, keys, `at${r} * ${Q}`, table, r)}
          ${each(Q, (i) => values(`at${r} * ${Q} + ${i}`, `other${r}_${i}`))}
        }`,
      )}`;
  });
}
