/** Back-pressure and blame: rests, lateness, shorter queues, bans. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, grants, of, refusal, Swarm, whom } from './for-tests.ts';

/** Late with all it holds, `times` times in a row, without a receipt between. */
function late(swarm: Swarm, minerId: string, times: number): void {
  for (let i = 0; i < times; i++) {
    const held = new Set(swarm.miner(minerId).leases);
    if (held.size === 0) throw new Error(`${minerId} has nothing to be late with`);
    swarm.tick(LIMITS.maximumDeadline);
  }
}

/** One stage, where a was late three times in a row and b does everything. */
function banned(): Swarm {
  const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
  const b = (id: string) => id === 'b';
  swarm.compute(b);
  swarm.tick(LIMITS.firstDeadline); // with two leases
  swarm.compute(b);
  swarm.contributeAll();
  swarm.merge(0);
  swarm.apply('a');
  swarm.apply('b');
  swarm.compute(b);
  swarm.tick(LIMITS.maximumDeadline); // with one
  return swarm;
}

describe('a miner that says it is busy', () => {
  it('hands its lease to another at once, gets none while it rests, and is not blamed', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    const [lease] = swarm.leasesOf('a');
    swarm.compute((id) => id === 'b');
    const effects = swarm.busy('a', lease!.id, 5_000);
    expect(grants(effects)).toMatchObject([{ minerId: 'b', lease: { microbatch: lease!.microbatch } }]);
    expect(swarm.miner('a')).toMatchObject({ resting: true, late: 0, bannedUntil: 0 });
    expect(grants(swarm.tick(4_999)).length).toBe(0);
    expect(swarm.miner('a').resting).toBe(true);
    swarm.tick(1);
    expect(swarm.miner('a').resting).toBe(false);
  });

  it('goes on with its other leases, and a receipt of the one it gave back counts while nobody else was faster', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    const [first, second] = swarm.leasesOf('a');
    swarm.busy('a', first!.id);
    expect(of(swarm.receipt('a', second!.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
    expect(of(swarm.receipt('a', first!.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
  });

  it('rests for a minute at most, and no longer than it wants', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
    swarm.busy('a', null, 1e12);
    expect(swarm.miner('a').restUntil).toBe(swarm.now + LIMITS.longestRest);
    const effects = swarm.busy('a', null, 0);
    expect(swarm.miner('a')).toMatchObject({ resting: false, restUntil: 0 });
    expect(of(effects, 'refuse')).toEqual([]);
  });

  it('leaves its pinned backwards to others, who get their inputs sent', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 2 });
    swarm.compute((_, { kind, stage }) => kind === 'forward' && stage === 0);
    const [pinned] = swarm.leasesOf('b');
    swarm.busy('a', null, 9_000);
    const effects = swarm.receipt('b', pinned!.id);
    expect(grants(effects)).toMatchObject([{ minerId: 'c', lease: { kind: 'backward', stage: 0, sendInput: true } }]);
    expect(swarm.counters.recomputed).toBe(1);
  });

  it('is refused for a lease that is not its own, settled, or of nobody', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    const [own] = swarm.leasesOf('a');
    const [other] = swarm.leasesOf('b');
    expect(refusal(swarm.busy('a', other!.id))).toBe('LEASE_NOT_YOURS');
    expect(refusal(swarm.busy('a', 'nothing'))).toBe('LEASE_UNKNOWN');
    expect(refusal(swarm.busy('nobody', null))).toBe('NOT_JOINED');
    swarm.receipt('a', own!.id);
    expect(refusal(swarm.busy('a', own!.id))).toBe('RECEIPT_DUPLICATE');
    expect(swarm.miner('a').resting).toBe(false);
  });

  it('has its rest although it is banned for longer and the stage has nobody else', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 });
    late(swarm, 'a', 2);
    const [lease] = swarm.miner('a').leases;
    expect(swarm.miner('a')).toMatchObject({ resting: true });
    expect(swarm.miner('a').bannedUntil).toBeGreaterThan(swarm.now + 10_000);
    const effects = swarm.busy('a', lease!, 10_000);
    expect(grants(effects)).toEqual([]);
    // Its rest is over, and the ban is ignored: there is nobody else.
    expect(grants(swarm.tick(9_999))).toEqual([]);
    expect(whom(grants(swarm.tick(1)))).toEqual(['a']);
  });

  it('gets its owed assignment when it ends its rest after its ban and before the next tick', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
    swarm.compute();
    swarm.spoil('a');
    expect(swarm.miner('a')).toMatchObject({ phase: 'loading', owed: 'its gradient was not usable' });
    const effects = swarm.wait(LIMITS.banBase).busy('a', null, 0);
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'a', why: 'its gradient was not usable' }]);
    expect(swarm.miner('a').owed).toBeNull();
  });
});

