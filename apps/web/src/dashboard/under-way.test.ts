import type { StageView } from '@starling/protocol';
import { expect, test } from 'vitest';
import { doneIn, underWay } from './under-way.ts';

const stage = (version: number, done: number, phase = 'training') => ({ version, done, total: 8, phase }) as StageView;

test.each([
  ['all compute', 'training', [stage(3, 2), stage(3, 4)], { step: 4, share: 6 / 16, phase: 'computing' }],
  ['one is a step ahead', 'training', [stage(4, 1), stage(3, 4)], { step: 4, share: 0.5, phase: 'computing' }],
  ['one merges', 'training', [stage(3, 8, 'merging'), stage(3, 4)], { step: 4, share: 0.75, phase: 'computing' }],
  ['all merge', 'training', [stage(3, 8, 'merging'), stage(3, 8, 'merging')], { step: 4, share: 1, phase: 'merging' }],
  ['it is over', 'complete', [stage(3, 0), stage(3, 0)], { step: 3, share: 1, phase: 'complete' }],
  ['there is none yet', 'waiting', [], { step: 4, share: 0, phase: 'waiting' }],
] as const)('how far the step under way is: %s', (_, phase, stages, told) => {
  expect(underWay({ step: 3, phase: phase as 'training', stages: [...stages] })).toEqual(told);
});

test('a stage has done what it says of its step, and all when it is complete', () => {
  expect([stage(3, 2), stage(3, 8, 'merging'), stage(3, 0, 'complete')].map(doneIn)).toEqual([2, 8, 8]);
});
