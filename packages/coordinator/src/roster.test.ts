/** Who is here, on which stage, with which parameters. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, grants, hashOf, of, refusal, Swarm, whom } from './for-tests.ts';

const { reconnectGrace, phaseDeadline } = LIMITS;
/** One stage, where a does all the work and b follows the merges only when a test says so. */
const behind = (steps: number) => {
  const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
  const b = { ...swarm.miner('b') };
  for (let version = 1; version <= steps; version++) {
    swarm.compute((id) => id === 'a');
    swarm.contribute('a');
    swarm.merge(0);
    swarm.apply('a');
  }
  return { swarm, b };
};

describe('a newcomer', () => {
  it('gets the stage with the least throughput, with its parameters first', () => {
    const swarm = new Swarm({ stages: 3 });
    const assigned = ['a', 'b', 'c', 'd', 'e'].flatMap((id) => of(swarm.join(id), 'assign'));
    // The last stage has less work, so the first two get their second miner before it.
    expect(assigned.map(({ minerId, stage }) => `${minerId} ${stage}`)).toEqual(['a 0', 'b 1', 'c 2', 'd 0', 'e 1']);
    expect(assigned[0]).toMatchObject({ version: 0, why: 'joined' });
    expect(codes(swarm.log)).toEqual(Array.from({ length: 5 }, () => 'MINER_JOINED'));
    expect(grants(swarm.log)).toEqual([]);
  });

  it('gets its first leases when it has proved its parameters', () => {
    const swarm = new Swarm({ stages: 1, microbatchesPerStep: 8 });
    swarm.join('a');
    expect(whom(grants(swarm.load('a')))).toEqual(['a', 'a']);
    swarm.join('b');
    expect(whom(grants(swarm.load('b')))).toEqual(['b', 'b']);
  });

  it('is queued behind those whose speed is known: it is taken for the slowest of them', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 8 });
    swarm.compute((id) => id === 'a', 100);
    swarm.wait(4_000).compute();
    const slowest = Math.max(swarm.miner('a').pace, swarm.miner('b').pace);
    swarm.join('c');
    swarm.load('c');
    expect(swarm.miner('c')).toMatchObject({ pace: slowest, samples: 0 });
  });

  it('that is as fast as the others gets as much, however little there is in a step, and whenever it came', () => {
    for (const later of [0, 50, 5_000]) {
      const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 });
      swarm.join('b');
      for (let ms = 0; ms < later; ms += 40) {
        swarm.wait(Math.min(40, later - ms));
        for (const { id } of swarm.leasesOf('a').slice(0, 1)) swarm.receipt('a', id);
        swarm.contributeAll();
        if (swarm.reductions.size > 0) swarm.merge(0);
        if (swarm.hands.get('a')!.merge) swarm.apply('a');
      }
      swarm.load('b');
      const before = new Map([['a', swarm.coordinator.credit('a')?.receipts ?? 0]]);
      for (let i = 0; i < 400; i++) {
        for (let ms = 0; ms < 40; ms += 10) swarm.tick(10);
        for (const id of ['a', 'b']) for (const { id: lease } of swarm.leasesOf(id).slice(0, 1)) swarm.receipt(id, lease);
        swarm.contributeAll();
        if (swarm.reductions.size > 0) swarm.merge(0);
        for (const id of ['a', 'b']) {
          if (swarm.hands.get(id)!.assigned) swarm.load(id);
          if (swarm.hands.get(id)!.merge) swarm.apply(id);
        }
      }
      const got = (id: string) => (swarm.coordinator.credit(id)?.receipts ?? 0) - (before.get(id) ?? 0);
      const [a, b] = [got('a'), got('b')];
      expect(Math.min(a, b) / Math.max(a, b), `${a} and ${b} when b is ready ${later} ms later`).toBeGreaterThan(0.6);
    }
  });

  it('counts from the first receipt on, in the step that is under way', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 6 });
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    swarm.join('b');
    swarm.load('b');
    swarm.compute();
    expect(whom(of(swarm.log, 'collect')).sort()).toEqual(['a', 'b']);
  });

  it('gets the version its stage is at', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 }).reach(3);
    expect(of(swarm.join('b'), 'assign')).toMatchObject([{ version: 3 }]);
  });

  it('that brings other parameters fetches them again', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    swarm.join('b');
    const first = swarm.miner('b').round;
    const effects = swarm.load('b', 'something else');
    expect(refusal(effects)).toBe('PARAMETERS_DIVERGED');
    expect(codes(effects)).toEqual(['PARAMETERS_DIVERGED']);
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'b', why: 'its parameters differed' }]);
    expect(swarm.miner('b').round).toBeGreaterThan(first);
    expect(swarm.counters.resynchronised).toBe(1);
  });

  it('that lies about its parameters three times in a row waits for its stage as long as it is banned', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    swarm.join('b');
    swarm.load('b', 'lie');
    swarm.load('b', 'lie');
    const effects = swarm.load('b', 'lie');
    expect(of(effects, 'assign')).toEqual([]);
    expect(swarm.miner('b')).toMatchObject({ resting: true, owed: 'its parameters differed', phase: 'loading' });
    expect(swarm.coordinator.credit('b')).toMatchObject({ bans: 1 });
    expect(of(swarm.tick(LIMITS.banBase - 1), 'assign')).toEqual([]);
    expect(of(swarm.tick(1), 'assign')).toMatchObject([{ minerId: 'b', why: 'its parameters differed' }]);
  });

  it('is not removed for loading while it waits for its stage', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    swarm.join('b');
    swarm.coordinator.state.creditOf(swarm.coordinator.state.known('b')).bans = 20;
    for (let i = 0; i < 3; i++) swarm.load('b', 'lie');
    swarm.pass(LIMITS.banMaximum - 1, 10_000);
    expect(swarm.coordinator.miner('b')).toBeDefined();
    expect(of(swarm.tick(1), 'assign').length).toBe(1);
  });

  it('that answers an assignment that was replaced is not heard', () => {
    const swarm = new Swarm({ stages: 1 });
    swarm.join('a');
    const { round } = swarm.miner('a');
    swarm.join('a');
    expect(swarm.send({ type: 'ready', minerId: 'a', stage: 0, round, version: 0, parameterHash: hashOf(0, 0) })).toEqual([]);
    expect(swarm.miner('a').phase).toBe('loading');
    expect(refusal(swarm.send({ type: 'ready', minerId: 'b', stage: 0, round, version: 0, parameterHash: '' }))).toBe('NOT_JOINED');
  });

  it('that says it is ready twice is ready once', () => {
    const swarm = new Swarm({ stages: 1 });
    swarm.join('a');
    const { round } = swarm.miner('a');
    const ready = { type: 'ready', minerId: 'a', stage: 0, round, version: 0, parameterHash: hashOf(0, 0) } as const;
    expect(grants(swarm.send(ready)).length).toBe(2);
    expect(swarm.send(ready)).toEqual([]);
  });
});

