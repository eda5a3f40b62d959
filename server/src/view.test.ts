import type { RunConfig, StepPoint } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Swarm } from '../../packages/coordinator/src/for-tests.ts';
import { RunView } from './view.ts';

const CONTEXT = 8;
const MICROBATCHES = 4;

it.each([false, true])(
  'a point tells of each stage how quick its part of the step was, and what waited for a miner (overlap: %s)',
  (overlap) => {
    const swarm = new Swarm({ microbatchesPerStep: MICROBATCHES, overlap });
    const config = { stages: [{}, {}], sequences: 1, model: { context: CONTEXT } } as RunConfig;
    const view = new RunView(config, swarm.coordinator, [1, 1], { points: [], events: [], startedAt: swarm.now });
    const points: StepPoint[] = [];
    const granted = new Map<string, number>();
    /** As it is seen from outside, by step and stage. */
    const spans = new Map<string, { from: number; to: number }>();
    /** By stage, since the step before closed. */
    let queues: number[][] = [[], []];
    const means: number[][] = [];
    swarm.watchers.push((_, effects) => {
      for (const effect of effects) {
        if (effect.type === 'grant') granted.set(effect.lease.id, swarm.now);
        if (effect.type === 'settled' && effect.outcome === 'counted') {
          const { stage, version } = effect.work;
          const from = spans.get(`${version} ${stage}`)?.from ?? granted.get(effect.leaseId)!;
          spans.set(`${version} ${stage}`, { from, to: swarm.now });
          queues[stage]!.push(swarm.coordinator.queueOf(stage));
          view.computed(effect.work, 5, swarm.now);
        }
        if (effect.type === 'closed') {
          points.push(view.close(effect, swarm.now, 0.001));
          means.push(queues.map((all) => all.reduce((sum, n) => sum + n, 0) / all.length));
          queues = [[], []];
        }
      }
    });
    for (const id of ['a', 'b']) swarm.join(id);
    for (const id of ['a', 'b']) swarm.load(id);
    swarm.reach(3, 100);
    expect(points.length).toBeGreaterThanOrEqual(3);
    for (const [step, { stageTokensPerSecond, queue }] of points.entries()) {
      const rates = [0, 1].map((stage) => {
        const { from, to } = spans.get(`${step} ${stage}`)!;
        return (MICROBATCHES * CONTEXT) / ((to - from) / 1_000);
      });
      expect(stageTokensPerSecond, `step ${step + 1}`).toEqual(rates.map((rate) => expect.closeTo(rate)));
      expect(queue, `step ${step + 1}`).toEqual(means[step]!.map((mean) => (Number.isNaN(mean) ? null : expect.closeTo(mean))));
    }
    expect(Math.max(...points.flatMap(({ queue }) => queue!.map(Number))), 'something waited').toBeGreaterThan(0);
  },
);

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

it('who did something is known when it is gone, those that did most first', () => {
  const swarm = new Swarm({ microbatchesPerStep: MICROBATCHES });
  const config = { stages: [{}, {}], sequences: 1, model: { context: CONTEXT } } as RunConfig;
  const view = new RunView(config, swarm.coordinator, [1, 1], { points: [], events: [], startedAt: swarm.now });
  for (const id of ['a', 'b']) swarm.join(id);
  for (const id of ['a', 'b']) swarm.load(id);
  swarm.reach(1, 100);
  swarm.join('idle');
  for (const id of ['a', 'idle']) swarm.leave(id);
  const gone = view.gone(swarm.now, 10);
  expect(gone.map(({ id }) => id)).toEqual(['a']);
  expect(gone[0]).toMatchObject({ stage: null, connected: false, microbatches: swarm.coordinator.credit('a')!.receipts });
  swarm.leave('b');
  const receipts = view.gone(swarm.now, 10).map(({ microbatches }) => microbatches);
  expect(receipts).toEqual(receipts.toSorted((a, b) => b - a));
  expect(view.gone(swarm.now, 1)).toHaveLength(1);
});
