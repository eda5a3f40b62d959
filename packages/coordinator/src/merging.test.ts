/** Gradients are collected and merged. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, type EffectOf, grants, hashOf, of, refusal, Swarm, uploadOf, whom } from './for-tests.ts';
import type { Input } from './types.ts';

const text = (swarm: Swarm) => JSON.stringify(swarm.coordinator.snapshot()).replaceAll(/"rejected":\d+/g, '');

/** One stage whose miners have done two microbatches each: their gradients are asked for. */
function collecting(miners = ['a', 'b']): Swarm {
  const swarm = Swarm.ready(miners, { stages: 1, microbatchesPerStep: 2 * miners.length });
  swarm.compute();
  return swarm;
}
const collects = (swarm: Swarm): EffectOf<'collect'>[] => of(swarm.log, 'collect');

describe('collecting', () => {
  it('asks everybody who did a backward for exactly what it did, when the last of the step is done', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute((_, { microbatch }) => microbatch < 3);
    expect(collects(swarm)).toEqual([]);
    swarm.compute();
    expect(collects(swarm)).toMatchObject([
      { minerId: 'a', stage: 0, version: 0, microbatches: [0, 1] },
      { minerId: 'b', stage: 0, version: 0, microbatches: [2, 3] },
    ]);
    expect(swarm.stages[0]).toMatchObject({ phase: 'merging', phaseSince: swarm.now });
  });

  it('asks nobody who did nothing', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 2 });
    swarm.compute();
    expect(whom(collects(swarm))).toEqual(['a']);
  });

  it('begins a new round for each: what it does after this is another sum', () => {
    const swarm = collecting();
    for (const { minerId, round } of collects(swarm)) expect(swarm.miner(minerId).round).toBeGreaterThan(round);
  });

  it('says what is awaited, so that the gateway takes no upload for nothing', () => {
    const swarm = collecting();
    const [{ round }] = collects(swarm) as [EffectOf<'collect'>];
    const { coordinator } = swarm;
    expect(coordinator.collectsFrom('a', 0, 0, round)).toBe(true);
    expect([
      coordinator.collectsFrom('a', 0, 0, round + 1),
      coordinator.collectsFrom('a', 0, 1, round),
      coordinator.collectsFrom('a', 7, 0, round),
      coordinator.collectsFrom('b', 0, 0, round),
    ]).toEqual([false, false, false, false]);
    swarm.contribute('a');
    expect(coordinator.collectsFrom('a', 0, 0, round)).toBe(false);
  });
});

describe('the reduction', () => {
  it('is asked for when the last gradient is there, in the order of the first microbatch, whoever came first', () => {
    const swarm = collecting();
    expect(swarm.begun(swarm.contribute('b'))).toEqual([]);
    const [reduce] = swarm.begun(swarm.contribute('a'));
    expect(reduce).toMatchObject({ stage: 0, version: 0, tokens: 32 });
    expect(reduce!.contributions).toMatchObject([
      { minerId: 'a', microbatches: [0, 1] },
      { minerId: 'b', microbatches: [2, 3] },
    ]);
  });

  it('keeps the order in which a miner added its microbatches up', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 2 });
    for (const { id } of swarm.leasesOf('a').toReversed()) swarm.receipt('a', id);
    expect(collects(swarm)).toMatchObject([{ microbatches: [0, 1] }]);
    expect(swarm.begun(swarm.contribute('a'))).toMatchObject([{ contributions: [{ microbatches: [1, 0] }] }]);
  });

  it('ends the step: new version, new leases, and everybody is told of the merge', () => {
    const swarm = collecting();
    swarm.contributeAll();
    const effects = swarm.merge(0);
    expect(whom(of(effects, 'distribute'))).toEqual(['a', 'b']);
    expect(of(effects, 'distribute')[0]!.merge).toEqual({
      version: 1,
      parameterHash: hashOf(0, 1),
      shards: expect.any(Array),
      norm: 1,
      tokens: 32,
      clipNorm: 1,
    });
    expect(of(effects, 'release')).toEqual([{ type: 'release', stage: 0, version: 0 }]);
    expect(of(effects, 'closed')).toMatchObject([{ step: 0, lossSum: 64, tokens: 32 }]);
    expect(swarm.stages[0]).toMatchObject({ version: 1, phase: 'training', parameterHash: hashOf(0, 1), merge: { contributions: [] } });
    expect(grants(effects)).toEqual([]);
    expect(grants(swarm.apply('a')).length).toBe(2);
  });

  it('that was merged already is not merged again', () => {
    const swarm = collecting();
    swarm.contributeAll();
    swarm.reduceAll(0);
    const sum = { shards: swarm.sums.get(0)!.shards, norm: 1, tokens: 32 };
    const merged = { type: 'merged', stage: 0, version: 1, parameterHash: hashOf(0, 1), ...sum, clipNorm: 1 } as const;
    expect(swarm.send(merged), 'nothing is summed yet').toEqual([]);
    swarm.send({ type: 'summed', stage: 0, version: 0, ...sum });
    swarm.send(merged);
    const before = text(swarm);
    expect(swarm.send(merged)).toEqual([]);
    expect(swarm.send({ ...merged, version: 3 })).toEqual([]);
    expect(text(swarm)).toBe(before);
  });

  it('goes on when a contributor is gone by then', () => {
    const swarm = collecting();
    swarm.contributeAll();
    swarm.leave('a');
    expect(swarm.stages[0]!.phase).toBe('merging');
    expect(of(swarm.merge(0), 'closed')).toMatchObject([{ tokens: 32 }]);
  });
});

