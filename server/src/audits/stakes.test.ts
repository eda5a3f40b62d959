/** A lie is worth nothing when its chance to be found is its work's share of all that is lost then. */
import type { LeaseKind } from '@starling/protocol';
import { expect, it } from 'vitest';
import { ratesAtStake } from './stakes.ts';
import type { Scene } from './witness.ts';

const FLOPS = { forward: 1, backward: 3, evaluate: 1 };
/** Miners `a1`, `a2`, … are of device `a`. */
const parts = (stakes: Record<string, number>) => ({
  ownerOf: (minerId: string) => minerId.slice(0, 1),
  flopsOf: ({ kind, stage }: { kind: LeaseKind; stage: number }) => (1 + stage) * FLOPS[kind],
  stakes: () => new Map(Object.entries(stakes)),
});
const scene = (stage: number, ...receipts: [minerId: string, kind: LeaseKind][]): Scene => ({
  ...{ stage, version: 0, parameters: new Float32Array(), parameterHash: '' },
  receipts: receipts.map(([minerId, kind]) => ({ minerId, kind }) as Scene['receipts'][number]),
});

it('is the share of the step in all that its device would lose with it; of a device whose work does not count it is 0', () => {
  const step = scene(0, ['a1', 'forward'], ['a1', 'backward'], ['b1', 'forward'], ['c1', 'forward']);
  const rate = ratesAtStake(step, [], parts({ a: 1 + 96, b: 1 }));
  expect(['a1', 'b1', 'c1'].map(rate)).toEqual([4 / (96 + 4), 1, 0]);
});

it('counts nothing as held that is not drawn yet, of whichever of the device’s miners, and all that the device did in the step', () => {
  const step = scene(0, ['a1', 'backward'], ['a2', 'forward']);
  const other = scene(1, ['a3', 'forward'], ['a3', 'backward'], ['b1', 'forward']);
  const rate = ratesAtStake(step, [other], parts({ a: 10 }));
  // The forward of `a2` and that of `a3`, which costs 2.
  const share = (3 + 1) / (10 - 1 - 2 + 3 + 1);
  expect([rate('a1'), rate('a2')]).toEqual([share, share]);
});
