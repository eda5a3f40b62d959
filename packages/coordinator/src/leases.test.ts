/** Leases and their receipts: refused, counted, surplus, given back as useless. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { grants, of, refusal, Swarm, whom } from './for-tests.ts';

/** Everything but the counts of refusals. */
const text = (swarm: Swarm) => JSON.stringify(swarm.coordinator.snapshot()).replaceAll(/"rejected":\d+/g, '');

describe('a receipt', () => {
  it('counts, is credited, and lets the next stage go on', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1 });
    const [lease] = swarm.leasesOf('a');
    expect(lease).toMatchObject({
      kind: 'forward',
      stage: 0,
      version: 0,
      microbatch: 0,
      sendInput: true,
      deadlineMs: LIMITS.firstDeadline,
    });
    const effects = swarm.wait(40).receipt('a', lease!.id);
    expect(of(effects, 'settled')).toEqual([
      {
        type: 'settled',
        minerId: 'a',
        leaseId: lease!.id,
        work: { kind: 'forward', stage: 0, version: 0, microbatch: 0, tookMs: 40 },
        outcome: 'counted',
      },
    ]);
    expect(grants(effects)).toMatchObject([{ minerId: 'b', lease: { kind: 'backward', stage: 1, microbatch: 0 } }]);
    expect(swarm.coordinator.credit('a')).toMatchObject({ receipts: 1, backwards: 0 });
    swarm.receipt('b', swarm.leasesOf('b')[0]!.id);
    expect(swarm.coordinator.credit('b')).toMatchObject({ receipts: 1, backwards: 1 });
  });

  it.each([
    ['of a miner that is not there', 'NOT_JOINED', 'nobody', 't-1'],
    ['for a lease that was never granted', 'LEASE_UNKNOWN', 'a', 't-99'],
    ['for somebody else’s lease', 'LEASE_NOT_YOURS', 'b', 't-1'],
  ])('%s is refused and changes nothing', (_, code, minerId, leaseId) => {
    const swarm = Swarm.ready(['a', 'b']);
    const before = text(swarm);
    const effects = swarm.receipt(minerId, leaseId);
    expect(effects).toEqual([{ type: 'refuse', minerId, code, message: expect.any(String), leaseId, work: null }]);
    expect(text(swarm)).toBe(before);
  });

  it('that never got here, since it could not be read, is counted and recorded with the work it was for', () => {
    const swarm = Swarm.ready(['a', 'b']);
    const before = text(swarm);
    const refused = (minerId: string, leaseId: string | null) =>
      swarm.wait(7).send({ type: 'refused', minerId, code: 'TENSOR_SHAPE', message: 'Too small.', leaseId });
    const work = { kind: 'forward', stage: 0, version: 0, microbatch: 0, tookMs: 7 };
    expect(refused('a', 't-1')).toEqual([
      { type: 'refuse', minerId: 'a', code: 'TENSOR_SHAPE', message: 'Too small.', leaseId: 't-1', work },
    ]);
    expect(refused('a', null)).toMatchObject([{ leaseId: null, work: null }]);
    expect(refused('b', 't-1'), 'somebody else’s').toMatchObject([{ leaseId: 't-1', work: null }]);
    expect(refusal(refused('nobody', null))).toBe('NOT_JOINED');
    expect(swarm.counters.rejected).toBe(4);
    expect(swarm.miner('a').rejected).toBe(2);
    expect(text(swarm).replaceAll(/"now":\d+/g, '')).toBe(before.replaceAll(/"now":\d+/g, ''));
  });

  it('that comes twice counts once', () => {
    const swarm = Swarm.ready(['a', 'b']);
    swarm.receipt('a', 't-1');
    const before = text(swarm);
    expect(refusal(swarm.receipt('a', 't-1'))).toBe('RECEIPT_DUPLICATE');
    expect(text(swarm)).toBe(before);
    expect(swarm.counters.rejected).toBe(1);
    expect(swarm.miner('a').rejected).toBe(1);
  });

  it('that comes when another was faster is credited as surplus, once', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    const again = grants(swarm.tick(LIMITS.firstDeadline))[0]!;
    swarm.receipt('b', again.lease.id);
    expect(of(swarm.receipt('a', 't-1'), 'settled')).toMatchObject([{ outcome: 'surplus' }]);
    const before = text(swarm);
    expect(refusal(swarm.receipt('a', 't-1'))).toBe('LEASE_EXPIRED');
    expect(text(swarm)).toBe(before);
    expect(swarm.coordinator.credit('a')).toMatchObject({ receipts: 0, surplus: 1 });
    expect(swarm.counters.surplus).toBe(1);
  });

  it('is credited until the step after its own is merged, and does not count in it', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    const again = grants(swarm.tick(LIMITS.firstDeadline))[0]!;
    swarm.receipt('b', again.lease.id);
    swarm.contribute('b');
    swarm.merge(0);
    expect(swarm.stages[0]!.version).toBe(1);
    // Over the merge: the grace window.
    const effects = swarm.receipt('a', 't-1');
    expect(of(effects, 'settled')).toMatchObject([{ outcome: 'surplus', work: { version: 0 } }]);
    expect(swarm.coordinator.view()[0]).toMatchObject({ done: 0, total: 1 });
  });

  it('is not known any more when two merges lie between', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
    const again = grants(swarm.tick(LIMITS.firstDeadline))[0]!;
    swarm.receipt('b', again.lease.id);
    swarm.reach(2);
    expect(refusal(swarm.receipt('a', 't-1'))).toBe('LEASE_UNKNOWN');
  });

  it('of a lease of before a new assignment counts, and its miner is not taken to keep the input any more', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 4 });
    const [lease] = swarm.leasesOf('a');
    swarm.disconnect('a');
    swarm.tick(LIMITS.reconnectGrace);
    expect(swarm.coordinator.miner('a')).toBeUndefined();
    swarm.join('a');
    const effects = swarm.receipt('a', lease!.id);
    expect(of(effects, 'settled')).toMatchObject([{ outcome: 'counted', work: { kind: 'forward', microbatch: lease!.microbatch } }]);
    expect(swarm.coordinator.credit('a')).toMatchObject({ receipts: 1 });
    expect(swarm.miner('a').kept).toBe(0);
    swarm.load('a');
    swarm.reach(1);
  });

  it('of a lease of before a new assignment says nothing of how fast its miner is now', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 4 });
    const [lease] = swarm.leasesOf('a');
    swarm.disconnect('a');
    swarm.tick(LIMITS.reconnectGrace);
    swarm.join('a');
    swarm.wait(20).receipt('a', lease!.id);
    expect(swarm.miner('a').samples).toBe(0);
  });

  it('of a backward of before a new assignment is credited: its gradient is gone', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    const [lease] = swarm.leasesOf('a');
    swarm.join('a');
    expect(of(swarm.receipt('a', lease!.id), 'settled')).toMatchObject([{ outcome: 'surplus' }]);
    swarm.load('a');
    swarm.reach(1);
  });

  it('leaves at most the leases of two steps in memory', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 2, microbatchesPerStep: 4 });
    for (let version = 1; version <= 12; version++) {
      swarm.reach(version);
      // Four microbatches, three tasks each.
      expect(swarm.coordinator.snapshot().leases.length).toBeLessThanOrEqual(2 * 12);
    }
  });
});

