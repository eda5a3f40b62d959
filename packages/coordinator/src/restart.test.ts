/** A new process goes on where the old one was. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, grants, of, Swarm } from './for-tests.ts';

const HOUR = 3_600_000;
const { restartGrace, firstDeadline, phaseDeadline } = LIMITS;

function restarted(swarm: Swarm, downFor = HOUR): ReturnType<Swarm['send']> {
  return swarm.wait(downFor).send({ type: 'restart' });
}

describe('after a restart', () => {
  it('everybody is away until it says hello again, and has half a minute for it', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    expect(codes(restarted(swarm))).toEqual(['SERVER_RESTARTED']);
    expect([swarm.miner('a').connected, swarm.miner('b').connected]).toEqual([false, false]);
    expect(codes(swarm.tick(restartGrace - 1))).toEqual([]);
    swarm.resume('a');
    expect(codes(swarm.tick(1))).toEqual(['MINER_GONE']);
    expect(swarm.crews).toEqual([['a']]);
    swarm.reach(1);
  });

  it('leases go on with the time they had left', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.wait(1_000).send({ type: 'tick' });
    const held = swarm.leasesOf('a').map(({ id }) => id);
    restarted(swarm);
    const effects = grants(swarm.resume('a'));
    expect(effects.map(({ lease }) => lease.id)).toEqual(held);
    expect(effects.map(({ lease }) => lease.deadlineMs)).toEqual([firstDeadline - 1_000, firstDeadline - 1_000]);
    swarm.resume('b');
    expect(codes(swarm.tick(firstDeadline - 1_001))).toEqual([]);
    expect(codes(swarm.tick(1))).toContain('LEASE_HANDED_OVER');
  });

  it('the time in which nobody could do anything makes nobody slow', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 16 });
    swarm.compute((_, { microbatch }) => microbatch < 12, 100);
    const { pace } = swarm.miner('a');
    const { slowest } = swarm.stages[0]!.times.backward;
    swarm.send({ type: 'tick' });
    restarted(swarm);
    for (const id of ['a', 'b']) swarm.resume(id);
    const effects = swarm.compute(undefined, 100);
    for (const { work } of of(effects, 'settled')) expect(work.tookMs).toBeLessThan(2_000);
    for (const id of ['a', 'b']) expect(swarm.miner(id).pace).toBeLessThan(10 * pace);
    expect(swarm.stages[0]!.times.backward.slowest).toBeLessThan(10 * slowest);
  });

  it('a lease that was begun long before is not hedged for it', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 10 });
    swarm.reach(1, 100);
    for (const id of ['a', 'b']) swarm.apply(id);
    swarm.compute((_, { microbatch }) => microbatch !== 10, 1);
    expect([swarm.miner('a').leases.size + swarm.miner('b').leases.size, swarm.stages[0]!.phase]).toEqual([1, 'training']);
    const hedged = swarm.counters.hedged;
    restarted(swarm);
    for (const id of ['a', 'b']) swarm.resume(id);
    swarm.tick(1);
    expect(swarm.counters.hedged).toBe(hedged);
  });

  it('a gradient has the time it had left, and a loading miner too', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    swarm.join('c');
    swarm.tick(10_000);
    restarted(swarm);
    for (const id of ['a', 'b']) swarm.resume(id);
    swarm.contribute('b');
    expect(codes(swarm.tick(1))).toEqual([]);
    swarm.join('c');
    swarm.load('c');
    expect(swarm.miner('c').phase).toBe('ready');
    expect(codes(swarm.tick(LIMITS.firstRedo - 10_001))).toContain('CONTRIBUTION_REDONE');
    const other = new Swarm({ stages: 1 });
    other.join('x');
    other.tick(phaseDeadline - 1);
    restarted(other);
    expect(codes(other.tick(0))).toEqual([]);
  });

  it('a stalled step has the time it had left', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 4 });
    swarm.compute((_, { microbatch }) => microbatch < 2);
    swarm.send({ type: 'tick' });
    restarted(swarm);
    for (const id of ['a', 'b']) swarm.resume(id);
    expect(codes(swarm.tick())).not.toContain('MICROBATCH_ABANDONED');
  });

  it('reductions that were under way are asked for again, the same', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 4 });
    swarm.compute();
    swarm.contributeAll();
    const before = swarm.begun(swarm.log);
    expect(before.length).toBe(2);
    expect(swarm.begun(restarted(swarm))).toEqual(before.toSorted((a, b) => a.stage - b.stage));
    for (const stage of [0, 1]) swarm.merge(stage);
    expect(of(swarm.log, 'closed').length).toBe(1);
  });

  it('a stage that still collects asks its miners when they are back, and reduces nothing before', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    swarm.contribute('a');
    expect(swarm.begun(restarted(swarm))).toEqual([]);
    expect(of(swarm.resume('a'), 'collect')).toEqual([]);
    expect(of(swarm.resume('b'), 'collect')).toMatchObject([{ microbatches: [2, 3] }]);
    expect(swarm.begun(swarm.contribute('b')).length).toBe(1);
  });

  it('bans, credits and who holds what are as before', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    swarm.spoil('a');
    const credit = { ...swarm.coordinator.credit('a')! };
    restarted(swarm, 1_000);
    expect(swarm.coordinator.credit('a')).toEqual(credit);
    expect(swarm.miner('a').bannedUntil).toBe(credit.bannedUntil);
    expect(of(swarm.join('a'), 'assign')).toEqual([]);
  });

  it('and another one at once, nobody is lost', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    for (let i = 0; i < 5; i++) restarted(swarm, restartGrace - 1);
    expect(swarm.crews).toEqual([['a', 'b']]);
    for (const id of ['a', 'b']) swarm.resume(id);
    swarm.reach(1);
  });
});
