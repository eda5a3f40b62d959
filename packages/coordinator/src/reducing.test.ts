/** How gradients are reduced among those who made them, and what happens when somebody lies, vanishes, or is alone. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { codes, digest, grants, of, reducedOf, refusal, Swarm, whom } from './for-tests.ts';
import type { CoordinatorConfig } from './types.ts';

const LIE = digest('a lie');
const reduction = (more: Partial<CoordinatorConfig['reduction']> = {}): CoordinatorConfig['reduction'] => ({
  ...{ parameters: [3 * 4_096], codec: 'f32', merged: 'f32', means: false, medianClip: null, spotCheck: 0, ...more },
});

/** One stage whose miners have handed in gradients over two microbatches each: the pairs are drawn. */
function reducing(miners = ['a', 'b', 'c'], more: Partial<CoordinatorConfig['reduction']> = {}): Swarm {
  const swarm = Swarm.ready(miners, { stages: 1, microbatchesPerStep: 2 * miners.length, reduction: reduction(more) });
  swarm.compute();
  swarm.contributeAll();
  swarm.draw(0);
  return swarm;
}
const asked = (swarm: Swarm, id: string) => swarm.hands.get(id)!.reduces;

describe('a reduction', () => {
  it('gives every pair a shard, every shard to two, and is done when all pairs agree', () => {
    const swarm = reducing();
    const tasks = of(swarm.log, 'reduce');
    expect(tasks.map(({ shard }) => shard).sort()).toEqual([0, 0, 1, 1, 2, 2]);
    for (const id of ['a', 'b', 'c']) expect(asked(swarm, id).length).toBe(2);
    expect(new Set([0, 1, 2].map((shard) => `${whom(tasks.filter((task) => task.shard === shard)).sort()}`)).size).toBe(3);
    const truth = [0, 1, 2].map((shard) => reducedOf(tasks.find((task) => task.shard === shard)!));
    expect(of(swarm.reduceAll(0), 'sum')).toEqual([{ type: 'sum', stage: 0, version: 0, shards: truth, tokens: 48 }]);
    expect(of(swarm.log, 'recompute')).toEqual([]);
    swarm.merge(0);
    expect(swarm.stages[0]).toMatchObject({ version: 1, merge: { butterfly: null, shards: 0 } });
    expect(swarm.stages[0]!.agreement).toMatchObject(
      [
        ['a', 'b'],
        ['a', 'c'],
        ['b', 'c'],
      ].map((pair) => ({ pair, compared: 1, agreed: 1, disagreed: 0 })),
    );
  });

  it('is drawn from all commits: another gradient, other pairs', () => {
    const swarm = reducing();
    const [draw] = of(swarm.log, 'draw');
    for (const id of ['a', 'b', 'c']) {
      for (const hash of swarm.stages[0]!.merge.contributions.find(({ minerId }) => minerId === id)!.hashes)
        expect(draw!.over).toContain(hash);
    }
  });

  it('of one alone is checked by the orchestrator', () => {
    const swarm = reducing(['a']);
    expect(of(swarm.reduce('a'), 'recompute').length).toBe(1);
    swarm.reduceAll(0);
    expect(swarm.stages[0]!.merge.butterfly!.phase).toBe('done');
  });

  it('whose contributors are all gone is done by the orchestrator', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4, reduction: reduction() });
    swarm.compute();
    swarm.contributeAll();
    for (const id of ['a', 'b']) swarm.leave(id);
    swarm.join('z');
    expect(of(swarm.draw(0), 'recompute').length).toBe(swarm.stages[0]!.merge.shards);
    expect(of(swarm.reduceAll(0), 'sum')).toMatchObject([{ tokens: 32 }]);
  });

  it('takes no result that nobody asked for, nor one twice', () => {
    const swarm = reducing();
    const [task] = asked(swarm, 'a');
    const { stage, version, round, shard } = task!;
    const result = { type: 'result', minerId: 'a', stage, version, round, shard, hash: LIE } as const;
    const { length } = of(swarm.log, 'recompute');
    for (const wrong of [{ round: round + 1 }, { shard: 9 }, { version: 1 }, { stage: 4 }])
      expect(refusal(swarm.send({ ...result, ...wrong }))).toBe('MERGE_UNEXPECTED');
    expect(refusal(swarm.send({ ...result, minerId: 'nobody' }))).toBe('NOT_JOINED');
    swarm.reduce('a');
    expect(refusal(swarm.send(result))).toBe('MERGE_UNEXPECTED');
    expect(of(swarm.log, 'recompute').length).toBe(length);
    expect(swarm.coordinator.reducesFor({ ...result })).toBe(false);
  });
});

