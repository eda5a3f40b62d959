import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { Coordinator } from './coordinator.ts';
import { type Schedule, simulate } from './simulation.ts';
import type { CoordinatorConfig, Effect, Input } from './types.ts';

const config = (over: Partial<CoordinatorConfig> = {}): CoordinatorConfig => ({
  stages: 2,
  microbatchesPerStep: 2,
  validationMicrobatches: 0,
  validateEvery: 10,
  steps: 3,
  tokensPerMicrobatch: 8,
  version: 0,
  parameterHashes: Array.from({ length: over.stages ?? 2 }, (_, stage) => `p${stage}@0`),
  leasePrefix: 't',
  ...over,
});

/** A coordinator with ready miners, and a way to see effects by type. */
function ready(miners: string[], over: Partial<CoordinatorConfig> = {}) {
  const coordinator = new Coordinator(config(over));
  const log: Effect[] = [];
  const send = (input: Input, now = 0) => {
    const effects = coordinator.handle(input, now);
    log.push(...effects);
    return effects;
  };
  for (const minerId of miners) send({ type: 'join', minerId, holding: null });
  for (const minerId of miners) {
    const { stage } = coordinator.miner(minerId)!;
    send({ type: 'ready', minerId, stage, version: 0, parameterHash: `p${stage}@0` });
  }
  const grants = (effects: Effect[] = log) => effects.filter((effect) => effect.type === 'grant');
  const receipt = (minerId: string, leaseId: string, now = 0) =>
    send({ type: 'receipt', minerId, leaseId, outputHash: 'h', lossSum: 8, computeMs: 5 }, now);
  return { coordinator, send, log, grants, receipt };
}
const refusal = (effects: Effect[]) => effects.find((effect) => effect.type === 'refuse')?.code;

describe('placement', () => {
  it('puts each newcomer on the stage with the fewest miners', () => {
    const { coordinator } = ready(['a', 'b', 'c', 'd', 'e'], { stages: 3 });
    expect(coordinator.view().map(({ miners }) => miners.map((miner) => miner.id))).toEqual([['a', 'd'], ['b', 'e'], ['c']]);
  });

  it('moves a miner from the best staffed stage when a stage loses its last one', () => {
    const { coordinator, send } = ready(['a', 'b', 'c']);
    const effects = send({ type: 'leave', minerId: 'b' });
    expect(effects).toContainEqual(expect.objectContaining({ type: 'assign', stage: 1 }));
    expect(coordinator.view().map(({ miners }) => miners.length)).toEqual([1, 1]);
  });
});

describe('a miner that never gets ready', () => {
  it('loses its place after the deadline, so that another fills its stage', () => {
    const { coordinator, send } = ready(['a', 'b', 'c']);
    send({ type: 'leave', minerId: 'b' });
    const moved = coordinator.view()[1]!.miners[0]!.id;
    send({ type: 'join', minerId: 'd', holding: null }, 1);
    expect(coordinator.miner(moved)!.phase).toBe('loading');
    const effects = send({ type: 'tick' }, LIMITS.phaseDeadline + 1);
    expect(effects).toContainEqual(expect.objectContaining({ type: 'event', code: 'MINER_STALLED' }));
    expect(coordinator.miner(moved)).toBeUndefined();
    expect(refusal(send({ type: 'ready', minerId: moved, stage: 1, version: 0, parameterHash: 'p1@0' }, LIMITS.phaseDeadline + 2))).toBe(
      'NOT_JOINED',
    );
    send({ type: 'join', minerId: moved, holding: null }, LIMITS.phaseDeadline + 3);
    expect(coordinator.miner(moved)!.phase).toBe('loading');
  });
});

