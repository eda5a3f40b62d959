/**
 * Matrices of validators × neurons with few entries, row by row, as the chain stores weights and bonds. Functions return
 * new matrices; where no entry goes, the rows' uids are shared.
 */
import { div, type Fixed, mul, sum } from './fixed.ts';

/** `values[k]` belongs to column `uids[k]`. */
export interface SparseRow {
  readonly uids: readonly number[];
  readonly values: readonly number[];
}

export type SparseMatrix = readonly SparseRow[];

export const EMPTY_ROW: SparseRow = { uids: [], values: [] };

/** The entries that `keep` wants. */
export function filter(matrix: SparseMatrix, keep: (row: number, uid: number) => boolean): SparseMatrix {
  return matrix.map((row, i) => filterRow(row, (uid) => keep(i, uid)));
}

export function filterRow({ uids, values }: SparseRow, keep: (uid: number) => boolean): SparseRow {
  const kept: { uids: number[]; values: number[] } = { uids: [], values: [] };
  for (let k = 0; k < uids.length; k++) {
    if (!keep(uids[k]!)) continue;
    kept.uids.push(uids[k]!);
    kept.values.push(values[k]!);
  }
  return kept;
}

/** Entries of a dense row that are greater than 0, by uid. */
export function sparseRow(dense: ArrayLike<number>): SparseRow {
  const row: { uids: number[]; values: number[] } = { uids: [], values: [] };
  for (let uid = 0; uid < dense.length; uid++) {
    if (!(dense[uid]! > 0)) continue;
    row.uids.push(uid);
    row.values.push(dense[uid]!);
  }
  return row;
}

/** The row over all `n` columns, 0 where it has no entry. */
export function denseRow({ uids, values }: SparseRow, n: number): number[] {
  const dense = new Array<number>(n).fill(0);
  for (let k = 0; k < uids.length; k++) dense[uids[k]!] = values[k]!;
  return dense;
}

export function normaliseRows(matrix: SparseMatrix): SparseMatrix {
  return matrix.map(({ uids, values }) => {
    const total = sum(values);
    return { uids, values: total > 0 ? values.map((value) => div(value, total)) : values };
  });
}

/** Every column divided by its sum; columns of zeros stay. */
export function normaliseColumns(matrix: SparseMatrix, n: number): SparseMatrix {
  const totals = new Float64Array(n);
  for (const { uids, values } of matrix) for (let k = 0; k < uids.length; k++) totals[uids[k]!]! += values[k]!;
  return divideColumns(matrix, totals);
}

/** Every column divided by its largest entry; columns of zeros stay. */
export function upscaleColumns(matrix: SparseMatrix, n: number): SparseMatrix {
  const largest = new Float64Array(n);
  for (const { uids, values } of matrix)
    for (let k = 0; k < uids.length; k++) if (values[k]! > largest[uids[k]!]!) largest[uids[k]!] = values[k]!;
  return divideColumns(matrix, largest);
}

function divideColumns(matrix: SparseMatrix, by: Float64Array): SparseMatrix {
  return matrix.map(({ uids, values }) => ({
    uids,
    values: values.map((value, k) => (by[uids[k]!] === 0 ? value : div(value, by[uids[k]!]!))),
  }));
}

/** Every row times its factor. */
export function scaleRows(matrix: SparseMatrix, factors: readonly Fixed[]): SparseMatrix {
  return matrix.map(({ uids, values }, i) => ({ uids, values: values.map((value) => mul(value, factors[i]!)) }));
}

export function rowSums(matrix: SparseMatrix): Fixed[] {
  return matrix.map(({ values }) => sum(values));
}

/** Σ_i vector_i · m_ij for every column j, [n]. */
export function columnsWeighted(matrix: SparseMatrix, vector: readonly Fixed[], n: number): Fixed[] {
  const result = new Array<Fixed>(n).fill(0);
  matrix.forEach(({ uids, values }, i) => {
    for (let k = 0; k < uids.length; k++) result[uids[k]!]! += mul(vector[i]!, values[k]!);
  });
  return result;
}

/** Σ_j m_ij · vector_j for every row i. */
export function rowsWeighted(matrix: SparseMatrix, vector: readonly Fixed[]): Fixed[] {
  return matrix.map(({ uids, values }) => {
    let total = 0;
    for (let k = 0; k < uids.length; k++) total += mul(vector[uids[k]!]!, values[k]!);
    return total;
  });
}
