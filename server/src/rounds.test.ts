/** The lines of the ledger: what is paid, who passed and who was found false, also when the process changes in mid-round. */
import type { Drawn, Effect, Input } from '@starling/coordinator';
import type { LeaseCounts, Work } from '@starling/protocol';
import { SqliteStore } from '@starling/store';
import { expect, it } from 'vitest';
import { rowsOf } from './records.ts';
import { openRound, Rounds, roundRow, unverifiedRow } from './rounds.ts';

const FLOPS = { forward: 1, backward: 100, evaluate: 10_000 };
const flopsOf = ({ kind }: Pick<Work, 'kind'>) => FLOPS[kind];
/** `a1` and `a2` are of device `A`; `b` has none. */
const factsOf = (minerId: string) => ({ name: minerId, ...(minerId.startsWith('a') && { device: 'A' }) });
const parts = { steps: 1, hold: 2, halfLife: 9, audited: true, flopsOf, factsOf };

const settled = (minerId: string, kind: Work['kind'], outcome: 'counted' | 'surplus' = 'counted'): Effect => ({
  ...{ type: 'settled', minerId, leaseId: 'l', outcome },
  work: { kind, stage: 0, version: 0, microbatch: 0, tookMs: 1 },
});
const included = (minerId: string, microbatches: number): Effect => ({ type: 'included', minerId, stage: 0, version: 0, microbatches });
const closed = (step: number): Effect => ({ type: 'closed', step, tokens: 1, lossSum: 1, validation: null, norms: [1] });
const unverified = (minerId: string, leases: LeaseCounts, drawn: Drawn | null): Effect => ({
  ...{ type: 'unverified', minerId, stage: 0, version: 0 },
  ...{ leases, drawn },
});
const found = (type: 'passed' | 'convicted', minerId: string): { input: Input; effects: Effect[] } => ({
  input: {
    ...{ type: 'audited', minerId, stage: 0, version: 0 },
    verdict: { outcome: type === 'passed' ? 'passed' : 'failed', finding: '', checks: [], compared: 1, computeMs: 1 },
  },
  effects: [{ type, minerId, stage: 0, version: 0 }],
});
const newRound = () => ({ round: 1, flops: new Map(), unverified: new Map(), passed: new Set<string>(), convicted: new Set<string>() });
const tick = (...effects: Effect[]): { input: Input; effects: Effect[] } => ({ input: { type: 'tick' }, effects });

/** As a run does. Returns the rows that are kept of it. */
const handled = (rounds: Rounds, effects: readonly Effect[]) =>
  effects.flatMap((effect) => {
    if (effect.type === 'unverified') return unverifiedRow(effect.minerId, rounds.leaveOut(effect), 2);
    rounds.take(effect, 2);
    return [];
  });

const LOG = [
  tick(settled('a1', 'forward'), settled('b', 'forward'), settled('b', 'evaluate')),
  tick(settled('a1', 'backward'), settled('b', 'backward')),
  tick(settled('a2', 'forward', 'surplus'), settled('a2', 'backward', 'surplus')),
  found('passed', 'a1'),
  tick(included('a1', 3)),
  found('convicted', 'b'),
  // An older audit of it ends.
  { ...found('passed', 'b'), effects: [] },
  tick(unverified('a1', { forward: 1, backward: 2 }, { rate: 0.3, times: 2.5 }), unverified('a2', { evaluate: 1 }, null)),
];

it('what counted is paid, backwards by the gradients that were merged, and surplus not at all', () => {
  const rounds = new Rounds(parts, newRound());
  for (const { effects } of LOG) handled(rounds, effects);
  expect(rounds.take(closed(0), 7)).toEqual({
    ...{ round: 1, step: 1, time: 7, hold: 2, halfLife: 9, passed: ['A'], convicted: ['b'] },
    // Not 1 / rate times, when something else was drawn meanwhile; and once of what nobody looked at.
    unverified: { A: Math.round(2.5 * 201) + 10_000 },
    miners: [
      { minerId: 'a1', name: 'a1', device: 'A', flops: 1 + 3 * 100 },
      { minerId: 'b', name: 'b', device: null, flops: 1 + 10_000 },
    ],
  });
  const unaudited = new Rounds({ ...parts, audited: false }, newRound());
  expect(unaudited.take(closed(0), 7)).not.toHaveProperty('passed');
});

it('a process that takes over in mid-round closes it with the same line', async () => {
  for (let cut = 0; cut <= LOG.length; cut++) {
    const store = new SqliteStore(':memory:');
    const before = new Rounds(parts, await openRound(store, flopsOf));
    const append = (seq: number, rows: Parameters<typeof store.append>[0]['rows']) =>
      store.append({ entries: [{ seq, at: 0, body: '{}' }], rows, tensors: [], released: [] });
    // A round that is over, of which nothing may be counted again.
    const [first] = [settled('b', 'forward'), closed(0)].map((effect) => before.take(effect, 1)).filter((round) => round !== null);
    await append(1, [...rowsOf({ input: { type: 'tick' }, effects: [settled('b', 'forward')], at: 1, seq: 1 }), roundRow(first!)]);
    for (const [i, of] of LOG.slice(0, cut).entries())
      await append(2 + i, [...rowsOf({ ...of, at: 2, seq: 2 + i }), ...handled(before, of.effects)]);
    const after = new Rounds(parts, await openRound(store, flopsOf));
    for (const { effects } of LOG.slice(cut)) for (const rounds of [before, after]) handled(rounds, effects);
    const [one, other] = [before, after].map((rounds) => rounds.take(closed(1), 3)!);
    const sorted = (line: typeof one) => ({ ...line, miners: line!.miners.toSorted((a, b) => (a.minerId < b.minerId ? -1 : 1)) });
    expect(sorted(other), `cut at ${cut}`).toEqual(sorted(one));
    await store.close();
  }
});

it('at stake is what a conviction takes, less what the next line sets free, of devices whose work counts', () => {
  const rounds = new Rounds({ ...parts, hold: 3 }, newRound());
  const handle = (...effects: Effect[]) => handled(rounds, effects);
  const passed = (minerId: string): Effect => ({ type: 'passed', minerId, stage: 0, version: 0 });
  handle(settled('a1', 'forward'), passed('a2'));
  expect(rounds.stakes(), 'nothing counts in the round of the first pass').toEqual(new Map());
  handle(closed(0));
  expect(rounds.stakes()).toEqual(new Map([['A', 0]]));
  // Three lines are held, and what is under way; the fourth line sets the first of these free.
  handle(included('a1', 1), closed(1), included('a2', 2), closed(2), included('a1', 3), settled('b', 'forward'), closed(3));
  expect(rounds.stakes()).toEqual(new Map([['A', 200 + 300]]));
  handle(settled('a2', 'forward'));
  expect(rounds.stakes()).toEqual(new Map([['A', 200 + 300 + 1]]));
  handle(unverified('a1', { backward: 1 }, { rate: 0.5 }));
  const taken = 100 / 0.5;
  expect(rounds.stakes(), 'what could not be verified is taken').toEqual(new Map([['A', 200 + 300 + 1 - taken]]));
  handle(closed(4), unverified('a2', { backward: 9 }, null), closed(5));
  // The line that would have been set free went for it, too.
  expect(rounds.stakes(), 'it owes more than it has').toEqual(new Map([['A', 100 + 200 + 300 + 1 - taken - 900]]));
  handle({ type: 'convicted', minerId: 'a1', stage: 0, version: 4 }, closed(6));
  expect(rounds.stakes()).toEqual(new Map());
});
