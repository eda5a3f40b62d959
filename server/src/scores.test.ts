import { splitMix32 } from '@starling/model';
import type { RoundWork } from '@starling/protocol';
import { expect, it } from 'vitest';
import { DECAY, HALF_LIFE_TEMPOS, NO_TALLY, tallyAfter, tallyOf } from './scores.ts';

const HOLD = 2;
/** A line in which each of these devices did so much, by a miner of the same name. */
const line = (round: number, work: Record<string, number>, convicted: string[] = []): RoundWork => ({
  ...{ round, step: round, time: round, hold: HOLD, convicted },
  miners: Object.entries(work).map(([device, flops]) => ({ minerId: `miner of ${device}`, name: device, device, flops })),
});
const scoresOf = (lines: RoundWork[]) => Object.fromEntries([...tallyOf(lines).scores].map(([device, { score }]) => [device, score]));

it('work counts when it was held for its rounds, and is worth half as much with every round after that', () => {
  const lines = [1, 2, 3, 4].map((round) => line(round, { a: 100 * round }));
  expect(scoresOf(lines.slice(0, 2))).toEqual({ a: 0 });
  expect(scoresOf(lines.slice(0, 3))).toEqual({ a: 100 });
  expect(scoresOf(lines)).toEqual({ a: 100 * DECAY + 200 });
  expect(tallyOf(lines).scores.get('a')).toMatchObject({ work: 300, roundWork: 400 });
});

it('by time where lines state a half-life, whatever rounds take, and however a clock is set', () => {
  const at = (round: number, time: number, work: Record<string, number>): RoundWork => ({
    ...line(round, work),
    hold: 0,
    halfLife: 100,
    time,
  });
  const lines = [at(1, 1_000, { a: 8 }), at(2, 1_050, {}), at(3, 1_100, { b: 1 }), at(4, 1_300, {}), at(5, 900, {})];
  expect(scoresOf(lines.slice(0, 3))).toEqual({ a: expect.closeTo(4, 10), b: 1 });
  expect(scoresOf(lines)).toEqual({ a: expect.closeTo(1, 10), b: 0.25 });
  const old = { ...line(1, { a: 8 }), hold: 0 };
  expect(scoresOf([old, { ...line(2, {}), time: 2, hold: 0 }, at(3, 102, {})]), 'old lines by the old rule').toEqual({
    a: 8 * DECAY * DECAY,
  });
});

it('the same work is paid alike whenever in a tempo it is done, but for the factor that the half-life leaves', () => {
  const [ROUNDS, TEMPOS, ROUND_MS] = [40, 60, 108_000]; // subnet 9: 72 minutes
  const halfLife = HALF_LIFE_TEMPOS * ROUNDS * ROUND_MS;
  const next = splitMix32(7);
  const sometimes = Array.from({ length: ROUNDS }, () => next() % 100);
  const perTempo = sometimes.reduce((all, part) => all + part, 0);
  /** What each device does in a round of a tempo: as much as the others in all of it. */
  const doneIn = (round: number) => ({
    steady: perTempo / ROUNDS,
    first: round === 0 ? perTempo : 0,
    last: round === ROUNDS - 1 ? perTempo : 0,
    sometimes: sometimes[round]!,
  });
  const earned: Record<string, number> = {};
  let tally = NO_TALLY;
  for (let round = 0; round < ROUNDS * TEMPOS; round++) {
    tally = tallyAfter(tally, { ...line(round, doneIn(round % ROUNDS)), time: round * ROUND_MS, halfLife });
    if (round % ROUNDS < ROUNDS - 1) continue;
    const total = [...tally.scores.values()].reduce((all, { score }) => all + score, 0);
    for (const [device, { score }] of tally.scores) earned[device] = (earned[device] ?? 0) + score / total;
  }
  const all = Object.values(earned);
  expect(Object.keys(earned)).toHaveLength(4);
  expect(Math.max(...all) / Math.min(...all)).toBeLessThan(2 ** (1 / HALF_LIFE_TEMPOS));
});

it('a miner that is found false loses all of its that is held, and nothing that counts', () => {
  const lines = [line(1, { a: 10, b: 1 }), line(2, { a: 20, b: 2 }), line(3, { a: 40, b: 4 }, ['miner of a']), line(4, { a: 80, b: 8 })];
  // Round 1 would have counted with line 3.
  expect(scoresOf(lines)).toEqual({ a: 0, b: 0.5 + 2 });
  expect(scoresOf([...lines, line(5, {}), line(6, {})])).toEqual({ a: 80, b: (0.5 + 2) / 4 + 4 / 2 + 8 });
});

