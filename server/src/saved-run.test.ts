import { cutStages, presetOf } from '@starling/model';
import type { RunConfig } from '@starling/protocol';
import { expect, it } from 'vitest';
import { assertSameRun } from './saved-run.ts';

it('goes on with the run of its data folder, and names what is another one', () => {
  const { shape } = presetOf('pico');
  const run = { model: shape, stages: cutStages(shape, 2), boundary: 'f32', seed: 1 } as RunConfig;
  const saved = { run, corpusHash: 'a' };
  const asked = (change: Partial<RunConfig>, corpusHash = 'a') => assertSameRun(saved, { ...run, ...change }, corpusHash);
  asked({});
  asked({ precision: 'f32' }); // what a run is in that says nothing of it
  for (const [change, why] of [
    [{ seed: 2 }, 'seed 1, not 2'],
    [{ boundary: 'int8' }, 'boundary f32, not int8'],
    [{ precision: 'f16' }, 'precision f32, not f16'],
    [{ stages: cutStages(shape, 1) }, '2 stages, not 1'],
    [{ inner: { steps: 2, microbatches: 1, learningRate: 1, momentum: 0 } }, 'other inner steps'],
  ] as [Partial<RunConfig>, string][])
    expect(() => asked(change)).toThrow(`The data folder holds another run (${why}).`);
  expect(() => asked({}, 'b')).toThrow('(another corpus)');
});
