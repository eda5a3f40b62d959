/** What audits find is remembered of the device: a miner's id is thrown away at will. */
import type { LeaseCounts } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Coordinator } from './coordinator.ts';
import { codes, of, Swarm, whom } from './for-tests.ts';
import { NO_REPUTATION } from './miner.ts';
import { fromSnapshot, toSnapshot } from './snapshot.ts';
import type { Drawn } from './types.ts';

const facts = { name: 'n', backend: 'wasm', adapter: 'test' } as const;
const HOUR = 3_600_000;

/** Tabs `a` and `b` of one device, `c` of another, `d` of none; all have handed in a step. */
function audited(): Swarm {
  const swarm = new Swarm({ stages: 1, microbatchesPerStep: 8 });
  const devices = { a: 'liar', b: 'liar', c: 'honest', d: undefined };
  for (const [minerId, device] of Object.entries(devices)) join(swarm, minerId, device);
  for (const minerId of Object.keys(devices)) swarm.load(minerId);
  swarm.compute();
  return swarm;
}
const join = (swarm: Swarm, minerId: string, device?: string) =>
  swarm.send({ type: 'join', minerId, facts: { ...facts, ...(device && { device }) }, holding: null });
const verdict = (
  swarm: Swarm,
  minerId: string,
  outcome: 'passed' | 'failed' | 'void',
  validator?: string,
  { drawn, unverified, version = 0 }: { drawn?: Drawn; unverified?: LeaseCounts; version?: number } = {},
) =>
  swarm.send({
    ...{ type: 'audited', minerId, stage: 0, version, ...(validator && { validator }), ...(drawn && { drawn }) },
    verdict: { outcome, finding: 'found.', checks: [], compared: 1, computeMs: 1, ...(unverified && { unverified }) },
  });

it('a device that is found false is banned with all its miners, and so is who comes for it later; nobody else is', () => {
  const swarm = audited();
  const effects = verdict(swarm, 'a', 'failed');
  expect(codes(effects)).toContain('AUDIT_FAILED');
  expect(whom(of(effects, 'convicted'))).toEqual(['a']);
  const told = of(effects, 'event').filter(({ code }) => code === 'MINER_BANNED');
  expect(told.map(({ message }) => message)).toEqual(
    ['a', 'b'].map((id) => expect.stringContaining(`Miner ${id} gets no leases for 3600 s`)),
  );
  const until = swarm.now + HOUR;
  expect(['a', 'b', 'c', 'd'].map((id) => swarm.miner(id).bannedUntil)).toEqual([until, until, 0, 0]);
  swarm.wait(1_000);
  swarm.leave('a');
  const back = join(swarm, 'again', 'liar');
  expect(of(back, 'assign'), 'nothing to fetch before the ban is over').toEqual([]);
  expect(of(back, 'event')[0]!.message).toContain('It is banned until');
  expect(swarm.miner('again').bannedUntil).toBe(until);
  expect(swarm.coordinator.credit('again')).toMatchObject({ bannedUntil: until, banned: { code: 'BANNED_WRONG' } });
  join(swarm, 'other', 'honest');
  expect(swarm.miner('other').bannedUntil).toBe(0);
  // The second time it is twice as long, whichever miner it was.
  verdict(swarm, 'b', 'failed');
  expect(swarm.miner('again').bannedUntil).toBe(swarm.now + 2 * HOUR);
  expect(swarm.coordinator.reputation('again')).toMatchObject({ failedAudits: 2, passedAudits: 0 });
});

it('steps are clean from the first passed audit on, for the device, and not any more when it is found false', () => {
  const swarm = audited();
  expect(whom(of(verdict(swarm, 'a', 'passed'), 'passed'))).toEqual(['a']);
  expect(verdict(swarm, 'c', 'void'), 'nothing was shown').toEqual([]);
  expect(verdict(swarm, 'c', 'passed', 'a hotkey'), 'another’s word is not enough').toEqual([]);
  swarm.contributeAll();
  swarm.reduceAll(0);
  swarm.merge(0);
  expect(['a', 'b', 'c'].map((id) => swarm.coordinator.reputation(id))).toMatchObject([
    { passedAudits: 1, cleanSteps: 1 },
    { passedAudits: 1, cleanSteps: 1 },
    { passedAudits: 0, cleanSteps: 0 },
  ]);
  swarm.reach(2);
  expect(
    ['a', 'b'].map((id) => swarm.coordinator.reputation(id).cleanSteps),
    'a step is one, with however many miners',
  ).toEqual([2, 2]);
  const again = Coordinator.restore(structuredClone(swarm.coordinator.snapshot()));
  expect(again.reputation('b')).toEqual(swarm.coordinator.reputation('b'));
  verdict(swarm, 'b', 'failed');
  expect(swarm.coordinator.reputation('a')).toMatchObject({ passedAudits: 0, cleanSteps: 0, failedAudits: 1 });
});