it('a shorter hold lets everything through that waited longer', () => {
  const before = [line(1, { a: 1 }), line(2, { a: 2 })].reduce(tallyAfter, NO_TALLY);
  expect(tallyAfter(before, { ...line(3, { a: 4 }), hold: 0 }).scores.get('a')).toMatchObject({ score: 7, work: 7 });
});

it('who has no key, or did nothing, has no score', () => {
  const tally = tallyOf([
    { ...line(1, { a: 0 }), hold: 0 },
    { ...line(2, {}), hold: 0, miners: [{ minerId: 'm', name: 'm', device: null, flops: 9 }] },
  ]);
  expect([...tally.scores].map(([device, { score }]) => [device, score])).toEqual([['a', 0]]);
});

it('a device that is found false loses what all its miners hold, whoever of them it was, and by whichever name', () => {
  const tabs = (round: number, of: RoundWork['convicted']): RoundWork => ({
    ...line(round, { b: 1 }, of),
    miners: ['a1', 'a2'].map((minerId) => ({ minerId, name: minerId, device: 'a', flops: 8 })),
  });
  for (const name of ['a', 'a1', 'a2']) {
    const lines = [tabs(1, []), tabs(2, [name]), line(3, { a: 4 }), line(4, {}), line(5, {})];
    expect(scoresOf(lines), name).toEqual({ a: 4 });
  }
});

it('where there are audits, work counts after the round of the first passed one, and anew after a conviction', () => {
  const round = (number: number, passed: string[], convicted: string[] = []): RoundWork => ({
    ...line(number, { a: 10 ** number, b: 1 }, convicted),
    ...{ hold: 0, passed },
  });
  const work = (lines: RoundWork[]) => Object.fromEntries([...tallyOf(lines).scores].map(([device, one]) => [device, one.work]));
  const lines = [round(1, []), round(2, ['a']), round(3, []), round(4, ['a'], ['a']), round(5, []), round(6, ['a']), round(7, [])];
  expect(work(lines.slice(0, 2))).toEqual({ a: 0, b: 0 });
  expect(work(lines.slice(0, 3))).toEqual({ a: 1e3, b: 0 });
  // Found false in the fourth, which it loses; a pass of the same round proves nothing.
  expect(work(lines), 'who never passed is never paid').toEqual({ a: 1e3 + 1e7, b: 0 });
  expect(tallyOf(lines.slice(0, 2)).held).toEqual([]);
});

it('what could not be verified is taken of what is held, the oldest first, and then of what comes; of who is not proven nothing', () => {
  const held = (number: number, work: Record<string, number>, unverified: Record<string, number> = {}): RoundWork => ({
    ...line(number, work),
    ...{ hold: 2, passed: number === 1 ? ['a', 'b'] : [], unverified },
  });
  const lines = [held(1, {}), held(2, { a: 5, b: 5 }), held(3, { a: 5, late: 5 }), held(4, { a: 5, b: 5 }, { a: 12, late: 5 })];
  const flopsOf = (of: RoundWork[]) =>
    tallyOf(of).held.map(({ miners }) => Object.fromEntries(miners.map(({ device, flops }) => [device, flops])));
  expect(flopsOf(lines)).toEqual([{}, { a: 3, b: 5 }]);
  expect(tallyOf(lines).scores.get('b')).toMatchObject({ work: 5 });
  // More than there is: it is owed, through the rounds in which it does nothing.
  const owing = [...lines, held(5, {}, { a: 10 }), held(6, {})];
  expect(tallyOf(owing).debts).toEqual(new Map([['a', 7]]));
  const paid = [...owing, held(7, { a: 4 }), held(8, { a: 5 })];
  expect(flopsOf(paid)).toEqual([{}, { a: 2 }]);
  expect(tallyOf(paid).debts).toEqual(new Map());
});

it('who worked before anybody was audited need not begin anew', () => {
  const old = { ...line(1, { a: 10 }), hold: 0 };
  expect(scoresOf([old, { ...line(2, { a: 4, late: 1 }), hold: 0, passed: [] }])).toEqual({ a: 10 * DECAY + 4, late: 0 });
});