describe('leases and receipts', () => {
  it('refuses a receipt for someone else’s lease, an unknown lease and a second receipt, and changes nothing', () => {
    const { coordinator, grants, receipt } = ready(['a', 'b']);
    const [lease] = grants();
    const before = JSON.stringify(coordinator.view());
    expect(refusal(receipt('b', lease!.lease.id))).toBe('LEASE_NOT_YOURS');
    expect(refusal(receipt('a', 'nothing'))).toBe('LEASE_UNKNOWN');
    expect(refusal(receipt('nobody', lease!.lease.id))).toBe('NOT_JOINED');
    const count = (view: string) => view.replaceAll(/"rejected":\d+/g, '');
    expect(count(JSON.stringify(coordinator.view()))).toBe(count(before));
    expect(refusal(receipt('a', lease!.lease.id))).toBeUndefined();
    expect(refusal(receipt('a', lease!.lease.id))).toBe('RECEIPT_DUPLICATE');
    expect(coordinator.miner('a')!.receipts).toBe(1);
  });

  it('hands an expired lease to another miner, and takes whichever receipt comes first', () => {
    const { send, grants, receipt } = ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    const first = grants().find((grant) => grant.lease.stage === 0)!;
    const late = send({ type: 'tick' }, LIMITS.firstDeadline + 1);
    const second = grants(late).find((grant) => grant.lease.stage === 0)!;
    expect(second.minerId).not.toBe(first.minerId);
    const accepted = receipt(first.minerId, first.lease.id, LIMITS.firstDeadline + 2);
    expect(refusal(accepted)).toBeUndefined();
    expect(accepted).toContainEqual({ type: 'cancel', minerId: second.minerId, leaseId: second.lease.id });
    expect(refusal(receipt(second.minerId, second.lease.id))).toBe('LEASE_EXPIRED');
  });

  it('takes a lease whose result is useless from its miner at once, and gives it to another', () => {
    const { send, grants } = ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    const [first] = grants();
    const effects = send({ type: 'forfeit', minerId: 'a', leaseId: first!.lease.id, code: 'TENSOR_NOT_FINITE', message: 'NaN' });
    expect(refusal(effects)).toBe('TENSOR_NOT_FINITE');
    expect(grants(effects)).toMatchObject([{ minerId: 'c', lease: { microbatch: first!.lease.microbatch } }]);
  });

  it('keeps the backward with the miner that has the input, and sends the input when that miner is gone', () => {
    const { coordinator, send, grants, receipt } = ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    const forward = grants().find((grant) => grant.lease.kind === 'forward')!;
    receipt(forward.minerId, forward.lease.id);
    const top = grants().find((grant) => grant.lease.stage === 1)!;
    const pinned = grants(receipt(top.minerId, top.lease.id))[0]!;
    expect(pinned).toMatchObject({ minerId: forward.minerId, lease: { kind: 'backward', stage: 0, sendInput: false } });
    const again = grants(send({ type: 'leave', minerId: forward.minerId })).find((grant) => grant.lease.stage === 0)!;
    expect(again.minerId).not.toBe(forward.minerId);
    expect(again.lease.sendInput).toBe(true);
    expect(coordinator.counters.recomputed).toBe(1);
  });

  it('lets a dropped miner resume within the grace time with the same leases', () => {
    const { send, grants } = ready(['a', 'b'], { microbatchesPerStep: 1 });
    const [lease] = grants();
    send({ type: 'disconnect', minerId: 'a' }, 0);
    expect(grants(send({ type: 'tick' }, LIMITS.reconnectGrace - 1))).toEqual([]);
    const back = send({ type: 'join', minerId: 'a', holding: { stage: 0, version: 0 } }, LIMITS.reconnectGrace - 1);
    expect(grants(back).map((grant) => grant.lease.id)).toEqual([lease!.lease.id]);
    expect(back.some((effect) => effect.type === 'assign')).toBe(false);
  });
});