it('a pass of what was done before a conviction comes too late, of whichever miner of the device; one of a later step counts', () => {
  const swarm = audited();
  const passes = (minerId: string, version: number) =>
    of(verdict(swarm, minerId, 'passed', undefined, { version }), 'passed').map((effect) => effect.version);
  swarm.reach(1);
  verdict(swarm, 'a', 'failed');
  expect(swarm.coordinator.reputation('a').falseVersion).toBe(1);
  // Both were drawn before.
  expect([...passes('b', 0), ...passes('b', 1), ...passes('a', 1)]).toEqual([]);
  expect(swarm.coordinator.reputation('b')).toMatchObject({ passedAudits: 0, cleanSteps: 0 });
  expect(passes('c', 0), 'it is another device').toEqual([0]);
  expect(passes('b', 2)).toEqual([2]);
  expect(swarm.coordinator.reputation('a').passedAudits).toBe(1);
});

it('an audit that shows nothing makes no step clean: the device is looked at as often as a newcomer; not so on another’s word', () => {
  const swarm = audited();
  verdict(swarm, 'a', 'passed');
  swarm.contributeAll();
  swarm.reduceAll(0);
  swarm.merge(0);
  verdict(swarm, 'b', 'void', 'a hotkey');
  verdict(swarm, 'b', 'passed', 'a hotkey', { unverified: { backward: 1 } });
  expect(swarm.coordinator.reputation('a').cleanSteps).toBe(1);
  verdict(swarm, 'b', 'void');
  expect(swarm.coordinator.reputation('a')).toMatchObject({ passedAudits: 1, cleanSteps: 0, failedAudits: 0, bannedUntil: 0 });
});

it('what could not be verified costs its pay as often as it is not looked at; what was drawn and not looked at, once', () => {
  const swarm = audited();
  const unverified = { forward: 1, backward: 2 };
  const drawn = { rate: 0.05, times: 18.5 };
  const effects = verdict(swarm, 'a', 'passed', undefined, { drawn, unverified });
  const work = { minerId: 'a', stage: 0, version: 0, leases: unverified };
  expect(of(effects, 'unverified')).toEqual([{ type: 'unverified', ...work, drawn }]);
  expect(of(effects, 'lapse')).toMatchObject([
    { minerId: 'a', code: 'WORK_UNVERIFIED', message: expect.stringContaining(' 5 % are looked at: 18.5 times') },
  ]);
  const before = of(verdict(swarm, 'd', 'passed', undefined, { drawn: { rate: 0.05 }, unverified }), 'lapse');
  expect(before, 'as logs of before tell it').toMatchObject([{ message: expect.stringContaining('20.0 times') }]);
  expect(whom(of(effects, 'passed')), 'the rest was seen').toEqual(['a']);
  // It is looked at as often as a newcomer, and nobody is blamed.
  expect(swarm.coordinator.reputation('a')).toMatchObject({ passedAudits: 1, cleanSteps: 0, failedAudits: 0, bannedUntil: 0 });
  // With what others drew, which is on top, it would be taken too often; and who is found false loses all.
  expect(of(verdict(swarm, 'a', 'passed', 'a hotkey', { unverified }), 'unverified')).toEqual([]);
  expect(of(verdict(swarm, 'c', 'failed', undefined, { drawn, unverified }), 'unverified')).toEqual([]);
  const left = swarm.send({ type: 'unaudited', ...work, message: 'Validators are behind.' });
  expect(of(left, 'unverified')).toEqual([{ type: 'unverified', ...work, drawn: null }]);
  expect(of(left, 'lapse')).toMatchObject([{ code: 'WORK_UNVERIFIED', message: expect.stringContaining('Validators are behind.') }]);
  expect(swarm.send({ type: 'unaudited', ...work, minerId: 'nobody', message: '' })).toEqual([]);
});

it('a snapshot that knows of no devices is read', () => {
  const { reputations: _, ...before } = toSnapshot(audited().coordinator.state);
  expect(fromSnapshot(structuredClone(before)).reputations.size).toBe(0);
  const { cleanVersion: _v, falseVersion: _f, ...known } = { ...NO_REPUTATION, cleanSteps: 7 };
  const read = fromSnapshot(structuredClone({ ...before, reputations: [['a', known]] }));
  expect(read.reputations.get('a')).toEqual({ ...NO_REPUTATION, cleanSteps: 7 });
});

it('backwards are told as paid when the gradient that holds them is in the merge, and only those', () => {
  const swarm = audited();
  const before = swarm.log.length;
  swarm.contributeAll();
  expect(of(swarm.log.slice(before), 'included'), 'not before the sum is known').toEqual([]);
  const { contributions } = swarm.stages[0]!.merge;
  const told = contributions.map(({ minerId, microbatches }) => ({ minerId, microbatches: microbatches.length }));
  // Found false before the merge is done: its gradient is left out.
  swarm.draw(0);
  verdict(swarm, 'd', 'failed');
  swarm.reduceAll(0);
  swarm.merge(0);
  const included = of(swarm.log.slice(before), 'included').map(({ minerId, microbatches }) => ({ minerId, microbatches }));
  const byMiner = (list: typeof told) => list.toSorted((a, b) => (a.minerId < b.minerId ? -1 : 1));
  expect(byMiner(included)).toEqual(byMiner(told.filter(({ minerId }) => minerId !== 'd')));
  expect(told.map(({ minerId }) => minerId)).toContain('d');
});