describe('a gradient', () => {
  it('that nobody asked for is refused', () => {
    const swarm = collecting();
    const [{ round }] = collects(swarm) as [EffectOf<'collect'>];
    const gradient: Input = {
      type: 'contribution',
      minerId: 'a',
      stage: 0,
      version: 0,
      round,
      microbatches: [0, 1],
      ...uploadOf('a', round, 2),
    };
    const before = text(swarm);
    for (const wrong of [{ round: round + 9 }, { version: 1 }, { stage: 1 }, { stage: 5 }])
      expect(refusal(swarm.send({ ...gradient, ...wrong }))).toBe('CONTRIBUTION_UNEXPECTED');
    expect(refusal(swarm.send({ ...gradient, minerId: 'nobody' }))).toBe('NOT_JOINED');
    expect(text(swarm)).toBe(before);
  });

  it('that comes twice counts once', () => {
    const swarm = collecting();
    const [{ round }] = collects(swarm) as [EffectOf<'collect'>];
    const gradient: Input = {
      type: 'contribution',
      minerId: 'a',
      stage: 0,
      version: 0,
      round,
      microbatches: [0, 1],
      ...uploadOf('a', round, 2),
    };
    const cut = swarm.stages[0]!.merge.shards;
    expect(refusal(swarm.send({ ...gradient, ...uploadOf('a', round, cut) }))).toBeUndefined();
    const before = text(swarm);
    expect(refusal(swarm.send(gradient))).toBe('CONTRIBUTION_UNEXPECTED');
    expect(text(swarm)).toBe(before);
  });

  it.each([
    ['fewer', [0]],
    ['others', [0, 3]],
    ['one of them twice', [0, 0]],
    ['more', [0, 1, 2]],
    ['no', []],
  ])('over %s microbatches is left out: they are done again, and its miner counts as late and fetches its stage', (_, microbatches) => {
    const swarm = collecting();
    const [{ round }] = collects(swarm) as [EffectOf<'collect'>];
    const effects = swarm.send({
      type: 'contribution',
      minerId: 'a',
      stage: 0,
      version: 0,
      round,
      microbatches,
      ...uploadOf('a', round, 2),
    });
    expect(refusal(effects)).toBe('CONTRIBUTION_MISMATCH');
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'a', why: 'its gradient covered other microbatches' }]);
    expect(grants(effects)).toMatchObject([
      { minerId: 'b', lease: { kind: 'backward', microbatch: 0, sendInput: true } },
      { minerId: 'b', lease: { kind: 'backward', microbatch: 1, sendInput: true } },
    ]);
    expect(swarm.miner('a')).toMatchObject({ late: 1, rejected: 1 });
    swarm.reach(1);
  });

  it('that is useless is left out, its miner banned at once, and its microbatches are done by others', () => {
    const swarm = collecting();
    const effects = swarm.spoil('a');
    expect(refusal(effects)).toBe('TENSOR_NOT_FINITE');
    expect(codes(effects)).toContain('TENSOR_NOT_FINITE');
    expect(swarm.miner('a')).toMatchObject({ resting: true, owed: 'its gradient was not usable', bannedUntil: swarm.now + LIMITS.banBase });
    expect(whom(grants(effects))).toEqual(['b', 'b']);
    swarm.compute();
    // What b had done before is a sum of its own.
    expect(collects(swarm).at(-1)).toMatchObject({ minerId: 'b', microbatches: [2, 3] });
    swarm.contribute('b');
    expect(collects(swarm).at(-1)).toMatchObject({ minerId: 'b', microbatches: [0, 1] });
    expect(swarm.begun(swarm.contribute('b'))).toMatchObject([
      {
        tokens: 32,
        contributions: [
          { minerId: 'b', microbatches: [0, 1] },
          { minerId: 'b', microbatches: [2, 3] },
        ],
      },
    ]);
  });

  it('that nobody asked for cannot be called useless either', () => {
    const swarm = collecting();
    const before = text(swarm);
    const spoiled = { type: 'spoiled', minerId: 'a', stage: 0, version: 0, round: 99, code: 'TENSOR_SHAPE', message: '' } as const;
    expect(refusal(swarm.send(spoiled))).toBe('CONTRIBUTION_UNEXPECTED');
    expect(text(swarm)).toBe(before);
  });
});

