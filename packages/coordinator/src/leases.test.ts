/** Leases and their receipts: refused, counted, surplus, given back as useless. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, grants, of, refusal, Swarm, whom } from './for-tests.ts';
import { packFlows, unpackFlows } from './packed.ts';
import type { GrantedLease } from './types.ts';

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

describe('a useless result', () => {
  it('takes the lease from its miner at once, counts as late, and another gets it', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    const effects = swarm.forfeit('a', 't-1');
    expect(refusal(effects)).toBe('TENSOR_NOT_FINITE');
    expect(grants(effects)).toMatchObject([{ minerId: 'c', lease: { kind: 'forward', microbatch: 0 } }]);
    expect(swarm.miner('a').late).toBe(1);
    expect(swarm.coordinator.credit('a')).toMatchObject({ receipts: 0 });
  });

  it('is the last word on its lease', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    swarm.forfeit('a', 't-1');
    const before = text(swarm);
    expect(refusal(swarm.forfeit('a', 't-1'))).toBe('LEASE_EXPIRED');
    expect(refusal(swarm.receipt('a', 't-1'))).toBe('LEASE_EXPIRED');
    expect(text(swarm)).toBe(before);
    expect(refusal(swarm.forfeit('c', 't-1'))).toBe('LEASE_NOT_YOURS');
  });

  it('for the third time, in whosever hands, leaves the microbatch out of its step', () => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 1, microbatchesPerStep: 8 });
    const poison = swarm.leasesOf('a')[0]!.microbatch;
    const hands: string[] = [];
    const isPoison = (id: string) => swarm.leasesOf(id).find(({ microbatch }) => microbatch === poison);
    for (let i = 0; i < 3; i++) {
      const id = ['a', 'b', 'c', 'd'].find((id) => isPoison(id))!;
      hands.push(id);
      swarm.forfeit(id, isPoison(id)!.id);
      swarm.compute((_, { microbatch }) => microbatch !== poison);
    }
    expect(new Set(hands).size).toBeGreaterThan(1);
    expect(codes(swarm.log)).toContain('MICROBATCH_ABANDONED');
    expect(swarm.counters.abandoned).toBe(1);
    swarm.contributeAll();
    expect(swarm.reductions.get(0)).toMatchObject({ tokens: 7 * 8 });
    expect(of(swarm.merge(0), 'closed')).toMatchObject([{ step: 0, tokens: 7 * 8 }]);
  });

  it('is asked for on and on when no more microbatches may be left out, and people are told', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2, minMicrobatches: 2 });
    for (let i = 0; i < 4; i++) {
      swarm.compute((_, { microbatch }) => microbatch === 1);
      const effects = swarm.forfeit('a', swarm.leasesOf('a')[0]!.id);
      expect(codes(effects).includes('MICROBATCH_USELESS')).toBe(i >= 2);
    }
    expect(swarm.counters.abandoned).toBe(0);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 16 }]);
  });

  it.each(['stage', 'global'] as const)(
    'of what another miner sent is left out whatever the step needs, all of it if need be (%s)',
    (clip) => {
      const swarm = Swarm.ready(['a', 'b'], { stages: 2, microbatchesPerStep: 2, minMicrobatches: 2, clip });
      // At the first stage no gradient can be computed from what the second sends.
      const isPoisoned = ({ stage, version, kind }: GrantedLease) => stage === 0 && version === 0 && kind === 'backward';
      for (let i = 0; i < 6; i++) {
        swarm.compute((_, lease) => !isPoisoned(lease));
        swarm.forfeit('a', swarm.leasesOf('a').find(isPoisoned)!.id);
        swarm.pass(20_000);
      }
      expect(swarm.counters.abandoned).toBe(2);
      expect(codes(swarm.log)).toContain('MERGE_EMPTY');
      expect(swarm.counters.bans, 'whoever computes on it is not at fault').toBe(0);
      swarm.reach(2);
      expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 16 }, { tokens: 16 }]);
      expect(of(swarm.log, 'apply').map(({ stage, version, summed }) => [stage, version, summed.tokens])).toContainEqual([0, 0, 0]);
    },
  );

  it('of what another miner sent is the fault of who gave it as soon as one that is trusted makes something of it', () => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd', 'e', 'f'], { stages: 2, microbatchesPerStep: 12 });
    const { state } = swarm.coordinator;
    const [liar, other, ...honest] = [...state.crews[1]!.members.keys()] as [string, string, ...string[]];
    for (const id of honest) state.reputationOf(id).cleanSteps = 1;
    // Two give back nothing that can be used, as quickly as they are asked.
    for (let i = 0; i < 12; i++) {
      for (const id of [liar, other]) for (const lease of swarm.leasesOf(id)) swarm.forfeit(id, lease.id);
      swarm.compute((id) => ![liar, other].includes(id));
    }
    expect(swarm.counters.abandoned).toBe(0);
    const faults = (ids: string[]) => ids.map((id) => state.miners.get(id)!.late > 0);
    expect(faults([liar, other])).toEqual([true, true]);
    expect(faults(honest)).toEqual([false]);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 12 * 8 }]);
  });

  it('of what another miner sent is nobody’s fault when a stranger says that it can be used', () => {
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 2, microbatchesPerStep: 4 });
    const { state } = swarm.coordinator;
    const [honest, stranger] = [...state.crews[1]!.members.keys()] as [string, string];
    for (let i = 0; i < 12; i++) {
      for (const lease of swarm.leasesOf(honest)) swarm.forfeit(honest, lease.id);
      swarm.compute((id) => id !== honest);
    }
    expect(of(swarm.log, 'settled').some(({ minerId, outcome }) => minerId === stranger && outcome === 'counted')).toBe(true);
    expect(swarm.counters.handedOver).toBeGreaterThan(0);
    expect(state.miners.get(honest)!.late).toBe(0);
  });

  /** At the second stage: strangers that give back nothing of use, as quickly as they are asked, and honest ones with all the work they may have. */
  function besieged() {
    const swarm = Swarm.ready([...'abcdefghijklmn'], { stages: 2, microbatchesPerStep: 24 });
    const { state } = swarm.coordinator;
    const [first, second, third, ...honest] = [...state.crews[1]!.members.keys()] as [string, string, string, ...string[]];
    const strangers = [first, second, third];
    /** Until there is nothing left but what the honest compute. */
    const forfeitAll = () => {
      for (let held = true; held; ) {
        held = false;
        for (const id of strangers) for (const { id: lease } of swarm.leasesOf(id)) held = swarm.forfeit(id, lease).length > 0;
      }
    };
    return { swarm, state, honest, forfeitAll };
  }

  it('is not the last word of three quick strangers where nobody is trusted: from the second on it waits for who delivers', () => {
    const { swarm, state, honest, forfeitAll } = besieged();
    for (let version = 1; version <= 2; version++) {
      for (const [id, { merge }] of swarm.hands) if (merge) swarm.apply(id);
      // What comes from the first stage is there at once, and the honest of the second have one lease done at a time.
      for (let busy: string | undefined = 'all'; busy; ) {
        swarm.compute((_, { stage }) => stage === 0);
        forfeitAll();
        busy = honest.find((id) => swarm.leasesOf(id).length > 0);
        if (busy) swarm.wait(1_000).receipt(busy, swarm.leasesOf(busy)[0]!.id);
      }
      swarm.reach(version);
    }
    expect(swarm.counters.abandoned).toBeLessThanOrEqual(1);
    expect(swarm.counters.bans).toBe(0);
    expect(honest.every((id) => state.miners.get(id)!.late === 0)).toBe(true);
  });

  it('in the hands of strangers that are ready first waits for those that still apply the last merge', () => {
    const { swarm, honest, forfeitAll } = besieged();
    swarm.compute();
    swarm.contributeAll();
    for (const stage of [0, 1]) swarm.merge(stage);
    for (const [id, { merge }] of swarm.hands) if (merge && !honest.includes(id)) swarm.apply(id);
    swarm.compute((_, { stage }) => stage === 0);
    for (const id of honest) expect(swarm.miner(id).phase).toBe('applying');
    forfeitAll();
    for (const id of honest) swarm.apply(id);
    swarm.reach(2);
    // Some had delivered as much as the honest: what those agree on is the last that they have a say in.
    expect(swarm.counters.abandoned).toBeLessThanOrEqual(1);
  });

  it('in a snapshot that tells only how many there were is read', () => {
    const { state } = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 }).coordinator;
    const [flow] = state.steps.get(0)!.flows;
    const task = flow!.cells[0]!.backward!;
    task.forfeits = ['a', 'b'];
    const [packed] = packFlows([flow!]);
    const before = structuredClone(packed!);
    (before[3][0]![1] as { forfeits: unknown }).forfeits = 2;
    unpackFlows([before], [flow!]);
    expect(task.forfeits).toHaveLength(2);
    expect(task.forfeits).not.toContain('a');
  });

  it('of a held-out microbatch leaves that out, whatever the step needs', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 1, validationMicrobatches: 2 });
    for (let i = 0; i < 3; i++) {
      const isUseless = ({ kind, microbatch }: GrantedLease) => kind === 'evaluate' && microbatch === 0;
      swarm.compute((_, lease) => !isUseless(lease));
      swarm.forfeit('a', swarm.leasesOf('a').find(isUseless)!.id);
    }
    expect(swarm.counters.abandoned).toBe(1);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 8, validation: { tokens: 8, lossSum: 16 } }]);
  });

  it('cancels what others still do for the same microbatch', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 3, minMicrobatches: 1 });
    const { state } = swarm.coordinator;
    const task = state.steps.get(0)!.flows[0]!.cells[0]!.backward!;
    const [holder] = ['a', 'b', 'c'].filter((id) => swarm.leasesOf(id).some(({ microbatch }) => microbatch === 0));
    const lease = swarm.leasesOf(holder!).find(({ microbatch }) => microbatch === 0)!;
    swarm.disconnect(holder!);
    swarm.compute((_, { microbatch }) => microbatch !== 0);
    const [hedge] = grants(swarm.tick());
    swarm.resume(holder!);
    task.forfeits = ['d', 'e'];
    // Or its answer would be waited for.
    state.setAmends(hedge!.minerId, 1);
    const effects = swarm.forfeit(holder!, lease.id);
    expect(of(effects, 'cancel')).toEqual([{ type: 'cancel', minerId: hedge!.minerId, leaseId: hedge!.lease.id }]);
    expect(of(swarm.receipt(hedge!.minerId, hedge!.lease.id), 'settled')).toMatchObject([{ outcome: 'surplus' }]);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ tokens: 2 * 8 }]);
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
