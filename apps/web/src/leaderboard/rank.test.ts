import type { MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { expect, test } from 'vitest';
import { csvOfRanks, filtered, ordered, type Ranked, ranked } from './rank.ts';

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

const idOf = ({ miner: of }: Ranked) => of?.id ?? null;

test('scores come first, then tokens', () => {
  expect(ranked(run, pay, []).map((line) => [line.rank, idOf(line)])).toEqual([
    [1, 'm-1'],
    [2, 'm-2'],
    [3, 'm-3'],
  ]);
});

test('a name is nobody’s: whoever takes another’s does not get its account', () => {
  const both = { stages: [{ miners: [miner('m-8', 'kestrel', 900, 'ef'), miner('m-9', 'kestrel', 900, null)] }, ...run.stages] };
  const lines = ranked(both as unknown as Pick<RunSnapshot, 'stages'>, pay, []);
  expect(lines.filter(({ account }) => account).map(idOf)).toEqual(['m-1']);
});

test('all miners of an account have it, however many there are', () => {
  const crew = Array.from({ length: 9 }, (_, i) => miner(`m-${i}`, `n${i}`, 1, `d${i}`));
  const account = { ...pay[0]!, devices: crew.map(({ device }) => device!), names: ['n0'] };
  expect(
    ranked({ stages: [{ miners: crew }] } as unknown as Pick<RunSnapshot, 'stages'>, [account], []).every((line) => line.account),
  ).toBe(true);
});

test('an account has one place, one score and one emission, however many mine for it', () => {
  const score = (devices: string[], of: number, uid: number) => ({ ...pay[0]!, address: `5A${uid}`, names: [], devices, uid, score: of });
  const all = [score(['cd'], 30, 1), score(['ab', 'gh'], 20, 2), score(['ef'], 10, 3)];
  const crew = [miner('m-1', 'one', 100, 'ab'), miner('m-2', 'two', 300, 'cd'), miner('m-3', 'three', 200, 'ef')];
  const second = { ...miner('m-4', 'four', 900, 'gh'), stage: null };
  const lines = ranked({ stages: [{ miners: crew }] } as unknown as Pick<RunSnapshot, 'stages'>, all, [second]);
  expect(lines.map((line) => [line.rank, idOf(line)])).toEqual([
    [1, 'm-2'],
    [2, 'm-4'],
    [2, 'm-1'],
    [3, 'm-3'],
  ]);
  // Whatever is shown, and in which order: a column adds up to what was earned.
  const earned = (shown: readonly Ranked[]) =>
    csvOfRanks(shown)
      .trimEnd()
      .split('\r\n')
      .slice(1)
      .map((line) => [line.split(',')[2], ...line.split(',').slice(-3)]);
  expect(earned(lines)).toEqual([
    ['m-2', '5A1', '30', '1000'],
    ['m-4', '5A2', '20', '1000'],
    ['m-1', '5A2', '', ''],
    ['m-3', '5A3', '10', '1000'],
  ]);
  expect(earned(ordered(lines, { key: 'tokens', descending: false }))).toEqual([
    ['m-1', '5A2', '20', '1000'],
    ['m-3', '5A3', '10', '1000'],
    ['m-2', '5A1', '30', '1000'],
    ['m-4', '5A2', '', ''],
  ]);
  expect(earned(filtered(lines, 'm-1'))).toEqual([['m-1', '5A2', '20', '1000']]);
});

test('accounts of one score are in the order of their work, as the server ranks them', () => {
  const both = [1, 2].map((uid) => ({ ...pay[0]!, address: `5A${uid}`, devices: [`d${uid}`], score: 9, work: uid === 1 ? 80 : 70 }));
  const crew = [miner('m-2', '', 900, 'd2'), miner('m-1', '', 100, 'd1')];
  const lines = ranked({ stages: [{ miners: crew }] } as unknown as Pick<RunSnapshot, 'stages'>, both, []);
  expect(lines.map(idOf)).toEqual(['m-1', 'm-2']);
});

test('any column orders them, either way', () => {
  const lines = ranked(run, pay, []);
  const ids = (key: 'tokens' | 'name' | 'score', descending: boolean) => ordered(lines, { key, descending }).map(idOf);
  expect(ids('tokens', true)).toEqual(['m-2', 'm-3', 'm-1']);
  expect(ids('name', false)).toEqual(['m-2', 'm-1', 'm-3']);
  expect(ids('score', true)).toEqual(['m-1', 'm-2', 'm-3']);
});

test('they are found by name, id, UID or address', () => {
  const lines = ranked(run, pay, []);
  for (const query of ['KEST', 'uid 7', '5kes', 'm-1']) expect(filtered(lines, query).map(idOf)).toEqual(['m-1']);
  for (const query of ['uid 70', 'undefined', 'null', 'uid 1']) expect(filtered(lines, query), query).toEqual([]);
  expect(filtered(lines, ' ')).toHaveLength(3);
  // An id is random: what is in the middle of it means nobody.
  const hidden = ranked({ stages: [{ miners: [miner('m-37f6-3', 'wren', 1, 'ab')] }] } as unknown as Pick<RunSnapshot, 'stages'>, [], []);
  expect(filtered(hidden, '3')).toEqual([]);
  expect(filtered(hidden, 'm-37')).toEqual(hidden);
});

test('who left keeps its place, by what it did and what it earned', () => {
  const gone = [
    { ...miner('m-5', 'gull', 250, 'ef'), stage: null },
    { ...miner('m-6', '', 150, null), stage: null },
  ];
  const earned = [...pay, { ...pay[0]!, address: '5Gull', names: ['gull'], devices: ['ef'], uid: 3, score: 20 }];
  const lines = ranked(run, earned, gone);
  expect(lines.map((line) => [idOf(line), line.here])).toEqual([
    ['m-5', false],
    ['m-1', true],
    ['m-2', true],
    ['m-3', true],
    ['m-6', false],
  ]);
  expect(lines[0]).toMatchObject({ name: 'gull', account: { uid: 3 } });
  expect(filtered(lines, 'UID 3')).toEqual([lines[0]]);
  const [, first] = csvOfRanks(lines).split('\r\n');
  expect(first).toBe('1,gull,m-5,no,,,25,1,250,0,3,5Gull,20,1000');
});

test('of whom nothing else is remembered, its account stands there; nobody stands there twice', () => {
  const account = { ...pay[0]!, address: '5Long1234567ago', names: [], devices: ['gh'], uid: 4, score: 50 };
  // It came back as m-1, with the key that it had.
  const before = { ...miner('m-0', 'kestrel', 50, 'ab'), stage: null };
  const lines = ranked(run, [...pay, account], [before, run.stages[0]!.miners[1]!]);
  expect(lines.map((line) => idOf(line))).toEqual([null, 'm-1', 'm-2', 'm-3']);
  expect(lines[0]).toMatchObject({ rank: 1, here: false, name: '5Long1…7ago' });
  expect(filtered(lines, '5long')).toEqual([lines[0]]);
  expect(ordered(lines, { key: 'tokens', descending: true }).at(-1)).toBe(lines[0]);
  expect(csvOfRanks(lines)).toContain('1,5Long1…7ago,,no,,,,,,,4,5Long1234567ago,50,1000');
});

test('a spreadsheet reads every name as it is', () => {
  const [head, , second] = csvOfRanks(ranked(run, pay, [])).split('\r\n');
  expect(head!.split(',')).toHaveLength(14);
  expect(second).toBe('2,"a ""b"", c",m-2,yes,0,forward,30,1,300,0,,,0,0');
});
