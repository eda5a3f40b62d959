/**
 * Products of matrices, and what is done with them before they are stored.
 *
 * Every invocation owns a tile of the product and sums over l in ascending order, one multiply and add after the other, whichever
 * tile it is: so the bits do not change between calls, nor (but for how a compiler contracts) between variants. A split sum with atomics
 * would be quicker for few, long rows, and change them.
 */
import { nearestHalf } from './half.ts';
import { each, type Job, Scope, type Step, type Variant, WORKGROUP } from './shader.ts';
import type { Value } from './value.ts';

/** Which operand is stored transposed: a·b, a·bᵀ or aᵀ·b. */
export type Form = 'NN' | 'NT' | 'TN';

export interface Term {
  a: Value;
  b: Value;
}

export interface Product {
  form: Form;
  /** Each is a sum of products, all of the same size `[m,n]`. */
  sums: readonly (readonly Term[])[];
  outputs: readonly Output[];
}

export interface Output {
  to: Value;
  /** What is stored: of the sums, and of what `at` reads at the same place in other matrices `[m,n]`. All are vec4, which `round` makes halves. */
  code: (sums: string[], at: (value: Value) => string, round: (x: string) => string) => string;
}

/** Rows and columns of an invocation's tile; multiples of 4 where the form reads four at once. */
interface Tile {
  rows: number;
  columns: number;
}

/** Workgroups that share what they read: their tile, and how much of the sum they hold at once. */
interface SharedTile extends Tile {
  groupRows: number;
  groupColumns: number;
  depth: number;
}

/** Smaller tiles compile sooner, which counts where compilers are slow; larger ones read less. */
const OWN: readonly Tile[] = [
  { rows: 4, columns: 8 },
  { rows: 8, columns: 4 },
  { rows: 8, columns: 8 },
  { rows: 4, columns: 4 },
  { rows: 16, columns: 8 },
];

/** Rows are a multiple of what four invocations read at once: 4, or 16 in TN. */
const QUAD: Readonly<Record<Form, readonly Tile[]>> = {
  NN: [
    { rows: 8, columns: 4 },
    { rows: 16, columns: 8 },
  ],
  NT: [
    { rows: 8, columns: 4 },
    { rows: 16, columns: 8 },
  ],
  TN: [
    { rows: 16, columns: 4 },
    { rows: 16, columns: 8 },
  ],
};

const SHARED: readonly SharedTile[] = [
  { rows: 8, columns: 4, groupRows: 64, groupColumns: 64, depth: 16 },
  { rows: 4, columns: 4, groupRows: 32, groupColumns: 32, depth: 32 },
  { rows: 8, columns: 8, groupRows: 128, groupColumns: 64, depth: 16 },
];

/** Products that do not depend on each other, in one dispatch. */
export function productStep(name: string, products: readonly Product[]): Step {
  const sizes = products.map(({ form, sums, outputs }) => {
    const [m, n] = outputs[0]!.to.shape;
    return `${form} ${m}×${n}×${sums.map((terms) => terms.map(({ a }) => a.shape[form === 'TN' ? 0 : 1]).join('+')).join('|')}`;
  });
  const own = (tile: Tile): Variant => ({
    name: `own ${tile.rows}×${tile.columns}`,
    kind: 'own',
    build: () => {
      const scope = new Scope();
      return scope.shader(products.map((product) => ownJob(scope, product, tile)));
    },
  });
  const quad = (tile: Tile): Variant => ({
    name: `quad ${tile.rows}×${tile.columns}`,
    kind: 'quad',
    build: () => {
      const scope = new Scope();
      return scope.shader(products.map((product) => ownJob(scope, product, tile, true)));
    },
  });
  const shared = (tile: SharedTile): Variant => {
    const { groupRows, groupColumns, rows, columns, depth } = tile;
    return {
      name: `shared ${groupRows}×${groupColumns}×${depth}/${rows}×${columns}`,
      kind: 'shared',
      build: () => {
        const scope = new Scope();
        const jobs = products.map((product) => sharedJob(scope, product, tile));
        return scope.shader(jobs, (groupRows / rows) * (groupColumns / columns));
      },
    };
  };
  const flops = products.reduce((sum, { form, sums, outputs }) => {
    const length = sums.flat().reduce((total, term) => total + lengthOf(form, term), 0);
    return sum + 2 * outputs[0]!.to.size * length;
  }, 0);
  return {
    label: `${name} ${sizes.join(', ')}`,
    flops,
    variants: [...OWN.map(own), ...QUAD[products[0]!.form].map(quad), ...SHARED.map(shared)],
  };
}

