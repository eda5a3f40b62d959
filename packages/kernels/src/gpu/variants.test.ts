/** Every way to compute a step gives the numbers of the first, which the operations' tests hold against the reference. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { AttentionShape } from '../kernels.ts';
import { dawnGpu } from '../node.ts';
import { expectClose, randomNumbers } from '../testing.ts';
import { Device } from './device.ts';
import type { Shader, Step, Variant } from './shader.ts';
import { Tracer } from './tracer.ts';
import { Tuner } from './tuner.ts';
import { type Storage, temporary } from './value.ts';

const gpu = await dawnGpu();
const TOLERANCE = 1e-5;
/** Variants with workgroup memory compile for seconds on a software adapter. */
const LONG = 240_000;

describe.skipIf(!gpu)('on a WebGPU device', () => {
  let device: Device;

  beforeAll(async () => {
    const adapter = (await gpu!.requestAdapter())!;
    const requiredFeatures = adapter.features.has('subgroups') ? (['subgroups'] as const) : [];
    const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = adapter.limits;
    const requiredLimits = { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup };
    device = new Device(await adapter.requestDevice({ requiredFeatures: [...requiredFeatures], requiredLimits }), 'test', true);
  });
  afterAll(() => device.gpu.destroy());

  /** Computes the steps one after the other, each in this variant; what they write, in order. */
  async function outputs(steps: readonly Step[], variantOf: (step: Step) => Variant): Promise<Float32Array[]> {
    const buffers = new Map<Storage, GPUBuffer>();
    const written: { buffer: GPUBuffer; offset: number; size: number }[] = [];
    const encoder = device.gpu.createCommandEncoder();
    for (const step of steps) {
      const shader: Shader = variantOf(step).build();
      for (const { value } of shader.bindings) {
        if (buffers.has(value.storage)) continue;
        const buffer = device.create(value.storage.bytes, step.label);
        buffers.set(value.storage, buffer);
        const { place } = value.storage;
        if (place.kind === 'temporary' && value.dtype === 'float32')
          device.gpu.queue.writeBuffer(buffer, 0, randomNumbers(value.storage.bytes / 4, buffers.size));
      }
      const boundOf = (binding: Shader['bindings'][number]) => ({
        buffer: buffers.get(binding.value.storage)!,
        offset: binding.value.offset,
        size: binding.value.bytes,
      });
      const pass = encoder.beginComputePass();
      pass.setPipeline(await device.pipeline(shader));
      pass.setBindGroup(0, device.bindGroup(shader, boundOf));
      pass.dispatchWorkgroups(...shader.groups);
      pass.end();
      written.push(...shader.bindings.filter(({ write }) => write).map(boundOf));
    }
    const read = device.readback(encoder, written);
    device.gpu.queue.submit([encoder.finish()]);
    const copies = await read();
    for (const buffer of buffers.values()) device.destroy(buffer);
    return copies.map((copy) => new Float32Array(copy));
  }

  const tracer = () => new Tracer(({ context, headWidth }) => temporary([context, headWidth]));

  /** `all` false: without the ones that compile for seconds on a software adapter. */
  async function agree(steps: readonly Step[], all = true): Promise<void> {
    const variants = steps.flatMap((step) => step.variants).filter(({ kind }) => all || kind !== 'shared');
    const names = new Set(variants.map(({ name }) => name));
    const reference = await outputs(steps, ({ variants }) => variants[0]!);
    expect(reference.some((values) => values.some((value) => value !== 0 && Number.isFinite(value)))).toBe(true);
    for (const name of names) {
      const chosen = (step: Step) => step.variants.find((variant) => variant.name === name) ?? step.variants[0]!;
      if (steps.some((step) => chosen(step).kind === 'quad') && !device.hasSubgroups) continue;
      const found = await outputs(steps, chosen);
      for (const [i, values] of found.entries()) expectClose(values, reference[i]!, TOLERANCE, `${steps[0]!.label}, ${name}`);
    }
  }

  const sizes: [m: number, n: number, l: number][] = [
    [70, 36, 20],
    [9, 7, 5],
  ];
  it.each(sizes)(
    'products of %i × %i × %i agree',
    async (m, n, l) => {
      const t = tracer();
      const residual = temporary([m, n]);
      t.matmul(temporary([m, l]), temporary([l, n]), false, false, residual);
      t.sumOfMatmuls([
        [temporary([m, l]), temporary([n, l])],
        [temporary([m, l]), temporary([n, l])],
      ]);
      t.matmuls(temporary([l, m]), [temporary([l, n]), temporary([l, n])], true);
      for (const step of t.steps) await agree([step], m === 70);
    },
    LONG,
  );

  const shapes: AttentionShape[] = [
    { sequences: 2, context: 8, heads: 4, keyValueHeads: 2, headWidth: 16 },
    { sequences: 1, context: 70, heads: 2, keyValueHeads: 1, headWidth: 6 },
  ];
  it.each(shapes)(
    'attention of $context rows agrees',
    async (shape) => {
      const { sequences, context, heads, keyValueHeads, headWidth } = shape;
      const t = tracer();
      const [rows, width, narrow] = [sequences * context, heads * headWidth, keyValueHeads * headWidth];
      const { saved } = t.attention(temporary([rows, width]), temporary([rows, narrow]), temporary([rows, narrow]), shape);
      t.attentionBackward(saved, temporary([rows, width]), shape);
      await agree(t.steps.slice(1)); // without the rotation, which has one variant
    },
    LONG,
  );

  it('rows agree', async () => {
    const t = tracer();
    const [x, gain] = [temporary([5, 12]), temporary([12])];
    const { inverse } = t.rmsNorm(x, gain);
    t.rmsNormBackward(x, gain, inverse, temporary([5, 12]), temporary([5, 12]));
    t.crossEntropy(temporary([5, 100]), temporary([5], 'int32'));
    await agree(t.steps);
  });

  describe('the tuner', () => {
    const step = (wrong: boolean): Step => {
      const t = tracer();
      t.add(temporary([64]), temporary([64]));
      const build = t.steps[0]!.variants[0]!.build;
      const slow: Variant = { name: 'first', kind: 'own', build };
      const other: Variant = {
        name: 'other',
        kind: 'own',
        build: () => ({ ...build(), code: wrong ? build().code.replaceAll(' + ', ' - ') : build().code }),
      };
      const broken: Variant = { name: 'broken', kind: 'own', build: () => ({ ...build(), code: 'not WGSL' }) };
      return { label: wrong ? 'wrong 64' : 'right 64', variants: [slow, broken, other] };
    };

    it('never takes what is wrong or does not compile, keeps what it found, and asks the store first', async () => {
      const kept = new Map<string, Record<string, string>>();
      const store = {
        get: async (adapter: string) => kept.get(adapter) ?? null,
        set: async (adapter: string, choices: Record<string, string>) => void kept.set(adapter, { ...choices }),
      };
      const tuner = new Tuner(device, { store, budgetMs: 60_000, software: true });
      await tuner.tune([step(true), step(false)]);
      expect(tuner.choose(step(true)).name).toBe('first');
      expect(['first', 'other']).toContain(tuner.choose(step(false)).name);
      expect(kept.get('test, 1')).toMatchObject({ 'wrong 64': 'first' });
      kept.set('test, 1', { 'right 64': 'other', 'wrong 64': 'first' });
      const later = new Tuner(device, { store, budgetMs: 0, software: true });
      await later.tune([step(false)]);
      expect(later.choose(step(false)).name).toBe('other');
    });

    it('keeps nothing of a contest that time ran out on, and never again begins what took the device', async () => {
      const kept = new Map<string, Record<string, string>>();
      let now = 0;
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
      const store = {
        get: async (adapter: string) => kept.get(adapter) ?? null,
        set: async (adapter: string, choices: Record<string, string>) => {
          kept.set(adapter, { ...choices });
          now = 20; // the first variant is begun, and its time is over
        },
      };
      const hasty = new Tuner(device, { store, budgetMs: 10, software: true });
      await hasty.tune([step(false)]);
      clock.mockRestore();
      expect(kept.get('test, 1')).toEqual({});
      kept.set('test, 1', { 'trying right 64': 'first' });
      const burnt = new Tuner(device, { store, budgetMs: 0, software: true });
      await burnt.tune([step(false)]);
      expect(burnt.inOrder(step(false)).map(({ name }) => name)).toEqual(['broken', 'other']);
    });

    it('measures nothing without a budget, and takes what suits the device', async () => {
      const tuner = new Tuner(device, null);
      await tuner.tune([step(false)]);
      expect(tuner.choose(step(false)).name).toBe('first');
    });
  });
});
