/** What a miner holds computes as its run says, whatever its device was made with. */
import { createKernels } from '@starling/kernels';
import { cutStages, initialParameters, presetOf, Stage } from '@starling/model';
import { PRECISIONS, type RunConfig } from '@starling/protocol';
import { expect, it } from 'vitest';
import { HeldStage } from './held-stage.ts';

const { shape } = presetOf('pico');
const [spec] = cutStages(shape, 2);
const parameters = initialParameters(shape, spec!, 1);
const tokens = Int32Array.from({ length: shape.context }, (_, i) => (7 * i) % shape.vocabulary);

it('in the precision of the run', async () => {
  const kernels = await createKernels({ backend: 'cpu' });
  const outputs = [];
  for (const precision of PRECISIONS) {
    const run = { model: shape, stages: cutStages(shape, 2), sequences: 1, boundary: 'f32', precision } as RunConfig;
    const vectors = { parameters, firstMoment: parameters.map(() => 0), secondMoment: parameters.map(() => 0) };
    const held = await HeldStage.load(kernels, run, spec!, 0, vectors, null);
    const output = await held.forward({ values: tokens, tokens: undefined });
    held.dispose();
    const stage = new Stage(await kernels.withPrecision(precision), shape, spec!, { sequences: 1 });
    stage.load(parameters);
    expect(output).toEqual(await stage.forward(tokens));
    stage.dispose();
    outputs.push(output);
  }
  expect(outputs[0]).not.toEqual(outputs[1]);
});
