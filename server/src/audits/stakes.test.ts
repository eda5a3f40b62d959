/** What a device would lose with a step: a lie in it is worth nothing when the chance that it is found is its share of that. */
import type { LeaseKind } from '@starling/protocol';
import { expect, it } from 'vitest';
import { stakesIn } from './stakes.ts';
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

it('is what its device did in the step, and all that it would lose with it; of a device whose work does not count nothing', () => {
  const step = scene(0, ['a1', 'forward'], ['a1', 'backward'], ['b1', 'forward'], ['c1', 'forward']);
  const stake = stakesIn(step, [], parts({ a: 1 + 96, b: 1 }));
  expect(['a1', 'b1', 'c1'].map(stake)).toEqual([{ work: 4, held: 96 }, { work: 1, held: 0 }, null]);
});

it('counts nothing as held that is not drawn yet, of whichever of the device’s miners, and all that the device did in the step', () => {
  const step = scene(0, ['a1', 'backward'], ['a2', 'forward']);
  const other = scene(1, ['a3', 'forward'], ['a3', 'backward'], ['b1', 'forward']);
  const stake = stakesIn(step, [other], parts({ a: 10 }));
  // The forward of `a2` and that of `a3`, which costs 2.
  const all = { work: 3 + 1, held: 10 - 1 - 2 };
  expect([stake('a1'), stake('a2')]).toEqual([all, all]);
});
