/** What only the kernels on a WebGPU device of our own do: programs, and what becomes of them when the device fails. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKernels } from '../create.ts';
import type { Definition, Kernels, Programs, Tensor } from '../kernels.ts';
import { dawnGpu } from '../node.ts';
import { expectClose, randomNumbers, randomTokens } from '../testing.ts';

const gpu = await dawnGpu();
const VALUE_TOLERANCE = 3e-6;

describe.skipIf(!gpu)('on a WebGPU device of our own', () => {
  let kernels: Kernels;
  let programs: Programs;
  const definitions: Record<string, Definition> = {
    double: {
      inputs: { x: { shape: [64, 4], dtype: 'float32' } },
      body: (operations, { x }) => {
        const y = operations.add(x!, x!);
        return { results: { y }, kept: [operations.add(y, x!)] };
      },
    },
    relu: {
      inputs: { x: { shape: [64, 4], dtype: 'float32' } },
      body: (operations, { x }) => ({ results: { y: operations.relu(x!) } }),
    },
  };
  const numbers = (seed: number) => randomNumbers(256, seed);

  beforeAll(async () => {
    kernels = await createKernels({ backend: 'webgpu', gpu: gpu! });
    programs = kernels.programs(definitions);
  });
  afterAll(() => kernels.close());

  it('runs what is asked for at once in its order, each with its own numbers', async () => {
    const seeds = [1, 2, 3, 4, 5];
    const compiled: number[] = [];
    await programs.prepare((done, of) => compiled.push(done / of));
    expect(compiled.at(-1)).toBe(1);
    const runs = seeds.map((seed) => programs.run(seed % 2 ? 'double' : 'relu', { x: numbers(seed) }, { y: null }));
    const done = await Promise.all(runs);
    for (const [i, { results, kept }] of done.entries()) {
      const seed = seeds[i]!;
      expect(results.y).toEqual(numbers(seed).map((value) => (seed % 2 ? 2 * value : Math.max(value, 0))));
      expect(kept === null).toBe(seed % 2 === 0);
    }
    const [first, , third, , fifth] = done.map(({ kept }) => kept!);
    programs.accumulate(first!, third!);
    programs.release(fifth!);
    const sum = numbers(1).map((value, i) => Math.fround(3 * value) + Math.fround(3 * numbers(3)[i]!));
    expectClose(await programs.read(first!), sum, VALUE_TOLERANCE);
  });

  it('packs a result where its width allows, and keeps no more than it did', async () => {
    const run = async () => {
      const { results, kept } = await programs.run('double', { x: numbers(7) }, { y: 'f16' });
      programs.release(kept!);
      return results.y!;
    };
    const packed = await run();
    expect([packed.constructor, packed.byteLength]).toEqual([Uint8Array, 512]);
    const { tensors } = kernels.memory();
    expect(await run()).toEqual(packed);
    const { results, kept } = await programs.run('double', { x: numbers(7) }, { y: 'int4' }); // wants a multiple of 64
    expect(results.y).toBeInstanceOf(Float32Array);
    programs.release(kept!);
    expect(kernels.memory().tensors).toBe(tensors);
  });

  it('refuses inputs of another length, and what is larger than the device binds', async () => {
    await expect(programs.run('relu', { x: new Float32Array(3) })).rejects.toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
    expect(() => kernels.variables([{ shape: [2 ** 31], isOperand: false }])).toThrow(expect.objectContaining({ code: 'MEMORY_SHORT' }));
    expect((await programs.run('relu', { x: numbers(8) })).results.y).toEqual(numbers(8).map((value) => Math.max(value, 0)));
  });

  it('computes the loss of more logits than it holds at a time', async () => {
    const k = kernels;
    const [rows, width, vocabulary] = [130, 4, 40_000];
    const [y, head] = [
      k.upload(randomNumbers(rows * width, 1), [rows, width]),
      k.upload(randomNumbers(width * vocabulary, 2), [width, vocabulary]),
    ];
    const ids = randomTokens(rows, 3, vocabulary);
    const whole = k.upload(ids, [rows]);
    const { lossSum, dy, dhead } = k.headLossBackward(y, head, whole);
    const alone = k.headLoss(y, head, whole);
    // The same in halves, each small enough.
    const halves = [0, 1].map((half) => {
      const [from, to] = [(half * rows) / 2, ((half + 1) * rows) / 2];
      const part = k.upload(randomNumbers(rows * width, 1).slice(from * width, to * width), [to - from, width]);
      return k.headLossBackward(part, head, k.upload(ids.slice(from, to), [to - from]));
    });
    const numbers = async (tensors: Tensor[]) =>
      (await Promise.all(tensors.map((tensor) => k.download(tensor)))).map((values) => [...values]);
    const [first, second] = await numbers(halves.map((half) => half.lossSum));
    expectClose(await k.download(lossSum), [first![0]! + second![0]!], VALUE_TOLERANCE, 'loss');
    expectClose(await k.download(alone), [first![0]! + second![0]!], VALUE_TOLERANCE, 'loss alone');
    expectClose(await k.download(dy), (await numbers(halves.map((half) => half.dy))).flat(), VALUE_TOLERANCE, 'dy');
    const [a, b] = await numbers(halves.map((half) => half.dhead));
    expectClose(
      await k.download(dhead),
      a!.map((value, i) => value + b![i]!),
      VALUE_TOLERANCE,
      'dhead',
    );
  });

  it('runs nothing of what was given up, and goes on with the rest', async () => {
    const [early, late] = [kernels.programs(definitions), kernels.programs(definitions)];
    const { tensors } = kernels.memory();
    const compiling = early.run('double', { x: numbers(1) });
    early.dispose();
    await expect(compiling).rejects.toThrow(expect.objectContaining({ code: 'BACKEND_FAILED' }));
    const { kept } = await late.run('double', { x: numbers(1) });
    const running = late.run('relu', { x: numbers(2) });
    await running;
    late.dispose();
    await expect(late.read(kept!)).rejects.toThrow(expect.objectContaining({ code: 'BACKEND_FAILED' }));
    expect((await programs.run('relu', { x: numbers(8) })).results.y).toEqual(numbers(8).map((value) => Math.max(value, 0)));
    expect(kernels.memory().tensors).toBe(tensors);
  });

  it('says that the device is lost, and fails what waits for it', async () => {
    const doomed = await createKernels({ backend: 'webgpu', gpu: gpu! });
    const waiting = doomed.programs(definitions);
    await waiting.prepare();
    (doomed as unknown as { device: { gpu: GPUDevice } }).device.gpu.destroy();
    expect(await doomed.lost).toMatchObject({ code: 'DEVICE_LOST' });
    await expect(waiting.run('relu', { x: numbers(9) })).rejects.toThrow(expect.objectContaining({ code: 'DEVICE_LOST' }));
  });
});
