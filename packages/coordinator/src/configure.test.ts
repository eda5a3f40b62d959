/** The end of a run, and other goals for it. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { grants, of, Swarm } from './for-tests.ts';
import type { Goals } from './types.ts';

const goals = (over: Partial<Goals>): { type: 'configure'; goals: Goals } => ({
  type: 'configure',
  goals: { steps: 0, validateEvery: 10, minMicrobatches: 1, ...over },
});

describe('a run', () => {
  it('is complete after its last step, and gives out no more work', () => {
    const swarm = Swarm.ready(['a', 'b'], { steps: 2 }).reach(2);
    expect(swarm.stages.map(({ phase }) => phase)).toEqual(['complete', 'complete']);
    for (const id of ['a', 'b']) swarm.apply(id);
    expect([swarm.leasesOf('a'), swarm.leasesOf('b')]).toEqual([[], []]);
    expect(of(swarm.log, 'closed').map(({ step }) => step)).toEqual([0, 1]);
    expect(swarm.coordinator.state.steps.size).toBe(0);
  });

  it('without a last step goes on', () => {
    const swarm = Swarm.ready(['a', 'b'], { steps: 0 }).reach(20);
    expect(swarm.stages.map(({ phase }) => phase)).toEqual(['training', 'training']);
  });

  it('that begins at its last step is complete from the start', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, steps: 5, version: 5 });
    expect(swarm.stages[0]!.phase).toBe('complete');
    expect(grants(swarm.log)).toEqual([]);
  });

  it('begins where its checkpoint was, with the data that comes next', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, version: 7, microbatchesPerStep: 3 });
    expect(swarm.leasesOf('a')).toMatchObject([
      { version: 7, microbatch: 21 },
      { version: 7, microbatch: 22 },
    ]);
    swarm.reach(8);
    expect(of(swarm.log, 'closed')).toMatchObject([{ step: 7 }]);
  });

  it('needs parameters for every stage', () => {
    expect(() => new Swarm({ stages: 2, parameterHashes: ['p'] })).toThrow('1 parameter hashes for 2 stages');
  });
});

describe('other goals', () => {
  it('make a complete run go on', () => {
    const swarm = Swarm.ready(['a', 'b'], { steps: 1 }).reach(1);
    for (const id of ['a', 'b']) swarm.apply(id);
    expect(grants(swarm.send(goals({ steps: 3 }))).length).toBe(2);
    swarm.reach(3);
    expect(swarm.stages.map(({ phase }) => phase)).toEqual(['complete', 'complete']);
  });

  it('end a run in the middle of a step that is not wanted any more', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 4 }).reach(1);
    for (const id of ['a', 'b']) swarm.apply(id);
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    swarm.send(goals({ steps: 1 }));
    expect(swarm.stages.map(({ phase }) => phase)).toEqual(['complete', 'complete']);
    // What was leased is taken and credited; nothing new is given out.
    const before = swarm.coordinator.credit('a')!.receipts;
    const effects = swarm.compute();
    expect(swarm.coordinator.credit('a')!.receipts).toBeGreaterThan(before);
    expect(grants(effects)).toEqual([]);
  });

  it('let a run that ended in the middle of a step go on there, backwards that wait for their miner included', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 4 }).reach(1);
    for (const id of ['a', 'b']) swarm.apply(id);
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    swarm.send(goals({ steps: 1 }));
    swarm.compute();
    expect(swarm.coordinator.state.steps.get(1)!.pinned.get('a')?.length).toBeGreaterThan(0);
    const effects = swarm.send(goals({ steps: 2 }));
    expect(grants(effects).map(({ minerId, lease }) => `${minerId} ${lease.kind}`)).toContain('a backward');
    swarm.reach(2);
    expect(of(swarm.log, 'closed').map(({ step }) => step)).toEqual([0, 1]);
  });

  it('do not take a complete stage back into training when a miner goes that had done something in the step', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 4 }).reach(1);
    for (const id of ['a', 'b', 'c']) swarm.apply(id);
    swarm.compute((_, { microbatch, kind }) => kind === 'forward' || microbatch < 6);
    expect(swarm.coordinator.credit('b')!.backwards).toBeGreaterThan(4);
    swarm.send(goals({ steps: 1 }));
    const effects = [...swarm.leave('b'), ...swarm.leave('a')];
    expect(swarm.stages.map(({ phase }) => phase)).toEqual(['complete', 'complete']);
    expect(grants(effects)).toEqual([]);
    swarm.send(goals({ steps: 2 }));
    swarm.join('d');
    swarm.reach(2);
  });

  it('do not take a complete stage back into training for a gradient that does not come', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
    swarm.compute();
    swarm.contribute('b');
    swarm.tick(LIMITS.firstRedo);
    swarm.send(goals({ steps: 1 }));
    expect(swarm.stages[0]!.phase).toBe('training');
    const ended = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 }).reach(1);
    for (const id of ['a', 'b']) ended.apply(id);
    ended.compute();
    ended.leave('b');
    expect(ended.stages[0]!.phase).toBe('training');
    ended.send(goals({ steps: 1 }));
    ended.join('c');
    ended.load('c');
    ended.pass(2 * LIMITS.collectDeadline);
    expect(ended.stages[0]!.phase).toBe('complete');
    expect(ended.miner('a').phase).toBe('ready');
  });

  it('change how often is validated, from the next step on', () => {
    const swarm = Swarm.ready(['a', 'b'], { validationMicrobatches: 1, validateEvery: 100 });
    swarm.reach(2);
    swarm.send(goals({ validateEvery: 1 }));
    swarm.reach(5);
    expect(of(swarm.log, 'closed').map(({ validation }) => validation !== null)).toEqual([true, false, false, true, true]);
  });

  it('reach a run that merges when it has merged', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    swarm.compute();
    swarm.contribute('a');
    swarm.send(goals({ steps: 1 }));
    expect(swarm.stages[0]!.phase).toBe('merging');
    swarm.merge(0);
    expect(swarm.stages[0]!.phase).toBe('complete');
  });
});