describe('merging', () => {
  /** One stage, miners a and b with two microbatches each, all computed: a step that is being collected. */
  function collecting() {
    const world = ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    for (const grant of world.grants()) world.receipt(grant.minerId, grant.lease.id);
    const collects = world.log.filter((effect) => effect.type === 'collect');
    return { ...world, collects };
  }

  it('reduces in the order of microbatches, and sends everybody the merge', () => {
    const { send, collects } = collecting();
    expect(collects.map((collect) => collect.microbatches)).toEqual([
      [0, 1],
      [2, 3],
    ]);
    for (const { minerId, microbatches } of collects.toReversed()) {
      send({ type: 'contribution', minerId, stage: 0, version: 0, microbatches, gradient: `g-${minerId}` });
    }
    const merged = send({ type: 'merged', stage: 0, version: 1, parameterHash: 'p0@1' });
    expect(merged.filter((effect) => effect.type === 'distribute').map((effect) => effect.minerId)).toEqual(['a', 'b']);
    expect(merged).toContainEqual(expect.objectContaining({ type: 'closed', step: 0, lossSum: 32, tokens: 32 }));
    expect(send({ type: 'merged', stage: 0, version: 1, parameterHash: 'p0@1' }).filter((effect) => effect.type !== 'wait')).toEqual([]);
  });

  it('resynchronises a miner whose parameters differ, and reports it', () => {
    const { coordinator, send, collects } = collecting();
    for (const { minerId, microbatches } of collects)
      send({ type: 'contribution', minerId, stage: 0, version: 0, microbatches, gradient: 'g' });
    send({ type: 'merged', stage: 0, version: 1, parameterHash: 'p0@1' });
    const effects = send({ type: 'applied', minerId: 'a', stage: 0, version: 1, parameterHash: 'other' });
    expect(refusal(effects)).toBe('PARAMETERS_DIVERGED');
    expect(effects).toContainEqual(expect.objectContaining({ type: 'assign', minerId: 'a', version: 1 }));
    expect(coordinator.counters.resynchronised).toBe(1);
  });

  it('redoes the microbatches of a contributor that vanishes or whose gradient is useless', () => {
    for (const lost of [
      { type: 'leave', minerId: 'b' },
      { type: 'spoiled', minerId: 'b', stage: 0, version: 0, code: 'TENSOR_NOT_FINITE', message: 'NaN' },
    ] satisfies Input[]) {
      const { send, grants, receipt, collects } = collecting();
      const again = grants(send(lost));
      expect(again.map((grant) => grant.lease)).toMatchObject([
        { kind: 'backward', microbatch: 2, sendInput: true },
        { kind: 'backward', microbatch: 3, sendInput: true },
      ]);
      for (const grant of again) expect(refusal(receipt('a', grant.lease.id))).toBeUndefined();
      const reduced = [
        ...send({ type: 'contribution', minerId: 'a', stage: 0, version: 0, microbatches: collects[0]!.microbatches, gradient: 'g0' }),
        ...send({ type: 'contribution', minerId: 'a', stage: 0, version: 0, microbatches: [2, 3], gradient: 'g1' }),
      ].find((effect) => effect.type === 'reduce');
      expect(reduced).toMatchObject({
        tokens: 32,
        contributions: [
          { gradient: 'g0', microbatches: [0, 1] },
          { gradient: 'g1', microbatches: [2, 3] },
        ],
      });
    }
  });

  it('refuses a gradient over other microbatches and one nobody asked for', () => {
    const { send } = collecting();
    const wrong = { type: 'contribution' as const, stage: 0, version: 0, microbatches: [0, 2], gradient: 'g' };
    expect(refusal(send({ ...wrong, minerId: 'a' }))).toBe('CONTRIBUTION_MISMATCH');
    expect(refusal(send({ ...wrong, minerId: 'a' }))).toBe('CONTRIBUTION_UNEXPECTED');
    expect(refusal(send({ ...wrong, minerId: 'a', stage: 7 }))).toBe('CONTRIBUTION_UNEXPECTED');
  });
});

describe('reasons', () => {
  it('tells an idle miner why it waits at the next tick, once', () => {
    const waits = ({ send }: ReturnType<typeof ready>) =>
      send({ type: 'tick' })
        .filter((effect) => effect.type === 'wait')
        .map((effect) => effect.code);
    expect(waits(ready(['a']))).toEqual([]); // it has forwards to compute
    const crowded = ready(['a', 'b', 'c', 'd'], { microbatchesPerStep: 1 });
    expect(waits(crowded).toSorted()).toEqual(['OTHER_MINERS', 'UPSTREAM', 'UPSTREAM']);
    expect(waits(crowded)).toEqual([]);
  });
});

describe('under random faults', () => {
  const schedule: Schedule = {
    crash: 0.02,
    drop: 0.03,
    leave: 0.01,
    join: 0.05,
    stall: 0.04,
    spoil: 0.02,
    diverge: 0.02,
    duplicate: 0.05,
  };

  it('finishes every run, counts each microbatch once per step and stage, and keeps replicas equal', () => {
    for (let seed = 1; seed <= 1000; seed++) {
      const stages = 1 + (seed % 4);
      const result = simulate(
        seed,
        config({ stages, steps: 4, microbatchesPerStep: 1 + (seed % 5), validationMicrobatches: seed % 3, validateEvery: 2 }),
        schedule,
      );
      expect(result.problem, `seed ${seed}`).toBeNull();
    }
  });

  it('gives the same effects for the same seed', () => {
    const run = () => simulate(7, config({ stages: 3, steps: 5 }), schedule).effects;
    expect(run()).toBe(run());
  });
});