describe('a miner whose connection drops', () => {
  it('keeps its leases for as long as a reload takes, and goes on with them', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    const held = swarm.leasesOf('a');
    swarm.disconnect('a');
    expect(swarm.tick(reconnectGrace - 1).filter(({ type }) => type === 'event')).toEqual([]);
    const effects = swarm.resume('a');
    expect(of(effects, 'assign')).toEqual([]);
    expect(grants(effects).map(({ lease }) => lease.id)).toEqual(held.map(({ id }) => id));
    expect(grants(effects).map(({ lease }) => lease.deadlineMs)).toEqual(held.map(({ deadlineMs }) => deadlineMs - reconnectGrace + 1));
    expect(of(swarm.receipt('a', held[0]!.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
  });

  it('is given nothing while it is away', () => {
    const swarm = Swarm.ready(['a', 'c'], { stages: 1, microbatchesPerStep: 8 });
    swarm.disconnect('a');
    expect(whom(grants(swarm.compute((id) => id === 'c')))).not.toContain('a');
  });

  it('is gone when it does not come back, and what it held goes to others', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    swarm.disconnect('a');
    const effects = swarm.tick(reconnectGrace);
    expect(codes(effects)).toEqual(['MINER_GONE']);
    expect(swarm.coordinator.miner('a')).toBeUndefined();
    expect(whom(grants(effects))).toEqual(['c', 'c']);
    expect(swarm.counters.handedOver).toBe(2);
  });

  it('joins anew when it comes back too late', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    const [lease] = swarm.leasesOf('a');
    swarm.disconnect('a');
    swarm.tick(reconnectGrace);
    expect(refusal(swarm.receipt('a', lease!.id))).toBe('NOT_JOINED');
    expect(of(swarm.join('a', { stage: 0, version: 0 }), 'assign')).toMatchObject([{ why: 'joined' }]);
    expect(of(swarm.receipt('a', lease!.id), 'settled'), 'what it did is not lost').toMatchObject([{ minerId: 'a' }]);
  });

  it.each([
    ['nothing', null],
    ['another stage', { stage: 1, version: 0 }],
    ['an old version', { stage: 0, version: -1 }],
    ['a version far ahead', { stage: 0, version: 2 }],
  ])('fetches its stage again when it holds %s', (_, holding) => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    swarm.disconnect('a');
    const effects = swarm.join('a', holding);
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'a', stage: 0, why: 'came back without its stage' }]);
    expect(whom(grants(effects))).toEqual(['c', 'c']);
  });

  it('is asked for its gradient again', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 });
    swarm.compute();
    const [asked] = of(swarm.log, 'collect');
    swarm.disconnect('a');
    expect(of(swarm.resume('a'), 'collect')).toEqual([asked]);
    expect(swarm.begun(swarm.contribute('a')).length).toBe(1);
  });

  it('is told again of the merge it has not applied, also when it has and the news of it was lost', () => {
    const { swarm } = behind(1);
    swarm.disconnect('b');
    expect(of(swarm.resume('b'), 'distribute')).toMatchObject([{ merge: { version: 1 } }]);
    swarm.disconnect('b');
    expect(of(swarm.join('b', { stage: 0, version: 1 }), 'distribute')).toMatchObject([{ merge: { version: 1 } }]);
    swarm.apply('b');
    expect(swarm.miner('b')).toMatchObject({ phase: 'ready', version: 1 });
  });

  it('fetches its stage again when it was loading it: that may have been lost with the connection', () => {
    const swarm = new Swarm({ stages: 1 });
    swarm.join('a');
    swarm.disconnect('a');
    expect(of(swarm.join('a', null), 'assign').length).toBe(1);
  });

  it('says hello twice on one connection and has everything once', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 8 });
    const before = { leases: [...swarm.miner('a').leases], crews: swarm.crews };
    swarm.resume('a');
    swarm.resume('a');
    expect({ leases: [...swarm.miner('a').leases], crews: swarm.crews }).toEqual(before);
  });

  it('that nobody knows, or leaves, changes nothing', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    expect([swarm.disconnect('nobody'), swarm.leave('nobody')]).toEqual([[], []]);
  });
});

