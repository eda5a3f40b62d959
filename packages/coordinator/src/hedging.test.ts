/** Leases that idle miners compute a second time: whoever is first counts. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { grants, of, Swarm, whom } from './for-tests.ts';
import { noCredit } from './miner.ts';

/** One stage that has shown ten times of 1,000 ms each; a and c are ready for the next step of as many microbatches as given. */
function experienced(microbatchesPerStep: number, miners = ['a', 'c']): Swarm {
  const swarm = Swarm.ready(miners, { stages: 1, microbatchesPerStep });
  while (swarm.stages[0]!.times.backward.times.length < 10) {
    while (swarm.coordinator.view()[0]!.done < microbatchesPerStep) {
      swarm.wait(1_000);
      for (const id of miners) for (const { id: lease } of swarm.leasesOf(id)) swarm.receipt(id, lease);
    }
    swarm.contributeAll();
    swarm.merge(0);
    for (const id of miners) swarm.apply(id);
  }
  return swarm;
}

describe('a lease that only waits', () => {
  /** One stage; a has two leases, of which it has begun one, and b comes to be idle. */
  const queued = () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 });
    swarm.join('b');
    swarm.load('b');
    return swarm;
  };

  it('goes to a miner that has nothing to do', () => {
    const swarm = queued();
    const [first, second] = swarm.leasesOf('a');
    const effects = swarm.tick(10);
    expect(grants(effects)).toMatchObject([{ minerId: 'b', lease: { microbatch: second!.microbatch } }]);
    expect(of(effects, 'cancel')).toEqual([{ type: 'cancel', minerId: 'a', leaseId: second!.id }]);
    expect(swarm.leasesOf('a')).toEqual([first]);
    expect(swarm.counters).toMatchObject({ passedOn: 1, handedOver: 0, hedged: 0 });
    expect(of(swarm.tick(10), 'grant')).toEqual([]);
    // It had begun it after all, and was first.
    expect(of(swarm.receipt('a', second!.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
    expect(of(swarm.log, 'cancel').at(-1)).toMatchObject({ minerId: 'b' });
  });

  it('does not go back to whom it was taken from', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 3 });
    // b's result is useless; its microbatch waits behind a's own.
    const [mine] = swarm.leasesOf('b');
    for (const { id } of swarm.leasesOf('a').slice(1)) swarm.receipt('a', id);
    swarm.forfeit('b', mine!.id);
    expect(swarm.leasesOf('a').map(({ microbatch }) => microbatch)).toContain(mine!.microbatch);
    const effects = swarm.tick(10);
    expect(grants(effects).filter(({ minerId, lease }) => minerId === 'b' && lease.microbatch === mine!.microbatch)).toEqual([]);
  });
});