const COMPONENTS = ['x', 'y', 'z', 'w'] as const;
const quarters = (size: number) => Math.ceil(size / 4);
const widthOf = (value: Value) => value.shape.at(-1)!;

/** How vec4 number `column` of `row` is read. Past a row's end, where four do not fit, are zeros. */
function reader(scope: Scope, value: Value): (row: string, column: string) => string {
  const width = widthOf(value);
  if (width % 4 === 0) {
    const load = scope.load(value, 'vec4<f32>');
    return (row, column) => load(`(${row}) * ${width / 4} + ${column}`);
  }
  const name = scope.read(value, 'f32');
  scope.declare(`
    fn row_${name}(row : i32, column : i32) -> vec4<f32> {
      let first = row * ${width} + 4 * column;
      let last = (row + 1) * ${width} - 1;
      return vec4<f32>(${COMPONENTS.map((_, i) => `select(0.0, ${name}[min(first + ${i}, last)], first + ${i} <= last)`).join(', ')});
    }`);
  const round = value.rounded ? nearestHalf(scope, 'vec4<f32>') : (x: string) => x;
  return (row, column) => round(`row_${name}(${row}, ${column})`);
}

function writer(scope: Scope, value: Value): (row: string, column: string, stored: string) => string {
  const width = widthOf(value);
  if (width % 4 === 0) {
    const put = scope.store(value, 'vec4<f32>');
    return (row, column, stored) => put(`(${row}) * ${width / 4} + ${column}`, stored);
  }
  const name = scope.write(value, 'f32');
  scope.declare(`
    fn put_${name}(row : i32, column : i32, value : vec4<f32>) {
      let first = row * ${width} + 4 * column;
      let count = ${width} - 4 * column;
      ${COMPONENTS.map((component, i) => `if (${i} < count) { ${name}[first + ${i}] = value.${component}; }`).join('\n')}
    }`);
  return (row, column, stored) => `put_${name}(${row}, ${column}, ${stored});`;
}

/** Sum number `sum`, row i and vec4 column j of the tile. */
const accumulator = (sum: number, i: number, j: number) => `s${sum}_${i}_${j}`;

const declareSums = ({ sums }: Product, { rows, columns }: Tile) =>
  sums.map((_, sum) => each(rows, (i) => each(columns / 4, (j) => `var ${accumulator(sum, i, j)} = vec4<f32>();`))).join('\n');

/**
 * Adds up one quarter of the sum's length (NN, NT: four places; TN: one). `a(i)` and `b(j)` read: in NN and NT four places of row i of a;
 * in TN the four rows of the product number i. In NT `b(j, place)` is column j, else vec4 column j at that place.
 * A row takes all its places before the next one, so that few sums are in registers at once.
 */
function accumulate(form: Form, sum: number, { rows, columns }: Tile, a: (i: number) => string, b: (j: number, place: number) => string) {
  if (form === 'TN') {
    return `${each(rows / 4, (i) => `let a${i} = ${a(i)};`)}
      ${each(columns / 4, (j) => `let b${j} = ${b(j, 0)};`)}
      ${each(rows, (i) => each(columns / 4, (j) => `${accumulator(sum, i, j)} += a${i >> 2}.${COMPONENTS[i % 4]} * b${j};`))}`;
  }
  const turned = (j: number, place: number) => `vec4<f32>(${[0, 1, 2, 3].map((c) => `c${4 * j + c}.${COMPONENTS[place]}`).join(', ')})`;
  return `${form === 'NT' ? each(columns, (c) => `let c${c} = ${b(c, 0)};`) : ''}
    ${each(columns / 4, (j) => each(4, (place) => `let b${place}_${j} = ${form === 'NT' ? turned(j, place) : b(j, place)};`))}
    ${each(rows, (i) => {
      const multiply = (j: number, place: number) => `${accumulator(sum, i, j)} += a${i}.${COMPONENTS[place]} * b${place}_${j};`;
      return `let a${i} = ${a(i)};\n${each(columns / 4, (j) => each(4, (place) => multiply(j, place)))}`;
    })}`;
}