describe('a miner that is late', () => {
  it('has its lease handed to another, and its receipt counts still if it is first', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    const [lease] = swarm.leasesOf('a');
    const effects = swarm.tick(LIMITS.firstDeadline);
    expect(codes(effects)).toEqual(['LEASE_HANDED_OVER']);
    const [again] = grants(effects);
    expect(again).toMatchObject({ minerId: 'b', lease: { microbatch: lease!.microbatch } });
    const counted = swarm.receipt('a', lease!.id);
    expect(of(counted, 'settled')).toMatchObject([{ outcome: 'counted', work: { tookMs: LIMITS.firstDeadline } }]);
    expect(of(counted, 'cancel')).toEqual([{ type: 'cancel', minerId: 'b', leaseId: again!.lease.id }]);
    expect(of(swarm.receipt('b', again!.lease.id), 'settled')).toMatchObject([{ outcome: 'surplus' }]);
  });

  it('is not late before its deadline, and is on the millisecond of it', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    expect(codes(swarm.tick(LIMITS.firstDeadline - 1))).toEqual([]);
    expect(codes(swarm.tick(1))).toEqual(['LEASE_HANDED_OVER']);
  });

  it('twice in a row has one lease at a time, until it is in time again', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 8 });
    expect(swarm.miner('a').leases.size).toBe(2);
    swarm.tick(LIMITS.firstDeadline); // two leases: late twice
    expect([swarm.miner('a').late, swarm.miner('a').leases.size]).toEqual([2, 1]);
    const [lease] = swarm.miner('a').leases;
    swarm.receipt('a', lease!);
    expect([swarm.miner('a').late, swarm.miner('a').leases.size]).toEqual([0, 2]);
  });

  it('is forgiven by a receipt that counts, even for a lease that it had lost: it is slow, and not gone', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 8 });
    const [lease] = swarm.leasesOf('a');
    swarm.tick(LIMITS.firstDeadline);
    expect(of(swarm.receipt('a', lease!.id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
    expect(swarm.miner('a').late).toBe(0);
  });

  it('three times in a row is banned, gets nothing while others are fit, and comes back by itself', () => {
    const swarm = banned();
    expect(swarm.miner('a')).toMatchObject({ resting: true, bannedUntil: swarm.now + LIMITS.banBase, late: 3 });
    expect([swarm.counters.bans, swarm.coordinator.credit('a')!.bans]).toEqual([1, 1]);
    const told = of(swarm.log, 'event').filter(({ code }) => code === 'MINER_BANNED');
    expect(told.map(({ level, message }) => [level, message])).toEqual([
      ['warning', 'Miner a gets no leases for 15 s: 3 times in a row something came late.'],
    ]);
    swarm.compute((id) => id === 'b');
    swarm.contributeAll();
    swarm.merge(0);
    const granted = [...swarm.apply('b'), ...swarm.apply('a'), ...swarm.compute((id) => id === 'b')];
    expect(whom(grants(granted))).toEqual(['b', 'b', 'b', 'b']);
    expect([swarm.miner('a').phase, swarm.miner('a').version]).toEqual(['ready', 2]);
    swarm.tick(LIMITS.banBase);
    expect(swarm.miner('a')).toMatchObject({ resting: false, late: 3 });
    swarm.reach(5, 10);
    expect(swarm.miner('a').late).toBe(0);
  });

  it('is banned for twice as long the next time, with one more lease that is late', () => {
    const swarm = banned();
    swarm.tick(LIMITS.banBase);
    swarm.compute((id) => id === 'b');
    for (let i = 0; i < 20 && !swarm.miner('a').resting; i++) {
      swarm.contributeAll();
      if (swarm.reductions.size > 0) swarm.merge(0);
      for (const id of ['a', 'b']) if (swarm.hands.get(id)!.merge) swarm.apply(id);
      swarm.compute((id) => id === 'b');
      swarm.tick(LIMITS.maximumDeadline);
    }
    expect(swarm.miner('a').bannedUntil).toBe(swarm.now + 2 * LIMITS.banBase);
    expect(swarm.coordinator.credit('a')!.bans).toBe(2);
  });

  it('works on although it is banned when the stage has nobody else', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 });
    late(swarm, 'a', 2);
    expect([swarm.miner('a').resting, swarm.miner('a').leases.size]).toEqual([true, 1]);
    swarm.reach(1);
    expect(swarm.miner('a').resting).toBe(true);
  });

  it('cannot end its ban by leaving, nor get its stage before', () => {
    const swarm = banned();
    swarm.leave('a');
    const effects = swarm.wait(1_000).join('a');
    expect(of(effects, 'assign')).toEqual([]);
    expect(swarm.miner('a')).toMatchObject({ resting: true, phase: 'loading' });
    expect(of(swarm.pass(LIMITS.banBase - 1_001), 'assign')).toEqual([]);
    expect(of(swarm.tick(1), 'assign')).toMatchObject([{ minerId: 'a' }]);
    swarm.load('a');
    expect(swarm.miner('a').phase).toBe('ready');
  });
});

