/**
 * Yuma Consensus in floating point and dense matrices, from the formulas in docs/chain.md alone, to hold the fixed-point
 * one against. The consensus is searched for directly: the largest weight that κ of the stake supports.
 */
import type { EpochInput } from './types.ts';

export interface ReferenceNeuron {
  stakeWeight: number;
  consensus: number;
  incentive: number;
  dividends: number;
  validatorTrust: number;
  emission: number;
  permit: boolean;
  /** As stored, in [0, 1]. */
  bonds: number[];
}

const total = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
const shares = (values: readonly number[]) => values.map((value) => (total(values) === 0 ? value : value / total(values)));
const column = (matrix: readonly number[][], j: number) => matrix.map((row) => row[j]!);
const perColumn = (matrix: readonly number[][], by: (values: number[]) => number) => {
  const divisors = matrix.map((_, j) => by(column(matrix, j)) || 1);
  return matrix.map((row) => row.map((value, j) => value / divisors[j]!));
};

export function referenceEpoch(input: EpochInput): ReferenceNeuron[] {
  const { neurons, ownerUid, block, parameters } = input;
  const dense = ({ uids, values }: { uids: readonly number[]; values: readonly number[] }) =>
    neurons.map((_, j) => values[uids.indexOf(j)] ?? 0);
  const raw = neurons.map(({ stake }) => Number(stake >> 64n));
  const stake = shares(raw.map((s, i) => (i !== ownerUid && s < Number(parameters.stakeThreshold) ? 0 : s)));
  const permitted = neurons.map(({ permit }, i) => permit || i === ownerUid);
  const staked = shares(stake.map((s, i) => (permitted[i] && neurons[i]!.lastUpdate + parameters.activityCutoff >= block ? s : 0)));

  const weights = neurons.map(({ weights, lastUpdate, committedAt }, i) =>
    shares(
      dense(weights).map((w, j) => {
        const { registeredAt } = neurons[j]!;
        const late = committedAt !== null && committedAt < registeredAt;
        return permitted[i] && (i !== j || i === ownerUid) && lastUpdate > registeredAt && !late ? w : 0;
      }),
    ),
  );
  const kappa = parameters.kappa / 65_535;
  const consensus = neurons.map((_, j) => {
    const supported = column(weights, j).filter((w) => total(staked.filter((_, i) => weights[i]![j]! >= w)) >= kappa);
    return Math.max(0, ...supported.filter((_) => total(staked) > 0));
  });
  const clipped = weights.map((row) => row.map((w, j) => Math.min(w, consensus[j]!)));
  const incentive = shares(neurons.map((_, j) => total(clipped.map((row, i) => staked[i]! * row[j]!))));
  const penalty = parameters.bondsPenalty / 65_535;
  const followed = weights.map((row, i) => row.map((w, j) => w + penalty * (clipped[i]![j]! - w)));

  const lastTempo = input.lastMechanismStep === 0 ? block - parameters.tempo : input.lastMechanismStep + 1;
  const old = neurons.map(({ bonds }) => dense(bonds).map((b, j) => (lastTempo > neurons[j]!.registeredAt ? b / 65_535 : 0)));
  const alpha = 1 - parameters.bondsMovingAverage / 1e6;
  let bonds: number[][];
  let dividends: number[];
  if (parameters.yuma3) {
    const liquid = parameters.liquidAlpha;
    bonds = followed.map((row, i) =>
      row.map((w, j) => {
        const b = old[i]![j]!;
        if (!liquid) return alpha * w + (1 - alpha) * b;
        if (w === 0) return 0;
        const [low, high] = [liquid.low / 65_535, liquid.high / 65_535];
        const difference = Math.min(1, Math.max(0, w >= b ? w - consensus[j]! : b - w));
        const a = low + (high - low) / (1 + Math.exp((-liquid.steepness / 100) * (difference - 0.5)));
        return Math.min(1, a * w + (1 - a) * b);
      }),
    );
    const held = perColumn(bonds, total);
    dividends = shares(held.map((row, i) => staked[i]! * total(row.map((b, j) => b * incentive[j]!))));
  } else {
    const before = perColumn(old, total);
    const bought = perColumn(
      followed.map((row, i) => row.map((w) => w * staked[i]!)),
      total,
    );
    const held = perColumn(
      bought.map((row, i) => row.map((b, j) => alpha * b + (1 - alpha) * before[i]![j]!)),
      total,
    );
    dividends = shares(held.map((row) => total(row.map((b, j) => b * incentive[j]!))));
    bonds = perColumn(held, (values) => Math.max(...values));
  }
  const combined = shares(incentive.map((share, i) => share + dividends[i]!));
  const byStake = total(staked) === 0 ? stake : staked;
  const last = [...stake.keys()].sort((a, b) => stake[b]! - stake[a]! || b - a).slice(0, parameters.maxValidators);
  return neurons.map((_, i) => ({
    stakeWeight: stake[i]!,
    consensus: consensus[i]!,
    incentive: incentive[i]!,
    dividends: dividends[i]!,
    validatorTrust: total(clipped[i]!),
    emission: (total(combined) === 0 ? byStake : combined)[i]!,
    permit: i === ownerUid || (stake[i]! > 0 && last.includes(i)),
    bonds: bonds[i]!,
  }));
}