/** Stores the tile at `row` and vec4 column `column`. */
function store(scope: Scope, { sums, outputs }: Product, { rows, columns }: Tile): string {
  const [m, n] = outputs[0]!.to.shape as [number, number];
  // Writers first: what is read and written is bound for both.
  const writers = outputs.map(({ to }) => writer(scope, to));
  return each(rows, (i) =>
    each(columns / 4, (j) => {
      const [row, column] = [`row + ${i}`, `column + ${j}`];
      const at = (value: Value) => reader(scope, value)(row, column);
      const stored = outputs.map(({ code }, o) =>
        writers[o]!(
          row,
          column,
          code(
            sums.map((_, sum) => accumulator(sum, i, j)),
            at,
            (x) => nearestHalf(scope, 'vec4<f32>')(x),
          ),
        ),
      );
      return `if (${row} < ${m} && ${column} < ${quarters(n)}) { ${stored.join(' ')} }`;
    }),
  );
}

const lengthOf = (form: Form, { a }: Term) => (form === 'TN' ? a.shape[0]! : widthOf(a));

/**
 * Every invocation reads for itself: best where workgroups cannot share, or sharing is dear (software adapters). `quads`: four with the same
 * rows, and neighbouring columns, read a quarter of a each.
 */
function ownJob(scope: Scope, product: Product, tile: Tile, quads = false): Job {
  const { form, sums, outputs } = product;
  const { rows, columns } = tile;
  const [m, n] = outputs[0]!.to.shape as [number, number];
  const needed = Math.ceil(quarters(n) / (columns / 4));
  // A quad must not be in two rows of tiles, nor end in the middle.
  const across = quads ? Math.ceil(needed / 4) * 4 : needed;
  const count = Math.ceil(m / rows) * across;
  /** Elements of a that an invocation holds, and how many of them it reads. */
  const held = form === 'TN' ? rows / 4 : rows;
  const share = held / 4;
  const loops = sums.flatMap((terms, sum) =>
    terms.map((term) => {
      const [a, b] = [reader(scope, term.a), reader(scope, term.b)];
      const length = lengthOf(form, term);
      const readA = form === 'TN' ? (i: number | string) => a('k', `row${i}`) : (i: number | string) => a(`row${i}`, 'k');
      const ofA = quads ? (i: number) => scope.fromQuad(`own${i % share}`, Math.floor(i / share)) : readA;
      const before = quads ? each(share, (i) => `let own${i} = ${readA(`Own${i}`)};`) : '';
      const last = (place: number) => (length % 4 === 0 ? `4 * k + ${place}` : `min(4 * k + ${place}, ${length - 1})`);
      const body = {
        NN: () => accumulate(form, sum, tile, ofA, (j, place) => b(last(place), `column${j}`)), // biome-ignore format: three alike
        NT: () => accumulate(form, sum, tile, ofA, (j) => b(`min(4 * column + ${j}, ${n - 1})`, 'k')), // biome-ignore format: three alike
        TN: () => accumulate(form, sum, tile, ofA, (j) => b('k', `column${j}`)), // biome-ignore format: three alike
      }[form]();
      return `for (var k = 0; k < ${form === 'TN' ? length : quarters(length)}; k++) {\n${before}\n${body}\n}`;
    }),
  );
  const [top, end] = form === 'TN' ? ['row / 4', quarters(m) - 1] : ['row', m - 1];
  const clampedRows = quads
    ? each(share, (i) => `let rowOwn${i} = min(${top} + index % 4 * ${share} + ${i}, ${end});`)
    : each(held, (i) => `let row${i} = min(${top} + ${i}, ${end});`);
  return {
    groups: Math.ceil(count / WORKGROUP),
    code: `let index = group * ${WORKGROUP} + lane;
      if (index >= ${count}) { return; }
      let column = index % ${across} * ${columns / 4};
      let row = index / ${across} * ${rows};
      ${clampedRows}
      ${each(columns / 4, (j) => `let column${j} = min(column + ${j}, ${quarters(n) - 1});`)}
      ${declareSums(product, tile)}
      ${loops.join('\n')}
      ${store(scope, product, tile)}`,
  };
}