describe('a miner that leaves', () => {
  it('gives back at once what it held: leases, kept inputs, and gradients nobody has', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 3 });
    swarm.compute((id, { kind }) => id !== 'c' || kind === 'forward');
    // a has done at least one backward whose gradient only it has.
    expect(swarm.coordinator.credit('a')!.backwards).toBeGreaterThan(0);
    const lost = swarm.coordinator.credit('a')!.backwards;
    const effects = swarm.leave('a');
    expect(codes(effects)).toEqual(['MINER_LEFT']);
    expect(swarm.counters.handedOver).toBeGreaterThanOrEqual(lost);
    swarm.compute();
    expect(of(swarm.log, 'collect').filter(({ stage }) => stage === 0)).toMatchObject([{ minerId: 'c', microbatches: [0, 1, 2] }]);
  });

  it('is replaced from the best staffed stage when it was the last of its own', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    const effects = swarm.leave('b');
    const [assigned] = of(effects, 'assign');
    expect(assigned).toMatchObject({ stage: 1, why: 'stage 1 had nobody left' });
    expect(codes(effects)).toContain('MINER_MOVED');
    expect(swarm.crews.map((crew) => crew.length)).toEqual([1, 1]);
    expect(swarm.counters.moved).toBe(1);
    swarm.reach(1);
  });

  it('is replaced by one that is banned at the end of its ban, while the only other has its own stage to hold', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    swarm.compute();
    expect(swarm.hands.get('a')!.collect).not.toBeNull();
    swarm.spoil('a');
    expect(swarm.miner('a').owed).not.toBeNull();
    expect(of(swarm.leave('b'), 'assign')).toEqual([]);
    expect(of(swarm.pass(LIMITS.banBase), 'assign').at(-1)).toMatchObject({ minerId: 'a', stage: 1 });
    swarm.reach(1);
    expect(swarm.miner('c').stage).toBe(0);
  });

  it('is replaced by the next that joins when nobody can be spared', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 2 });
    swarm.leave('b');
    expect(swarm.crews).toEqual([['a'], []]);
    expect(of(swarm.join('c'), 'assign')).toMatchObject([{ stage: 1 }]);
    swarm.reach(1);
  });

  it('loses nothing that it had handed in', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    swarm.contribute('a');
    swarm.leave('a');
    swarm.contribute('b');
    expect(swarm.reductions.get(0)!.contributions.map(({ minerId }) => minerId)).toEqual(['a', 'b']);
    swarm.merge(0);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 32 }]);
  });
});