describe('a miner that rests again and again', () => {
  it('is not counted on after two minutes: another takes its place, and it may come back', () => {
    const swarm = Swarm.ready(['a', 'x', 'c', 'd'], { microbatchesPerStep: 4 });
    const rest = () => {
      for (const { id } of swarm.leasesOf('x')) swarm.busy('x', id, LIMITS.longestRest);
      swarm.busy('x', null, LIMITS.longestRest);
    };
    for (const id of ['d']) swarm.leave(id); // a and c on stage 0, x alone on stage 1
    expect(['a', 'c', 'x'].map((id) => swarm.miner(id).stage)).toEqual([0, 0, 1]);
    for (let ms = 0; ms < LIMITS.restPatience; ms += 10_000) {
      rest();
      expect(swarm.counters.moved).toBe(0);
      swarm.tick(10_000);
    }
    rest();
    expect(swarm.counters.moved).toBe(1);
    const moved = ['a', 'c'].find((id) => swarm.miner(id).stage === 1)!;
    swarm.load(moved);
    swarm.busy('x', null, 0);
    expect(swarm.miner('x').absent).toBe(false);
    swarm.reach(1);
  });

  it('is staff when it rests for a moment, long after it rested for another', () => {
    const swarm = Swarm.ready(['a', 'x', 'c'], { microbatchesPerStep: 4 });
    swarm.busy('x', null, 1_000);
    swarm.pass(LIMITS.restPatience + 30_000);
    swarm.busy('x', null, 1_000);
    swarm.tick(500);
    expect([swarm.miner('x').absent, swarm.counters.moved]).toEqual([false, 0]);
  });

  it('is staff when what it had begun comes in the middle of its rest', () => {
    const swarm = Swarm.ready(['a', 'x', 'c'], { stages: 1, microbatchesPerStep: 8 });
    const [begun, waits] = swarm.leasesOf('x');
    swarm.busy('x', waits!.id, LIMITS.longestRest);
    swarm.receipt('x', begun!.id);
    swarm.tick(250);
    expect(swarm.miner('x')).toMatchObject({ resting: true, absent: false });
  });

  it('rests no less because it can make nothing of what it had begun', () => {
    const swarm = Swarm.ready(['a', 'x', 'c'], { stages: 1, microbatchesPerStep: 8 });
    const [begun, waits] = swarm.leasesOf('x');
    swarm.busy('x', waits!.id, LIMITS.longestRest);
    const { restUntil } = swarm.miner('x');
    swarm.wait(10).send({ type: 'forfeit', minerId: 'x', leaseId: begun!.id, code: 'TENSOR_NOT_FINITE', message: 'inf' });
    expect(swarm.miner('x').restUntil).toBe(restUntil);
  });

  it('rests for a second at least when it gives a lease back', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    const effects = swarm.busy('a', swarm.leasesOf('a')[0]!.id, 0);
    expect(grants(effects)).toEqual([]);
    expect(swarm.miner('a')).toMatchObject({ resting: true, restUntil: swarm.now + LIMITS.shortestRest, restingSince: swarm.now });
    swarm.tick(LIMITS.shortestRest);
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    expect(swarm.miner('a').restingSince).toBeNull();
  });
});

