import type { MinerView } from '@starling/protocol';
import { expect, test } from 'vitest';
import { called } from './called.ts';

const miner = (id: string, name: string) => ({ id, name }) as MinerView;

test('miners of an account that are here have their pages, the others their names, and nobody stands there twice', () => {
  const here = new Map([
    ['ab', [miner('m-1', 'kestrel'), miner('m-4', 'osprey')]],
    ['cd', [miner('m-2', '')]],
    ['ef', [miner('m-3', 'wren')]],
    [null, [miner('m-5', 'nobody')]],
  ]);
  expect(called({ devices: ['ab', 'cd', 'gone'], names: ['kestrel', '', 'gull'] }, here)).toEqual([
    { name: 'kestrel', id: 'm-1' },
    { name: 'osprey', id: 'm-4' },
    { name: 'm-2', id: 'm-2' },
    { name: 'gull', id: null },
  ]);
  expect(called({ devices: ['gone'], names: ['wren'] }, here)).toEqual([{ name: 'wren', id: null }]);
  const crowd = Array.from({ length: 9 }, (_, i) => `${i}`);
  const all = new Map(crowd.map((device) => [device, [miner(`m-${device}`, `n${device}`)]]));
  expect(called({ devices: crowd, names: [] }, all)).toHaveLength(5);
});