describe('a lease that takes unusually long', () => {
  it('is given to an idle miner too when it has taken twice what is usual, and not before', () => {
    const swarm = experienced(1);
    const [holder] = ['a', 'c'].filter((id) => swarm.leasesOf(id).length > 0);
    const [lease] = swarm.leasesOf(holder!);
    expect(grants(swarm.tick(1_999))).toEqual([]);
    const [hedge] = grants(swarm.tick(1));
    expect(hedge).toMatchObject({ lease: { kind: 'backward', microbatch: lease!.microbatch } });
    expect(hedge!.minerId).not.toBe(holder);
    expect(swarm.counters.hedged).toBe(1);
    expect(swarm.miner(holder!)).toMatchObject({ late: 0 });
    expect(swarm.miner(holder!).leases.size).toBe(1);
  });

  it.each([
    ['the first', 0],
    ['the second', 1],
  ])('counts for whoever is first: %s; the other is credited as surplus, and nobody is blamed', (_, first) => {
    const swarm = experienced(1);
    const [holder] = ['a', 'c'].filter((id) => swarm.leasesOf(id).length > 0);
    const [lease] = swarm.leasesOf(holder!);
    const [hedge] = grants(swarm.tick(2_000));
    const both = [
      { minerId: holder!, leaseId: lease!.id },
      { minerId: hedge!.minerId, leaseId: hedge!.lease.id },
    ];
    const [winner, loser] = first === 0 ? both : both.toReversed();
    const credit = { ...noCredit(swarm.miner(loser!.minerId).facts), ...swarm.coordinator.credit(loser!.minerId) };
    const effects = swarm.receipt(winner!.minerId, winner!.leaseId);
    expect(of(effects, 'settled')).toMatchObject([{ ...winner, outcome: 'counted' }]);
    expect(of(effects, 'cancel')).toEqual([{ type: 'cancel', ...loser }]);
    expect(of(swarm.receipt(loser!.minerId, loser!.leaseId), 'settled')).toMatchObject([{ ...loser, outcome: 'surplus' }]);
    expect(swarm.coordinator.credit(loser!.minerId)).toEqual({ ...credit, surplus: credit.surplus + 1 });
    for (const { minerId } of both) expect(swarm.miner(minerId)).toMatchObject({ late: 0, resting: false });
    // Its gradient is asked of the one who counted.
    expect(whom(of(swarm.log, 'collect')).at(-1)).toBe(winner!.minerId);
    swarm.reach(swarm.stages[0]!.version + 1);
  });

  it('is given to two at most', () => {
    const swarm = experienced(1, ['a', 'c', 'd']);
    expect(grants(swarm.tick(2_000)).length).toBe(1);
    expect(grants(swarm.tick(2_000))).toEqual([]);
  });

  it('goes to a third when both have lost it, the hedge at its own deadline', () => {
    const swarm = experienced(1, ['a', 'c', 'd']);
    const [hedge] = grants(swarm.tick(2_000));
    // The first loses it: the second goes on with it alone.
    expect(grants(swarm.tick(LIMITS.minimumDeadline - 2_000))).toMatchObject([{ lease: { microbatch: hedge!.lease.microbatch } }]);
    expect(swarm.counters.handedOver).toBe(0);
    swarm.reach(swarm.stages[0]!.version + 1);
  });

  it('is given to nobody who has something to do', () => {
    const swarm = experienced(4);
    expect(['a', 'c'].map((id) => swarm.leasesOf(id).length)).toEqual([2, 2]);
    swarm.receipt('c', swarm.leasesOf('c')[0]!.id);
    expect(grants(swarm.tick(5_000))).toEqual([]);
    // c is done, and a is slow: both of its leases are overdue, and c takes one at a time.
    swarm.receipt('c', swarm.leasesOf('c')[0]!.id);
    expect(whom(grants(swarm.tick()))).toEqual(['c']);
  });

  it('is given to nobody who is at rest, away, or banned', () => {
    for (const spoil of [(swarm: Swarm, id: string) => swarm.busy(id, null, 60_000), (swarm: Swarm, id: string) => swarm.disconnect(id)]) {
      const swarm = experienced(1);
      const [holder, other] = ['a', 'c'].sort((a, b) => swarm.leasesOf(b).length - swarm.leasesOf(a).length);
      spoil(swarm, other!);
      expect([swarm.leasesOf(holder!).length, grants(swarm.tick(3_000)).length]).toEqual([1, 0]);
    }
  });

  it('is hedged oldest first, as far as there are idle miners', () => {
    const swarm = experienced(4, ['a', 'c', 'd']);
    const slow = swarm.leasesOf('a')[0]!;
    swarm.compute((id) => id !== 'a');
    expect(swarm.leasesOf('a').length).toBeGreaterThanOrEqual(1);
    const hedged = grants(swarm.tick(2_000));
    expect(hedged[0]!.lease.microbatch).toBe(slow.microbatch);
    expect(new Set(whom(hedged)).size).toBe(hedged.length);
  });

  it('is not hedged while nothing is known of the stage', () => {
    const swarm = Swarm.ready(['a', 'c'], { stages: 1, microbatchesPerStep: 1 });
    expect(grants(swarm.tick(LIMITS.firstDeadline - 1))).toEqual([]);
  });

  it('is hedged by the clock only', () => {
    const swarm = experienced(1);
    swarm.wait(10_000);
    expect(grants(swarm.join('d'))).toEqual([]);
  });
});

describe('the leases of a miner whose connection is gone', () => {
  it('are hedged at the next tick, whatever the time', () => {
    const swarm = Swarm.ready(['a', 'c'], { stages: 1, microbatchesPerStep: 1 });
    const [lease] = swarm.leasesOf('a');
    swarm.disconnect('a');
    expect(grants(swarm.tick(1))).toMatchObject([{ minerId: 'c', lease: { microbatch: lease!.microbatch } }]);
    // It is back, and first.
    swarm.resume('a');
    expect(of(swarm.receipt('a', lease!.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
    expect(swarm.miner('a').late).toBe(0);
  });

  it('of a backward whose input it keeps are hedged with the input', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    swarm.receipt('b', swarm.leasesOf('b')[0]!.id);
    expect(swarm.leasesOf('a')).toMatchObject([{ kind: 'backward', sendInput: false }]);
    swarm.disconnect('a');
    const [hedge] = grants(swarm.tick());
    expect(hedge).toMatchObject({ minerId: 'c', lease: { kind: 'backward', sendInput: true } });
    swarm.receipt('c', hedge!.lease.id);
    expect(swarm.miner('a').kept).toBe(0);
    swarm.resume('a');
    swarm.reach(1);
  });

  it('are not given a third time when it goes for good', () => {
    const swarm = Swarm.ready(['a', 'c', 'd'], { stages: 1, microbatchesPerStep: 1 });
    swarm.disconnect('a');
    const [hedge] = grants(swarm.tick());
    expect(grants(swarm.tick(LIMITS.reconnectGrace))).toEqual([]);
    expect(swarm.coordinator.miner('a')).toBeUndefined();
    expect(of(swarm.receipt(hedge!.minerId, hedge!.lease.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
  });
});
