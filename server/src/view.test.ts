import type { RunConfig, StepPoint } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Swarm } from '../../packages/coordinator/src/for-tests.ts';
import { RunView } from './view.ts';

const CONTEXT = 8;
const MICROBATCHES = 4;

it('a point tells of each stage how quick its part of the step was, and what waited there for a miner', () => {
  const swarm = new Swarm({ microbatchesPerStep: MICROBATCHES });
  const config = { stages: [{}, {}], sequences: 1, model: { context: CONTEXT } } as RunConfig;
  const view = new RunView(config, swarm.coordinator, [1, 1], { points: [], events: [], startedAt: swarm.now });
  const points: StepPoint[] = [];
  const granted = new Map<string, number>();
  /** Of the step under way, by stage: as it is seen from outside. */
  let seen: { from: number; to: number; queue: number[] }[] = [];
  const expected: (typeof seen)[] = [];
  swarm.watchers.push((_, effects) => {
    for (const effect of effects) {
      if (effect.type === 'grant') granted.set(effect.lease.id, swarm.now);
      if (effect.type === 'settled' && effect.outcome === 'counted') {
        const { stage } = effect.work;
        seen[stage] ??= { from: granted.get(effect.leaseId)!, to: 0, queue: [] };
        seen[stage].to = swarm.now;
        seen[stage].queue.push(swarm.coordinator.queueOf(stage));
        view.computed(effect.work, 5, swarm.now);
      }
      if (effect.type === 'closed') {
        points.push(view.close(effect, swarm.now, 0.001));
        expected.push(seen);
        seen = [];
      }
    }
  });
  for (const id of ['a', 'b']) swarm.join(id);
  for (const id of ['a', 'b']) swarm.load(id);
  swarm.reach(3, 100);
  expect(points).toHaveLength(3);
  for (const [i, { stageTokensPerSecond, queue }] of points.entries()) {
    const rates = expected[i]!.map(({ from, to }) => (MICROBATCHES * CONTEXT) / ((to - from) / 1_000));
    expect(stageTokensPerSecond, `step ${i + 1}`).toEqual(rates.map((rate) => expect.closeTo(rate)));
    const means = expected[i]!.map(({ queue: all }) => all.reduce((sum, n) => sum + n, 0) / all.length);
    expect(queue, `step ${i + 1}`).toEqual(means.map((mean) => expect.closeTo(mean)));
  }
  expect(Math.max(...points.flatMap(({ queue }) => queue!.map(Number))), 'something waited').toBeGreaterThan(0);
});

it('a step of which nothing was seen has holes, not zeros', () => {
  const swarm = new Swarm();
  const config = { stages: [{}, {}], sequences: 1, model: { context: CONTEXT } } as RunConfig;
  const view = new RunView(config, swarm.coordinator, [1, 1], { points: [], events: [], startedAt: swarm.now });
  const closed = { type: 'closed', step: 0, tokens: 8, lossSum: 16, validation: null, norms: [1, 1] } as const;
  expect(view.close({ ...closed, norms: [1, 1] }, swarm.now, 0.001)).toMatchObject({
    stageTokensPerSecond: [null, null],
    queue: [null, null],
  });
});
