import type { MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { expect, test } from 'vitest';
import { csvOfRanks, filtered, ordered, ranked } from './rank.ts';

const miner = (id: string, name: string, tokens: number, device: string | null) =>
  ({
    id,
    name,
    device,
    tokens,
    stage: 0,
    activity: 'forward',
    adapter: 'GPU',
    tokensPerSecond: tokens / 10,
    microbatches: 1,
    rejected: 0,
  }) as MinerView;
const run = {
  stages: [
    { miners: [miner('m-1', 'kestrel', 100, 'ab'), miner('m-2', 'a "b", c', 300, 'cd')] },
    { miners: [miner('m-3', '', 200, null)] },
  ],
} as unknown as Pick<RunSnapshot, 'stages'>;
const pay = [{ address: '5Kestrel', names: ['kestrel'], devices: ['ab'], uid: 7, score: 9, emission: '1000' }] as unknown as PayView[];

test('scores come first, then tokens', () => {
  expect(ranked(run, pay).map(({ rank, miner: { id } }) => [rank, id])).toEqual([
    [1, 'm-1'],
    [2, 'm-2'],
    [3, 'm-3'],
  ]);
});

test('a name is nobody’s: whoever takes another’s does not get its account', () => {
  const both = { stages: [{ miners: [miner('m-8', 'kestrel', 900, 'ef'), miner('m-9', 'kestrel', 900, null)] }, ...run.stages] };
  const lines = ranked(both as unknown as Pick<RunSnapshot, 'stages'>, pay);
  expect(lines.filter(({ account }) => account).map(({ miner: { id } }) => id)).toEqual(['m-1']);
});

test('all miners of an account have it, however many there are', () => {
  const crew = Array.from({ length: 9 }, (_, i) => miner(`m-${i}`, `n${i}`, 1, `d${i}`));
  const account = { ...pay[0]!, devices: crew.map(({ device }) => device!), names: ['n0'] };
  expect(ranked({ stages: [{ miners: crew }] } as unknown as Pick<RunSnapshot, 'stages'>, [account]).every((line) => line.account)).toBe(
    true,
  );
});

test('any column orders them, either way', () => {
  const lines = ranked(run, pay);
  const ids = (key: 'tokens' | 'name' | 'score', descending: boolean) => ordered(lines, { key, descending }).map(({ miner: { id } }) => id);
  expect(ids('tokens', true)).toEqual(['m-2', 'm-3', 'm-1']);
  expect(ids('name', false)).toEqual(['m-2', 'm-1', 'm-3']);
  expect(ids('score', true)).toEqual(['m-1', 'm-2', 'm-3']);
});

test('they are found by name, id, UID or address', () => {
  const lines = ranked(run, pay);
  for (const query of ['KEST', 'uid 7', '5kes', 'm-1']) expect(filtered(lines, query).map(({ miner: { id } }) => id)).toEqual(['m-1']);
  for (const query of ['uid 70', 'undefined', 'null', 'uid 1']) expect(filtered(lines, query), query).toEqual([]);
  expect(filtered(lines, ' ')).toHaveLength(3);
});

test('a spreadsheet reads every name as it is', () => {
  const [head, , second] = csvOfRanks(ranked(run, pay)).split('\r\n');
  expect(head!.split(',')).toHaveLength(13);
  expect(second).toBe('2,"a ""b"", c",m-2,0,forward,30,1,300,0,,,0,0');
});