describe('time in which the server could do nothing', () => {
  it('makes nobody late: leases, gradients, fetching, lost connections', () => {
    const idleMs = 10 * 60_000;
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute((id) => id === 'a');
    swarm.join('d');
    swarm.disconnect('c');
    const before = ['a', 'b', 'c', 'd'].map((id) => [...swarm.miner(id).leases]);
    const effects = swarm.wait(idleMs).send({ type: 'tick', idleMs });
    expect(effects.filter(({ type }) => type !== 'wait' && type !== 'grant')).toEqual([]);
    expect(['a', 'b', 'c', 'd'].map((id) => [...swarm.miner(id).leases])).toEqual(before);
    expect(codes(swarm.tick(LIMITS.reconnectGrace))).toContain('MINER_GONE');
  });
});

describe('time in which the server could do nothing, told only after what came in it', () => {
  it('leaves no time to come, no negative pace, and nobody who is gone for longer than usual', () => {
    const idleMs = 100_000;
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 12 });
    for (const id of ['a', 'b']) swarm.wait(50).receipt(id, swarm.leasesOf(id)[0]!.id);
    // SIGCONT: what waited in the sockets is read before the clock is looked at. The invariants are looked at, too.
    swarm.wait(idleMs);
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    swarm.disconnect('c');
    swarm.send({ type: 'tick', idleMs });
    expect(swarm.miner('a').settledAt).toBe(swarm.now);
    expect(swarm.miner('c').goneAt).toBe(swarm.now + LIMITS.reconnectGrace);
    for (const { id } of swarm.leasesOf('a')) expect(swarm.coordinator.leaseOf(id)).toMatchObject({ grantedAt: swarm.now });
    swarm.wait(40).receipt('a', swarm.leasesOf('a')[0]!.id);
    expect(swarm.miner('a').pace).toBeGreaterThan(0);
    expect(codes(swarm.tick(LIMITS.reconnectGrace))).toEqual(['MINER_GONE']);
  });
});

describe('what is given up', () => {
  it('goes into the history of its miner, with the work it was', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    const [lease] = swarm.leasesOf('a');
    expect(of(swarm.tick(LIMITS.firstDeadline), 'lapse')).toEqual([
      {
        type: 'lapse',
        minerId: 'a',
        code: 'LEASE_LATE',
        message: 'Nothing came within 90 s.',
        leaseId: lease!.id,
        work: { kind: 'backward', stage: 0, version: 0, microbatch: lease!.microbatch, tookMs: LIMITS.firstDeadline },
      },
    ]);
    swarm.disconnect('a');
    expect(of(swarm.tick(LIMITS.reconnectGrace), 'lapse')).toMatchObject([
      { minerId: 'a', code: 'REMOVED', message: 'This miner is gone.' },
    ]);
    expect(of(swarm.leave('b'), 'lapse')).toEqual([]);
  });
});

describe('credit', () => {
  it('outlasts leaving', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.reach(1);
    const before = { ...swarm.coordinator.credit('a')! };
    expect(before).toMatchObject({ receipts: 2, backwards: 2, surplus: 0, bans: 0 });
    swarm.leave('a');
    expect(swarm.coordinator.miner('a')).toBeUndefined();
    expect(swarm.coordinator.credit('a')).toEqual(before);
    swarm.join('a');
    swarm.load('a');
    swarm.apply('b');
    swarm.reach(2);
    expect(swarm.coordinator.credit('a')!.receipts).toBeGreaterThan(before.receipts);
  });

  it('keeps what a miner said of itself and how often it was refused, over all its stays, once it has done something', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 8 });
    swarm.receipt('b', swarm.leasesOf('b')[0]!.id);
    for (let stay = 1; stay <= 2; stay++) {
      swarm.receipt('b', 'nothing');
      swarm.leave('b');
      expect(swarm.coordinator.credit('b')).toMatchObject({ rejected: stay, receipts: 1, facts: { backend: 'cpu' } });
      swarm.join('b');
      expect(swarm.miner('b').rejected).toBe(0);
    }
    // Nobody could count them.
    swarm.join('visitor');
    swarm.receipt('visitor', 'nothing');
    swarm.leave('visitor');
    expect(swarm.coordinator.credit('visitor')).toBeUndefined();
  });

  it('is not given for joining, loading and leaving', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 2 });
    swarm.leave('c');
    expect(swarm.coordinator.credit('c')).toBeUndefined();
  });
});
