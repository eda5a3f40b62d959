import { REASON_REMEDIES, type RunSnapshot } from '@starling/protocol';
import { expect, test } from 'vitest';
import { runWait } from './run-wait.ts';

const EMPTY = 'No miner holds stage 1 yet; one more miner starts the run.';
const run = (part: Partial<RunSnapshot>, miners = 0) =>
  ({
    phase: 'waiting',
    reason: EMPTY,
    stages: [
      { index: 0, miners: [{}], phase: 'waiting', reason: EMPTY },
      { index: 1, miners: Array(miners).fill({}), phase: 'waiting', reason: EMPTY },
    ],
    ...part,
  }) as RunSnapshot;

test('a run that trains or is complete waits for nothing', () => {
  expect(runWait(run({ phase: 'training', reason: null }))).toBeNull();
  expect(runWait(run({ phase: 'complete' }))).toBeNull();
});

test('an empty stage is told from a store that cannot be written, even when both are so', () => {
  expect(runWait(run({}))).toEqual({ code: 'STAGE_EMPTY', message: EMPTY, remedy: REASON_REMEDIES.STAGE_EMPTY });
  const full = { reason: 'The disk is full.' };
  expect(runWait(run(full))).toEqual({ code: 'STORE', message: 'The disk is full.', remedy: REASON_REMEDIES.STORE });
  expect(runWait(run(full, 1))?.code).toBe('STORE');
});
