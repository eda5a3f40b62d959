/** What was useless in some hands waits for those that are trusted: for whom, and for how long. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { grants, Swarm } from './for-tests.ts';

const isFirst = (_: string, { stage }: { stage: number }) => stage === 0;

/**
 * At the second stage an honest one that takes a second for a lease, one that will give back what it gets, and one that has sent eight times as
 * much as either of them; the fifth step has begun, and that one has not applied the merge before it.
 */
function outdone() {
  const swarm = new Swarm({ stages: 2, microbatchesPerStep: 24, minMicrobatches: 18 });
  for (const id of 'axbyczdw') {
    swarm.join(id);
    swarm.load(id);
  }
  const [quick, spoiler, ...honest] = swarm.crews[1] as [string, string, ...string[]];
  const work = () => {
    for (let busy: string | undefined = 'all'; busy; ) {
      swarm.compute((id, lease) => isFirst(id, lease) || id === quick);
      busy = [spoiler, ...honest].find((id) => swarm.leasesOf(id).length > 0);
      if (busy) swarm.wait(1_000).receipt(busy, swarm.leasesOf(busy)[0]!.id);
    }
  };
  const applyAll = (except = '') => {
    for (const [id, { merge }] of swarm.hands) if (merge && id !== except) swarm.apply(id);
  };
  for (let version = 1; version <= 4; version++) {
    applyAll();
    work();
    swarm.contributeAll();
    for (const stage of [0, 1]) swarm.merge(stage);
  }
  applyAll(quick);
  expect(swarm.miner(quick).useful).toBe(LIMITS.trustedReceipts);
  expect(honest.every((id) => swarm.miner(id).useful < LIMITS.trustedReceipts / 2)).toBe(true);
  swarm.compute(isFirst);
  /** One lease comes back useless. */
  const spoil = () => {
    const lease = swarm.leasesOf(spoiler)[0]!;
    swarm.forfeit(spoiler, lease.id);
    const task = swarm.coordinator.state.steps.get(4)!.flows.find(({ microbatch }) => microbatch === lease.microbatch)!.cells[1]!.backward!;
    return { microbatch: lease.microbatch, task };
  };
  /** The same, and the quick one is given it. */
  const entrust = () => {
    swarm.apply(quick);
    const spoilt = spoil();
    swarm.receipt(quick, swarm.leasesOf(quick)[0]!.id);
    expect(holders(spoilt.microbatch)).toEqual([quick]);
    return spoilt;
  };
  const holders = (microbatch: number) =>
    swarm.crews[1]!.filter((id) => swarm.leasesOf(id).some((lease) => lease.microbatch === microbatch));
  return { swarm, quick, spoiler, honest, work, spoil, entrust, holders };
}

const lease = (swarm: Swarm, id: string, microbatch: number) => swarm.leasesOf(id).find((lease) => lease.microbatch === microbatch)!;

