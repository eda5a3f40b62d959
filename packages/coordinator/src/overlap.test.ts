/** Merging beside the next step: what each version holds, what waits for what, and what is left out. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, of, refusal, Swarm, uploadOf, whom } from './for-tests.ts';
import { NOTHING } from './stage.ts';

/** One stage whose miners have done two microbatches each of step 0: their gradients are asked for, and nothing is to be applied. */
function begun(miners = ['a', 'b'], minMicrobatches = 1): Swarm {
  const swarm = Swarm.ready(miners, { stages: 1, microbatchesPerStep: 2 * miners.length, minMicrobatches, overlap: true });
  swarm.compute();
  return swarm;
}
/** Step 1 is under way, step 0's gradients are not here yet. */
function overlapping(...args: Parameters<typeof begun>): Swarm {
  const swarm = begun(...args);
  swarm.applied(swarm.applies.get(0)!);
  for (const id of swarm.hands.keys()) swarm.apply(id);
  return swarm;
}

describe('with overlap', () => {
  it('the first version after the start is the same parameters: its gradients are still on their way', () => {
    const swarm = begun();
    expect(of(swarm.log, 'apply')).toMatchObject([{ version: 0, summed: NOTHING }]);
    expect(whom(of(swarm.log, 'collect'))).toEqual(['a', 'b']);
  });

  it('the next step is computed while gradients are handed in and reduced, and version n + 1 has those up to step n − 1', () => {
    const swarm = overlapping();
    expect(swarm.stages[0]).toMatchObject({ version: 1, phase: 'training' });
    swarm.compute(undefined, 5);
    expect(swarm.stages[0]!.phase, 'settled, and waiting for the merge of step 0').toBe('merging');
    swarm.contributeAll();
    const [sum] = of(swarm.sum(0), 'sum');
    expect(sum).toMatchObject({ version: 0, tokens: 32 });
    expect(swarm.applies.get(0)).toMatchObject({ version: 1, summed: { shards: sum!.shards } });
    expect(
      of(swarm.log, 'collect')
        .slice(2)
        .map(({ version }) => version),
    ).toEqual([1, 1]);
  });

  it('reducers and gradients of the step before are taken in the middle of the next', () => {
    const swarm = overlapping();
    const [first] = swarm.leasesOf('a');
    swarm.receipt('a', first!.id);
    swarm.contributeAll();
    swarm.draw(0);
    expect(of(swarm.reduceAll(0), 'sum').length).toBe(1);
    expect(swarm.stages[0]).toMatchObject({ version: 1, phase: 'training', merge: { version: 0 } });
  });

  it('everybody is told to fetch what came of it before it is to be applied', () => {
    const swarm = overlapping();
    swarm.contributeAll();
    expect(of(swarm.sum(0), 'prefetch').map(({ minerId, shards }) => [minerId, shards.length])).toEqual(
      [
        ['a', 2],
        ['b', 2],
      ].map(([id]) => [id, swarm.stages[0]!.merge.shards]),
    );
  });

  it('a gradient whose miner leaves is left out, and nothing is computed again', () => {
    const swarm = overlapping();
    swarm.contribute('b');
    const effects = swarm.leave('a');
    expect(of(effects, 'draw').length).toBe(1);
    expect(of(swarm.sum(0), 'sum')).toMatchObject([{ version: 0, tokens: 16 }]);
    expect(swarm.counters.redone).toBe(0);
  });

  it('a gradient that takes unusually long is left out when the stage stands still for it; when it comes it is too late', () => {
    const swarm = overlapping();
    swarm.contribute('b');
    swarm.pass(LIMITS.firstRedo + 1_000);
    expect(swarm.stages[0]!.merge.collecting.size, 'nobody waits for it yet').toBe(1);
    swarm.compute();
    const { round, shards } = swarm.hands.get('a')!.collect!;
    const effects = swarm.tick();
    expect(codes(effects)).toContain('CONTRIBUTION_LATE');
    expect(of(effects, 'draw').length).toBe(1);
    expect(swarm.miner('a').late).toBe(0);
    const contribution = { minerId: 'a', stage: 0, version: 0, round, microbatches: [0, 1], ...uploadOf('a', round, shards) };
    expect(refusal(swarm.send({ type: 'contribution', ...contribution }))).toBe('CONTRIBUTION_LATE');
    swarm.reach(4);
  });

  it('a step of which too few gradients came changes nothing, and the run goes on', () => {
    const swarm = overlapping(['a', 'b'], 3);
    swarm.contribute('b');
    const effects = swarm.leave('a');
    expect(codes(effects)).toContain('MERGE_EMPTY');
    swarm.compute();
    expect(swarm.applies.get(0)).toMatchObject({ version: 1, summed: NOTHING });
    swarm.reach(3);
  });

  it('a new process is asked again for the merge that is applied and for the one that is under way', () => {
    const swarm = begun();
    swarm.contributeAll();
    swarm.draw(0);
    const effects = swarm.send({ type: 'restart' });
    expect(of(effects, 'apply')).toMatchObject([{ version: 0, summed: NOTHING }]);
    expect(of(effects, 'reduce').length).toBe(2 * swarm.stages[0]!.merge.shards);
    for (const id of ['a', 'b']) swarm.resume(id);
    swarm.reach(3);
  });
});
