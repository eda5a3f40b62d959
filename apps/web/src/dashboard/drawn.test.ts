import type { MinerView } from '@starling/protocol';
import { expect, test } from 'vitest';
import { drawnOf } from './drawn.ts';

const miners = Array.from({ length: 1_250 }, (_, i) => ({ id: `m-${i}` }) as MinerView);
const ids = (own: string | null) => drawnOf(miners, own).map(({ id }) => id);

test('of a full stage a few are drawn, and this tab’s miner is always one of them', () => {
  expect(ids(null)).toEqual(miners.slice(0, 30).map(({ id }) => id));
  expect(ids('m-7')).toEqual(ids(null));
  expect(ids('m-900')).toHaveLength(30);
  expect(ids('m-900')).toContain('m-900');
  expect(drawnOf(miners.slice(0, 12), null)).toHaveLength(12);
});