/** The workgroup reads a block of a and one of b into its own memory, as they lie, and every invocation its tile from there. */
function sharedJob(scope: Scope, product: Product, tile: SharedTile): Job {
  const { form, sums, outputs } = product;
  const { rows, columns, groupRows, groupColumns, depth } = tile;
  const [m, n] = outputs[0]!.to.shape as [number, number];
  const across = Math.ceil(n / groupColumns);
  const threads = (groupRows / rows) * (groupColumns / columns);
  // A block's rows and their vec4s; one more apart where neighbours read below each other, so that they find other banks.
  const blockA = form === 'TN' ? { rows: depth, columns: groupRows / 4, pad: 0 } : { rows: groupRows, columns: depth / 4, pad: 1 };
  const blockB = form === 'NT' ? { rows: groupColumns, columns: depth / 4, pad: 1 } : { rows: depth, columns: groupColumns / 4, pad: 0 };
  type Block = typeof blockA;
  const sizeOf = (block: Block) => block.rows * (block.columns + block.pad);
  const place = (block: Block, row: string, column: string) => `(${row}) * ${block.columns + block.pad} + ${column}`;
  scope.declare(`var<workgroup> blockA${sizeOf(blockA)} : array<vec4<f32>, ${sizeOf(blockA)}>;`);
  scope.declare(`var<workgroup> blockB${sizeOf(blockB)} : array<vec4<f32>, ${sizeOf(blockB)}>;`);
  const [nameA, nameB] = [`blockA${sizeOf(blockA)}`, `blockB${sizeOf(blockB)}`];
  /** Rows from `firstRow` and vec4s from `firstColumn` of the matrix. */
  const load = (name: string, block: Block, value: Value, firstRow: string, firstColumn: string) => {
    const read = reader(scope, value);
    const [height, width] = [value.shape[0]!, quarters(widthOf(value))];
    const count = block.rows * block.columns;
    return each(Math.ceil(count / threads), (i) => {
      const at = `${name}At${i}`;
      const [row, column] = [`${at} / ${block.columns}`, `${at} % ${block.columns}`];
      const text = `let ${at}Row = ${firstRow} + ${row};
        let ${at}Column = ${firstColumn} + ${column};
        ${name}[${place(block, row, column)}] = select(vec4<f32>(), ${read(`min(${at}Row, ${height - 1})`, `min(${at}Column, ${width - 1})`)}, ${at}Row < ${height} && ${at}Column < ${width});`;
      return `let ${at} = lane + ${i * threads};\n${count % threads === 0 ? text : `if (${at} < ${count}) { ${text} }`}`;
    });
  };
  const loops = sums.flatMap((terms, sum) =>
    terms.map((term) => {
      const length = lengthOf(form, term);
      const fromA = (row: string, column: string) => `${nameA}[${place(blockA, row, column)}]`;
      const fromB = (row: string, column: string) => `${nameB}[${place(blockB, row, column)}]`;
      const body = {
        NN: () => accumulate(form, sum, tile, (i) => fromA(`ownRow + ${i}`, 'k'), (j, at) => fromB(`4 * k + ${at}`, `ownColumn + ${j}`)), // biome-ignore format: three alike
        NT: () => accumulate(form, sum, tile, (i) => fromA(`ownRow + ${i}`, 'k'), (j) => fromB(`4 * ownColumn + ${j}`, 'k')), // biome-ignore format: three alike
        TN: () => accumulate(form, sum, tile, (i) => fromA('k', `ownRow / 4 + ${i}`), (j) => fromB('k', `ownColumn + ${j}`)), // biome-ignore format: three alike
      }[form]();
      const a = form === 'TN' ? load(nameA, blockA, term.a, 'at', 'firstRow / 4') : load(nameA, blockA, term.a, 'firstRow', 'at / 4');
      const b = form === 'NT' ? load(nameB, blockB, term.b, '4 * firstColumn', 'at / 4') : load(nameB, blockB, term.b, 'at', 'firstColumn');
      return `for (var at = 0; at < ${length}; at += ${depth}) {
        workgroupBarrier();
        ${a}
        ${b}
        workgroupBarrier();
        for (var k = 0; k < ${form === 'TN' ? depth : depth / 4}; k++) {
          ${body}
        }
      }`;
    }),
  );
  return {
    groups: Math.ceil(m / groupRows) * across,
    code: `let firstColumn = group % ${across} * ${groupColumns / 4};
      let firstRow = group / ${across} * ${groupRows};
      let ownColumn = lane % ${groupColumns / columns} * ${columns / 4};
      let ownRow = lane / ${groupColumns / columns} * ${rows};
      let column = firstColumn + ownColumn;
      let row = firstRow + ownRow;
      ${declareSums(product, tile)}
      ${loops.join('\n')}
      ${store(scope, product, tile)}`,
  };
}
