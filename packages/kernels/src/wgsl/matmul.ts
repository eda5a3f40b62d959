/**
 * `op(A) · op(B)` by register tiles: an invocation owns 4 rows × 4 columns of the product.
 * The sum over L runs in ascending order in one invocation, so the bits never change between calls
 * (a split-K product with atomics would be quicker for few, long rows, and change them).
 */
import type { Shader } from './shader.ts';

export interface MatmulSizes {
  /** Rows of the product. */
  m: number;
  /** Columns of the product. */
  n: number;
  /** Length of the sum. */
  l: number;
}

const TILE = [0, 1, 2, 3];
const each = (line: (i: number) => string) => TILE.map(line).join('\n');

export function matmulShader({ m, n, l }: MatmulSizes, transposeA: boolean, transposeB: boolean): Shader {
  const kind = `${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`;
  const wide = n % 4 === 0 && (kind === 'TN' ? m % 4 === 0 : kind !== 'TT' && l % 4 === 0);
  const components = wide ? 4 : 1;
  return {
    name: `matmul ${kind}${wide ? ' wide' : ''}`,
    constants: { M: m, N: n, L: l },
    inputs: { A: components, B: components },
    outputShape: [m, n],
    outputComponents: components,
    invocations: Math.ceil(m / 4) * Math.ceil(n / 4),
    code: wide ? wideCode(kind) : narrowCode(transposeA, transposeB),
  };
}

/** All inner sizes are multiples of 4: memory is read as vec4. Rows past the end are read again and not stored. */
function wideCode(kind: string): string {
  const inner = {
    NN: `for (var k = 0; k < L / 4; k++) {
      ${each((i) => `let b${i} = B[(4 * k + ${i}) * (N / 4) + column];`)}
      ${each((i) => `let a${i} = A[row${i} * (L / 4) + k];`)}
      ${each((i) => `s${i} += a${i}.x * b0 + a${i}.y * b1 + a${i}.z * b2 + a${i}.w * b3;`)}
    }`,
    NT: `for (var k = 0; k < L / 4; k++) {
      ${each((i) => `let b${i} = B[(4 * column + ${i}) * (L / 4) + k];`)}
      ${each((i) => `let a${i} = A[row${i} * (L / 4) + k];`)}
      ${each((i) => `s${i} += vec4<f32>(dot(a${i}, b0), dot(a${i}, b1), dot(a${i}, b2), dot(a${i}, b3));`)}
    }`,
    TN: `for (var k = 0; k < L; k++) {
      let a = A[k * (M / 4) + row / 4];
      let b = B[k * (N / 4) + column];
      ${each((i) => `s${i} += a[${i}] * b;`)}
    }`,
  }[kind];
  return `
    let column = index % (N / 4);
    let row = index / (N / 4) * 4;
    ${each((i) => `let row${i} = min(row + ${i}, M - 1); var s${i} = vec4<f32>(0.0);`)}
    ${inner}
    ${each((i) => `if (row + ${i} < M) { result[row${i} * (N / 4) + column] = s${i}; }`)}`;
}

/** Any sizes, one float at a time. */
function narrowCode(transposeA: boolean, transposeB: boolean): string {
  const a = (row: string) => (transposeA ? `A[k * M + ${row}]` : `A[${row} * L + k]`);
  const b = (column: string) => (transposeB ? `B[${column} * L + k]` : `B[k * N + ${column}]`);
  const store = (i: number, j: number) => `if (row + ${i} < M && column + ${j} < N) { result[row${i} * N + column${j}] = s${i}[${j}]; }`;
  return `
    let column = index % ((N + 3) / 4) * 4;
    let row = index / ((N + 3) / 4) * 4;
    ${each((i) => `let row${i} = min(row + ${i}, M - 1); let column${i} = min(column + ${i}, N - 1); var s${i} = vec4<f32>(0.0);`)}
    for (var k = 0; k < L; k++) {
      let b = vec4<f32>(${TILE.map((j) => b(`column${j}`)).join(', ')});
      ${each((i) => `s${i} += ${a(`row${i}`)} * b;`)}
    }
    ${each((i) => TILE.map((j) => store(i, j)).join('\n'))}`;
}