describe('a miner that gets nowhere', () => {
  it('gives up its place after five minutes of loading, and is told to join anew', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
    swarm.join('c');
    expect(codes(swarm.tick(phaseDeadline - 1))).not.toContain('MINER_STALLED');
    const effects = swarm.tick(1);
    expect(codes(effects)).toContain('MINER_STALLED');
    expect(of(effects, 'dismiss')).toEqual([{ type: 'dismiss', minerId: 'c' }]);
    expect(swarm.coordinator.miner('c')).toBeUndefined();
    expect(of(swarm.join('c'), 'assign').length).toBe(1);
  });

  it('puts that off by no reconnecting', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
    swarm.join('c');
    swarm.tick(phaseDeadline - 60_000);
    swarm.join('c');
    swarm.tick(60_000);
    expect(swarm.coordinator.miner('c')).toBeUndefined();
  });

  it.each([
    ['a step that is not done', 9],
    ['one long past', 1],
  ])('puts that off by no word that it holds %s', (_, version) => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
    swarm.reach(6);
    swarm.join('c');
    for (let minute = 1; minute < 5; minute++) {
      swarm.tick(60_000);
      const { round } = swarm.miner('c');
      swarm.send({ type: 'ready', minerId: 'c', stage: 0, round, version, parameterHash: 'never seen' });
      expect(swarm.miner('c')).toMatchObject({ phase: 'loading', version: -1 });
    }
    swarm.tick(60_000);
    expect(swarm.coordinator.miner('c')).toBeUndefined();
  });

  it('has its own time after a ban, however soon after it it comes back', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
    swarm.join('c');
    swarm.coordinator.state.creditOf(swarm.miner('c')).bans = 5;
    for (let i = 0; i < LIMITS.lateBeforeBan; i++) {
      const { round } = swarm.miner('c');
      swarm.send({ type: 'ready', minerId: 'c', stage: 0, round, version: 0, parameterHash: 'another' });
    }
    expect(swarm.miner('c').owed).not.toBeNull();
    swarm.now = swarm.miner('c').bannedUntil + 1;
    expect(of(swarm.join('c'), 'assign').length).toBeGreaterThan(0);
    expect(codes(swarm.tick(phaseDeadline - 1))).not.toContain('MINER_STALLED');
  });

  it('gives up its place after five minutes of applying a merge', () => {
    const { swarm } = behind(1);
    expect(swarm.miner('b').phase).toBe('applying');
    swarm.tick(phaseDeadline);
    expect(swarm.coordinator.miner('b')).toBeUndefined();
    expect(swarm.coordinator.miner('a')).toBeDefined();
  });

  it('makes room, so that another fills its stage', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    swarm.leave('b');
    const moved = swarm.crews[1]![0]!;
    swarm.join('d');
    expect(swarm.crews[1]).toEqual([moved]);
    const effects = swarm.tick(phaseDeadline);
    expect(swarm.coordinator.miner(moved)).toBeUndefined();
    expect(codes(effects)).toContain('MINER_STALLED');
    // d loaded nothing either; whoever is left cannot be spared.
    expect(swarm.coordinator.minerCount).toBe(1);
  });
});
