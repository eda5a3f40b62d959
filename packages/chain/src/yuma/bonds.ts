/** Bonds of validators on neurons, and the dividends they bring: Yuma2 and Yuma3. */
import { div, type Fixed, mul, normalise, ONE, toU16, U16_MAX } from './fixed.ts';
import { liquidAlpha, readAscending } from './liquid-alpha.ts';
import {
  filter,
  normaliseColumns,
  rowsWeighted,
  type SparseMatrix,
  type SparseRow,
  scaleRows,
  sparseRow,
  upscaleColumns,
} from './sparse.ts';
import type { EpochInput, LiquidAlpha } from './types.ts';

export interface Bonds {
  /** Shares, [n]. */
  dividends: Fixed[];
  /** As they are stored: u16. */
  stored: SparseMatrix;
}

export interface BondsInput {
  epoch: EpochInput;
  /** Weights that bonds follow: those set, or clipped, or between. */
  weights: SparseMatrix;
  activeStake: readonly Fixed[];
  incentive: readonly Fixed[];
  consensus: readonly Fixed[];
}

/** Bonds stored before, without those on neurons that were registered since the last epoch: plain u16. */
function oldBonds({ neurons, block, lastMechanismStep, parameters }: EpochInput): SparseMatrix {
  const lastTempo = lastMechanismStep === 0 ? Math.max(0, block - parameters.tempo) : lastMechanismStep + 1;
  const stored = neurons.map(({ bonds }) => bonds);
  return filter(stored, (_, uid) => lastTempo > neurons[uid]!.registeredAt);
}

/** Share of the new in the moving average. */
export const fixedAlpha = (movingAverage: number): Fixed => ONE - Math.floor((movingAverage * ONE) / 1_000_000);

/** Bonds are shares of a neuron and sum to 1 over the validators. */
export function yuma2({ epoch, weights, activeStake, incentive }: BondsInput): Bonds {
  const n = epoch.neurons.length;
  const old = normaliseColumns(oldBonds(epoch), n);
  const bought = normaliseColumns(scaleRows(weights, activeStake), n);
  const bonds = normaliseColumns(movingAverage(bought, old, fixedAlpha(epoch.parameters.bondsMovingAverage), n), n);
  return { dividends: normalise(rowsWeighted(bonds, incentive)), stored: toStored(upscaleColumns(bonds, n)) };
}

/** Bonds follow weights, each validator's own, and stake comes in only with the dividends. */
export function yuma3({ epoch, weights, activeStake, incentive, consensus }: BondsInput): Bonds {
  const n = epoch.neurons.length;
  const { bondsMovingAverage, liquidAlpha: liquid } = epoch.parameters;
  const old = oldBonds(epoch).map(({ uids, values }) => ({ uids, values: values.map((value) => div(value, U16_MAX)) }));
  const bonds =
    liquid && consensus.some((share) => share !== 0)
      ? liquidAverage(weights, old, consensus, liquid)
      : movingAverage(weights, old, fixedAlpha(bondsMovingAverage), n);
  const earned = rowsWeighted(normaliseColumns(bonds, n), incentive);
  return { dividends: normalise(earned.map((share, i) => mul(share, activeStake[i]!))), stored: toStored(bonds) };
}

/** α · new + (1 − α) · old (`mat_ema_sparse`). */
export function movingAverage(fresh: SparseMatrix, old: SparseMatrix, alpha: Fixed, n: number): SparseMatrix {
  const dense = new Float64Array(n);
  return fresh.map((row, i) => {
    dense.fill(0);
    addScaled(dense, row, alpha);
    addScaled(dense, old[i]!, ONE - alpha);
    return sparseRow(dense);
  });
}

function addScaled(dense: Float64Array, { uids, values }: SparseRow, factor: Fixed): void {
  for (let k = 0; k < uids.length; k++) dense[uids[k]!]! += mul(factor, values[k]!);
}

/** The same with an α for every pair, at most 1, and only where there is a weight: other bonds vanish (`mat_ema_alpha_sparse`). */
function liquidAverage(weights: SparseMatrix, old: SparseMatrix, consensus: readonly Fixed[], settings: LiquidAlpha): SparseMatrix {
  const [weightsOf, bondsOf] = [new Float64Array(consensus.length), new Float64Array(consensus.length)];
  const alphaOf = liquidAlpha(settings);
  return weights.map((row, i) => {
    if (row.uids.length === 0) return row;
    const weightAt = readAscending(row, weightsOf);
    const bondAt = readAscending(old[i]!, bondsOf);
    return averageRow(row, bondAt, (uid) => alphaOf(weightAt[uid]!, bondAt[uid]!, consensus[uid]!));
  });
}

/** One row of `mat_ema_alpha_sparse`; `bondAt` is over all columns. */
export function averageRow({ uids, values }: SparseRow, bondAt: ArrayLike<Fixed>, alphaOf: (uid: number) => Fixed): SparseRow {
  const bonds: { uids: number[]; values: number[] } = { uids: [], values: [] };
  uids.forEach((uid, k) => {
    const alpha = alphaOf(uid);
    const bond = Math.min(ONE, mul(ONE - alpha, bondAt[uid]!) + Math.max(0, mul(alpha, values[k]!)));
    if (bond <= 0) return;
    bonds.uids.push(uid);
    bonds.values.push(bond);
  });
  return bonds;
}

const toStored = (bonds: SparseMatrix): SparseMatrix => bonds.map(({ uids, values }) => ({ uids, values: values.map(toU16) }));