describe('losses', () => {
  it('are summed over the microbatches that came to the last stage', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 3, validationMicrobatches: 2 }).reach(1);
    expect(of(swarm.log, 'closed')).toEqual([
      { type: 'closed', step: 0, tokens: 24, lossSum: 48, validation: { tokens: 16, lossSum: 32 }, norms: [1, 1] },
    ]);
  });

  it('on held-out text are measured in the steps they are wanted for, and in the last', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1, validationMicrobatches: 1, validateEvery: 3, steps: 5 }).reach(5);
    expect(of(swarm.log, 'closed').map(({ validation }) => validation !== null)).toEqual([true, false, false, true, true]);
  });
});

describe('the order of work', () => {
  it('is backwards before forwards, and training before validation', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 5, validationMicrobatches: 1 });
    const order: string[] = [];
    const note = (effects: ReturnType<Swarm['send']>) =>
      order.push(
        ...grants(effects)
          .filter(({ minerId }) => minerId === 'a')
          .map(({ lease }) => `${lease.kind} ${lease.microbatch}`),
      );
    note(swarm.log);
    for (let next = swarm.leasesOf('a')[0]; next; next = swarm.leasesOf('a')[0]) {
      note(swarm.receipt('a', next.id));
      note(swarm.compute((id) => id === 'b'));
    }
    expect(order).toEqual([
      ...['forward 0', 'forward 1', 'forward 2'],
      // b was fast: all three come back before the fourth begins.
      ...['backward 0', 'backward 1', 'backward 2', 'forward 3', 'forward 4'],
      // Nothing comes back at the moment.
      ...['evaluate 0', 'backward 3', 'backward 4'],
    ]);
  });

  it('shares the work of a stage by what its miners have shown', () => {
    const swarm = Swarm.ready(['fast', 'slow'], { stages: 1, microbatchesPerStep: 40 });
    const due = new Map<string, number>();
    const takes = (id: string) => (id === 'fast' ? 100 : 400);
    for (let version = 1; version <= 3; ) {
      for (const id of ['fast', 'slow']) {
        if (swarm.leasesOf(id).length > 0 && !due.has(id)) due.set(id, swarm.now + takes(id));
      }
      const next = [...due].sort(([, a], [, b]) => a - b)[0];
      if (next) {
        due.delete(next[0]);
        swarm.now = next[1];
        swarm.receipt(next[0], swarm.leasesOf(next[0])[0]!.id);
      } else {
        swarm.contributeAll();
        swarm.merge(0);
        for (const id of ['fast', 'slow']) swarm.apply(id);
        version += 1;
      }
    }
    const [fast, slow] = ['fast', 'slow'].map((id) => swarm.coordinator.credit(id)!.receipts) as [number, number];
    expect(fast + slow).toBe(120);
    expect(fast / slow).toBeGreaterThan(3);
    expect(fast / slow).toBeLessThan(5);
    expect(whom(of(swarm.log, 'cancel'))).toEqual([]);
  });
});