describe('a false result', () => {
  it('is found out, its miner named and banned, its gradient left out, and the merge is of the others', () => {
    const swarm = reducing(['a', 'b', 'c', 'd']);
    const [task] = asked(swarm, 'a');
    swarm.reduce('a', LIE);
    const other = [...swarm.hands].find(([id, { reduces }]) => id !== 'a' && reduces.some(({ shard }) => shard === task!.shard))![0];
    while (of(swarm.log, 'recompute').length === 0) swarm.reduce(other);
    const effects = swarm.recompute();
    expect(codes(effects)).toContain('REDUCTION_FALSE');
    expect(of(effects, 'lapse')).toMatchObject([{ minerId: 'a', code: 'REDUCTION_FALSE' }]);
    expect(of(effects, 'convicted'), 'what is held of its pay is lost').toMatchObject([{ minerId: 'a' }]);
    expect(swarm.miner('a').bannedUntil).toBeGreaterThan(swarm.now);
    expect(whom(of(effects, 'reduce'))).not.toContain('a');
    expect(of(swarm.reduceAll(0), 'sum')).toMatchObject([{ tokens: 6 * 8 }]);
    swarm.merge(0);
    expect(swarm.stages[0]!.agreement.filter(({ disagreed }) => disagreed > 0).map(({ pair }) => pair)).toEqual([['a', other].sort()]);
  });

  it('of the honest one’s partner does not touch the honest one', () => {
    const swarm = reducing(['a', 'b']);
    swarm.reduce('b', LIE);
    swarm.reduceAll(0);
    expect(swarm.miner('a').bannedUntil).toBe(0);
    expect(swarm.miner('b').bannedUntil).toBeGreaterThan(swarm.now);
  });

  it('of somebody without whom too little is left: its microbatches are computed again by others, and all of it is merged', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4, minMicrobatches: 3, reduction: reduction() });
    swarm.compute();
    swarm.contributeAll();
    swarm.draw(0);
    swarm.reduce('a', LIE);
    swarm.reduceAll(0);
    expect(swarm.stages[0]).toMatchObject({ phase: 'training', merge: { butterfly: null } });
    expect(grants(swarm.log).slice(-2)).toMatchObject([
      { minerId: 'b', lease: { kind: 'backward', sendInput: true } },
      { minerId: 'b', lease: { kind: 'backward', sendInput: true } },
    ]);
    swarm.compute();
    swarm.contributeAll();
    expect(of(swarm.reduceAll(0), 'sum')).toMatchObject([{ tokens: 32 }]);
    expect(swarm.stages[0]!.merge.contributions.map(({ minerId }) => minerId)).toEqual(['b', 'b']);
    expect(swarm.stages[0]!.merge.butterfly!.view.members.map(({ absent }) => absent)).toEqual([false, true]);
    swarm.merge(0);
    expect(swarm.stages[0]!.version).toBe(1);
  });

  it('of a pair that lies alike is found by the spot check', () => {
    const swarm = reducing(['a', 'b', 'c'], { spotCheck: 1 });
    const together = asked(swarm, 'a').find(({ shard }) => asked(swarm, 'b').some((task) => task.shard === shard))!;
    for (const id of ['a', 'b']) {
      const task = asked(swarm, id);
      task.unshift(...task.splice(task.indexOf(task.find(({ shard }) => shard === together.shard)!), 1));
      swarm.reduce(id, LIE);
    }
    const effects = swarm.recompute();
    expect(of(effects, 'lapse').map(({ minerId, code }) => [minerId, code])).toEqual([
      ['a', 'REDUCTION_FALSE'],
      ['b', 'REDUCTION_FALSE'],
    ]);
    // Two thirds are gone: more than a step may do without? One microbatch is enough here.
    expect(of(swarm.reduceAll(0), 'sum')).toMatchObject([{ tokens: 16 }]);
  });
});

