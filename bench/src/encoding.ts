/**
 * Prints how many ms of JavaScript, and of Dawn below it, one backward of a whole model takes until all is submitted: on a device of Dawn's that
 * computes nothing, since a software adapter wants the same cores meanwhile. `node encoding.ts PRESET`.
 */
import { createKernels } from '@starling/kernels';
import { cutStages, presetOf, Stage } from '@starling/model';
import { create, globals } from 'webgpu';

/** Runs of which the median tells. */
const RUNS = 51;

Object.assign(globalThis, globals);
const { shape, sequences } = presetOf(process.argv[2]!);
// Kept: Dawn crashes when an instance is collected whose devices are in use.
const dawn = { gpu: create(['backend=null']) };
Object.assign(globalThis, { dawn });
const kernels = await createKernels({ backend: 'webgpu', gpu: dawn.gpu });
const stage = new Stage(kernels, shape, cutStages(shape, 1)[0]!, { sequences });
const tokens = new Int32Array(sequences * shape.context);
const times: number[] = [];
while (times.length < RUNS) {
  const started = performance.now();
  const running = stage.backward(tokens, tokens); // all is submitted when this returns
  times.push(performance.now() - started);
  stage.discard((await running).gradient);
}
kernels.close();
console.log(times.sort((a, b) => a - b)[Math.floor(RUNS / 2)]);
process.exit(0); // Dawn keeps a process that still has an instance