describe('a miner that goes before it has handed in its gradient', () => {
  it.each([
    ['leaves', (swarm: Swarm) => swarm.leave('a')],
    ['starts anew', (swarm: Swarm) => swarm.join('a')],
  ])('and %s takes it along: its microbatches are done again by others', (_, goes) => {
    const swarm = collecting();
    const effects = goes(swarm);
    expect(swarm.stages[0]!.phase).toBe('training');
    expect(grants(effects).map(({ minerId, lease }) => [minerId, lease.microbatch])).toEqual([
      ['b', 0],
      ['b', 1],
    ]);
    expect(swarm.counters.handedOver).toBe(2);
    swarm.reach(1);
    expect(swarm.begun(swarm.log)).toMatchObject([{ tokens: 32 }]);
  });

  it('leaves others the time to hand in theirs first: rounds are collected one after the other', () => {
    const swarm = collecting(['a', 'b', 'c']);
    swarm.leave('a');
    swarm.compute();
    // b did what a had done, and owes a sum of the first round still.
    expect(swarm.stages[0]!.phase).toBe('training');
    expect(collects(swarm).length).toBe(3);
    swarm.contribute('b');
    swarm.contribute('c');
    expect(swarm.stages[0]!.phase).toBe('merging');
    expect(collects(swarm).length).toBeGreaterThan(3);
    swarm.reach(1);
    const [reduce] = swarm.begun(swarm.log);
    expect(reduce!.contributions.flatMap(({ microbatches }) => microbatches).sort()).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('can be the only one: the stage begins its step again when somebody is there', () => {
    const swarm = collecting(['a']);
    swarm.leave('a');
    expect(swarm.stages[0]!.phase).toBe('training');
    expect(swarm.crews).toEqual([[]]);
    swarm.join('z');
    swarm.reach(1);
    expect(swarm.begun(swarm.log)).toMatchObject([{ contributions: [{ minerId: 'z', microbatches: [0, 1] }] }]);
  });
});

describe('the log', () => {
  it.each([false, true])(
    'has a line for every step: by how many, of how much, how long, and whom it waited for (overlap: %s)',
    (overlap) => {
      const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 2, microbatchesPerStep: 4, overlap });
      swarm.reach(3, 100);
      const steps = of(swarm.log, 'closed').map(({ step }) => step);
      const lines = of(swarm.log, 'event').filter(({ code }) => code === 'STEP_MERGED');
      expect(lines.map(({ level, message }) => [level, Number(/^Step (\d+) made/.exec(message)![1])])).toEqual(
        steps.map((step) => ['info', step]),
      );
      expect(lines.at(-1)!.message).toMatch(/miners by stage 2, 1; 4 microbatches; merged in \d+\.\d s, stage [01] last\.$/);
      expect(lines.map(({ merged }) => merged!.step)).toEqual(steps);
      expect(lines.at(-1)!.merged).toMatchObject({ microbatches: 4, tookMs: expect.any(Number) });
      expect(/; (\d) microbatches/.exec(lines[0]!.message)![1], 'with overlap the first step merges what was before it').toBe(
        overlap ? '0' : '4',
      );
    },
  );
});