describe('a reducer', () => {
  it('that says nothing is replaced, and nobody is blamed', () => {
    const swarm = reducing();
    const lost = asked(swarm, 'a').splice(0);
    for (const id of ['b', 'c']) while (asked(swarm, id).length > 0) swarm.reduce(id);
    expect(of(swarm.pass(LIMITS.reduceMinimum - 1_000), 'reduce')).toEqual([]);
    const effects = swarm.pass(2_000);
    expect(
      of(effects, 'reduce')
        .map(({ shard }) => shard)
        .sort(),
    ).toEqual(lost.map(({ shard }) => shard).sort());
    expect(whom(of(effects, 'reduce'))).not.toContain('a');
    expect(swarm.miner('a')).toMatchObject({ late: 0, bannedUntil: 0 });
    expect(of(swarm.reduceAll(0), 'sum')).toMatchObject([{ tokens: 48 }]);
  });

  it('that leaves is replaced at once, and its gradient stays', () => {
    const swarm = reducing();
    const lost = asked(swarm, 'a').map(({ shard }) => shard);
    const effects = swarm.leave('a');
    expect(of(effects, 'reduce').map(({ shard }) => shard)).toEqual(lost);
    expect(of(swarm.reduceAll(0), 'sum')).toMatchObject([{ tokens: 48 }]);
  });

  it('that reconnects is asked again for what it has not answered', () => {
    const swarm = reducing();
    swarm.reduce('a');
    const [left] = asked(swarm, 'a');
    swarm.disconnect('a');
    expect(of(swarm.resume('a'), 'reduce')).toEqual([left]);
  });

  it('has all its time again after the server stood still, and is asked again by a new one', () => {
    const swarm = reducing();
    const tasks = of(swarm.log, 'reduce');
    swarm.wait(100_000);
    expect(of(swarm.send({ type: 'tick', idleMs: 100_000 }), 'reduce')).toEqual([]);
    const again = of(swarm.wait(50_000).send({ type: 'restart' }), 'reduce');
    const order = (list: typeof tasks) => list.map(({ minerId, shard }) => `${minerId} ${shard}`).sort();
    expect(order(again)).toEqual(order(tasks));
  });
});

it('a gradient in another number of shards is refused', () => {
  const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 1, reduction: reduction() });
  swarm.compute();
  const { stage, version, round } = swarm.hands.get('a')!.collect!;
  const contribution = { minerId: 'a', stage, version, round, microbatches: [0] };
  const hashes = Array.from({ length: 7 }, () => LIE);
  expect(refusal(swarm.send({ ...contribution, type: 'contribution', hashes, squares: [1] }))).toBe('SHARD_MALFORMED');
  expect(swarm.stages[0]!.merge.collecting.size).toBe(1);
});

it('what miners agreed on is forgotten with them, what they disagreed on is not', () => {
  const swarm = reducing(['a', 'b', 'c', 'd']);
  swarm.reduce('a', LIE);
  swarm.reduceAll(0);
  swarm.merge(0);
  for (const id of ['a', 'b']) swarm.leave(id);
  swarm.reach(2);
  const pairs = swarm.stages[0]!.agreement;
  expect(pairs.filter(({ pair }) => pair.includes('a')).every(({ disagreed }) => disagreed > 0)).toBe(true);
  expect(pairs.some(({ pair }) => `${pair}` === 'c,d')).toBe(true);
});
