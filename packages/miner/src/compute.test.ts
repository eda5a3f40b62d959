/** A device is tested as it computes for a run, and one that computes other numbers than it should is done without. */
import { createKernels, type Kernels } from '@starling/kernels';
import { SwarmError } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Compute } from './compute.ts';
import { Status } from './status.ts';

const cpu = await createKernels({ backend: 'cpu' });
const halves = await cpu.withPrecision('f16');
const like = (kernels: Kernels, own: Partial<Kernels>): Kernels => {
  const properties = Object.entries({ lost: new Promise<SwarmError>(() => {}), close() {}, ...own });
  return Object.create(kernels, Object.fromEntries(properties.map(([name, value]) => [name, { value }])));
};
/** A GPU that computes as it should in float32, and so with halves. */
const gpuWith = (withHalves: Kernels) =>
  like(cpu, { backend: 'webgpu', software: false, withPrecision: async (precision) => (precision === 'f16' ? withHalves : cpu) });

async function computeOn(gpu: Kernels, wanted: 'auto' | 'webgpu' = 'auto') {
  const failures: SwarmError[] = [];
  const { promise: again, resolve: back } = Promise.withResolvers<void>();
  const compute = new Compute(wanted, new Status('', { tell: () => {}, memory: () => null }), {
    ...{ create: async (backend) => (backend === 'webgpu' ? gpu : cpu), gone: () => {}, back, isStopped: () => false },
    fails: (error) => void failures.push(error),
  });
  await compute.build();
  return { compute, failures, again };
}

it('has the numbers of a run’s precision before it takes any of its work', async () => {
  const right = like(halves, { software: false });
  const { compute } = await computeOn(gpuWith(right));
  expect(await compute.prepare(compute.kernels!, 'f16')).toBe(right);
  // Rounds nothing, though it says so.
  const wrong = await computeOn(gpuWith(like(cpu, { software: false, precision: 'f16' })));
  await expect(wrong.compute.prepare(wrong.compute.kernels!, 'f16')).rejects.toThrow(expect.objectContaining({ code: 'DEVICE_WRONG' }));
});

it('goes to wasm at once, unless only a GPU will do: then mining ends', async () => {
  const wrong = new SwarmError('DEVICE_WRONG', 'Other numbers.');
  const auto = await computeOn(gpuWith(halves));
  auto.compute.refuse(wrong);
  await auto.again;
  expect([auto.compute.kernels, auto.failures]).toEqual([cpu, []]);
  // Wasm that is wrong has nothing to take its place.
  auto.compute.refuse(wrong);
  expect(auto.failures).toEqual([wrong]);
  const { compute, failures } = await computeOn(gpuWith(halves), 'webgpu');
  compute.refuse(wrong);
  expect(failures).toEqual([wrong]);
});