describe('what was useless in some hands', () => {
  it('waits for one that applies a merge only as long as the slowest did, and that one has precedence no more', () => {
    const { swarm, quick, spoiler, honest, spoil, work, holders } = outdone();
    const { microbatch } = spoil();
    swarm.compute((id) => honest.includes(id));
    expect(holders(microbatch)).toEqual([]);
    swarm.tick(LIMITS.reconnectGrace - 1);
    expect(holders(microbatch)).toEqual([]);
    swarm.tick(1);
    const [holder] = holders(microbatch);
    expect(honest).toContain(holder);
    expect(swarm.miner(quick)).toMatchObject({ phase: 'applying', useful: 0, tardy: true, late: 0 });
    work();
    swarm.contributeAll();
    expect(swarm.counters).toMatchObject({ abandoned: 0, bans: 0 });
    expect(swarm.miner(spoiler).late).toBe(0);
    // Back again, it has no more to say than others.
    swarm.apply(quick);
    expect(swarm.miner(quick)).toMatchObject({ phase: 'ready', useful: 0, tardy: false });
  });

  it('waits for nobody longer because it fetches its stage again and says that it has an old one', () => {
    const { swarm, quick, honest, spoil, holders } = outdone();
    swarm.wait(LIMITS.reconnectGrace - 1);
    swarm.join(quick);
    const { round } = swarm.hands.get(quick)!.assigned!;
    swarm.send({ type: 'ready', minerId: quick, stage: 1, round, version: 3, parameterHash: 'p1@3' });
    expect(swarm.miner(quick)).toMatchObject({ phase: 'applying', phaseSince: swarm.now });
    const { microbatch } = spoil();
    swarm.compute((id) => honest.includes(id));
    expect(holders(microbatch)).toEqual([]);
    swarm.tick(1);
    expect(honest).toContain(holders(microbatch)[0]);
  });

  it('is computed by another, too, when one that was chosen for it sits on it, and that one has precedence no more', () => {
    const { swarm, quick, spoiler, honest, entrust, work } = outdone();
    const { microbatch, task } = entrust();
    swarm.compute((id) => honest.includes(id));
    while (swarm.leasesOf(spoiler).length > 0) swarm.receipt(spoiler, swarm.leasesOf(spoiler)[0]!.id);
    const effects = swarm.pass(LIMITS.minimumDeadline - 1);
    const hedges = grants(effects).filter(({ lease }) => lease.microbatch === microbatch);
    expect(hedges.map(({ minerId }) => honest.includes(minerId))).toEqual([true]);
    expect(swarm.miner(quick)).toMatchObject({ useful: 0, tardy: true, late: 0 });
    const [{ minerId, lease: hedge }] = hedges as [(typeof hedges)[0]];
    swarm.receipt(minerId, hedge.id);
    expect(task).toMatchObject({ state: 'done', minerId });
    work();
    swarm.contributeAll();
    expect(swarm.counters).toMatchObject({ abandoned: 0, bans: 0 });
  });

  it('is not the last word of quick ones while one that was chosen still computes it as fast as it ever did', () => {
    const { swarm, quick, honest, entrust, holders } = outdone();
    const { microbatch, task } = entrust();
    const mine = lease(swarm, quick, microbatch);
    task.forfeits.push('q', 'r');
    // Another that computes it, too, has nothing of use either.
    swarm.disconnect(quick);
    swarm.compute((id) => honest.includes(id));
    swarm.tick();
    swarm.resume(quick);
    const second = holders(microbatch).find((id) => id !== quick)!;
    expect(honest).toContain(second);
    swarm.forfeit(second, lease(swarm, second, microbatch).id);
    expect(task.forfeits.length).toBeGreaterThan(LIMITS.forfeitsPerTask);
    expect(swarm.counters.abandoned).toBe(0);
    swarm.receipt(quick, mine.id);
    expect(task).toMatchObject({ state: 'done', minerId: quick });
  });

  it('is left out when the last that computes it lets the others wait', () => {
    const { swarm, quick, entrust } = outdone();
    const { task } = entrust();
    task.forfeits.push('q', 'r');
    swarm.tick(LIMITS.longestWait - 1);
    expect(task.state).toBe('dropped');
    expect(swarm.counters.abandoned).toBe(1);
    expect(swarm.miner(quick)).toMatchObject({ tardy: true, late: 0 });
  });

  it('goes by what a device has proved only when it has sent much again since it let others wait', () => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 2, microbatchesPerStep: 80 });
    const { state } = swarm.coordinator;
    const [proven, other] = swarm.crews[1] as [string, string];
    state.reputationOf(proven).cleanSteps = LIMITS.trustedSteps;
    state.setAmends(proven, LIMITS.trustedReceipts);
    swarm.compute((id) => id !== proven);
    for (let left = LIMITS.trustedReceipts; left > 0; left--) {
      expect([state.owesAmends(proven), state.reputationOf(proven).amends]).toEqual([true, left]);
      const [mine] = swarm.leasesOf(proven);
      if (mine) swarm.receipt(proven, mine.id);
      else state.setAmends(proven, left - 1);
      swarm.compute((id) => id !== proven && id !== other);
    }
    expect(state.owesAmends(proven)).toBe(false);
    expect(state.trustIn(proven)).toBe(LIMITS.trustedSteps);
  });

  it.each([
    ['nobody’s fault when both have proved as much as matters', LIMITS.trustedSteps + 69, LIMITS.trustedSteps + 68, 0],
    ['the fault of who has proved less than that', LIMITS.trustedSteps, LIMITS.trustedSteps - 1, 1],
  ])('is %s', (_, more, less, late) => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 2, microbatchesPerStep: 4 });
    const { state } = swarm.coordinator;
    const [confederate, victim] = swarm.crews[1] as [string, string];
    state.reputationOf(confederate).cleanSteps = more;
    state.reputationOf(victim).cleanSteps = less;
    swarm.compute(isFirst);
    const { id, microbatch } = swarm.leasesOf(victim)[0]!;
    swarm.forfeit(victim, id);
    while (!lease(swarm, confederate, microbatch)) swarm.receipt(confederate, swarm.leasesOf(confederate)[0]!.id);
    swarm.receipt(confederate, lease(swarm, confederate, microbatch).id);
    expect(swarm.miner(victim).late).toBe(late);
  });
});
