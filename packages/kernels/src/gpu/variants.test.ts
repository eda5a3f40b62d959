/**
 * Every way to compute a step gives the numbers of the first, which the operations' tests hold against the reference; and every way to store what
 * may lie as halves, the same bits.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { asHalves, fromHalves } from '../halves.ts';
import type { AttentionShape, Precision } from '../kernels.ts';
import { dawnGpu } from '../node.ts';
import { expectClose, randomNumbers } from '../testing.ts';
import { Device } from './device.ts';
import { halve } from './plan.ts';
import type { Binding, Shader, Step, Variant } from './shader.ts';
import { Tracer } from './tracer.ts';
import { Tuner } from './tuner.ts';
import { type HalfFormat, type Storage, temporary, type Value } from './value.ts';

// A software adapter compiles in half the time what has no bounds checks, and a step beyond a buffer is not hidden then; browsers put them into all shaders.
process.env.DAWN_FLAGS = 'enable-dawn-features=disable_robustness';
const gpu = await dawnGpu();
const TOLERANCE = 1e-5;
/** What is rounded differs in its last places where a compiler contracts, which now and then makes it the next half. */
const HALF_TOLERANCE = 1e-4;
/** Variants with workgroup memory compile for seconds on a software adapter. */
const LONG = 240_000;

describe.skipIf(!gpu)('on a WebGPU device', () => {
  let device: Device;

  beforeAll(async () => {
    const adapter = (await gpu!.requestAdapter())!;
    const requiredFeatures = (['subgroups', 'shader-f16'] as const).filter((feature) => adapter.features.has(feature));
    const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = adapter.limits;
    const requiredLimits = { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup };
    device = new Device(await adapter.requestDevice({ requiredFeatures, requiredLimits }), 'test', true);
  });
  afterAll(() => device.gpu.destroy());

  /** Computes the steps one after the other, each in this variant; what they write, in order. */
  async function outputs(steps: readonly Step[], variantOf: (step: Step) => Variant): Promise<Float32Array[]> {
    const buffers = new Map<Storage, GPUBuffer>();
    const written: { value: Value; buffer: GPUBuffer; offset: number; size: number }[] = [];
    const encoder = device.gpu.createCommandEncoder();
    for (const step of steps) {
      const shader: Shader = variantOf(step).build();
      for (const { value } of shader.bindings) {
        if (buffers.has(value.storage)) continue;
        const buffer = device.create(value.storage.bytes, step.label);
        buffers.set(value.storage, buffer);
        const { place } = value.storage;
        if (place.kind === 'temporary' && value.dtype === 'float32') {
          const { bytes, halves } = value.storage;
          const numbers = randomNumbers(bytes / (halves ? 2 : 4), buffers.size);
          device.gpu.queue.writeBuffer(buffer, 0, halves ? asHalves(numbers) : numbers);
        }
      }
      const boundOf = ({ value }: Binding) => ({ buffer: buffers.get(value.storage)!, offset: value.offset, size: value.bytes });
      const pass = encoder.beginComputePass();
      pass.setPipeline(await device.pipeline(shader));
      pass.setBindGroup(0, device.bindGroup(shader, boundOf));
      pass.dispatchWorkgroups(...shader.groups);
      pass.end();
      written.push(...shader.bindings.filter(({ write }) => write).map((binding) => ({ ...boundOf(binding), value: binding.value })));
    }
    const read = device.readback(
      encoder,
      written.map(({ buffer, offset, size }) => ({ buffer, offset, size })),
    );
    device.gpu.queue.submit([encoder.finish()]);
    const copies = await read();
    for (const buffer of buffers.values()) device.destroy(buffer);
    return copies.map((copy, i) => (written[i]!.value.storage.halves ? fromHalves(new Uint16Array(copy)) : new Float32Array(copy)));
  }

  const tracer = (precision: Precision = 'f32') => new Tracer(({ context, headWidth }) => temporary([context, headWidth]), precision);

  /** `all` false: without the ones that compile for seconds on a software adapter. */
  async function agree(steps: readonly Step[], all = true, tolerance = TOLERANCE): Promise<void> {
    const variants = steps.flatMap((step) => step.variants).filter(({ kind }) => all || kind !== 'shared');
    const names = new Set(variants.map(({ name }) => name));
    const reference = await outputs(steps, ({ variants }) => variants[0]!);
    expect(reference.some((values) => values.some((value) => value !== 0 && Number.isFinite(value)))).toBe(true);
    for (const name of names) {
      const chosen = (step: Step) => step.variants.find((variant) => variant.name === name) ?? step.variants[0]!;
      if (steps.some((step) => chosen(step).kind === 'quad') && !device.hasSubgroups) continue;
      const found = await outputs(steps, chosen);
      for (const [i, values] of found.entries()) expectClose(values, reference[i]!, tolerance, `${steps[0]!.label}, ${name}`);
    }
  }

  /** The steps with halves, as far as they may lie so; null: all in four bytes. */
  function lying(write: (t: Tracer) => void, halves: HalfFormat | null): Step[] {
    const t = tracer('f16');
    write(t);
    const traced = t.steps.map((step) => ({ step, shader: step.variants[0]!.build() }));
    if (halves) halve(traced, [], halves);
    return t.steps;
  }

  /** All ways to store halves that the device has agree, to the bit, and in its first the variants; `all` as in `agree`, null: none but the first. */
  async function agreeAsHalves(write: (t: Tracer) => void, all: boolean | null): Promise<void> {
    const whole = await outputs(lying(write, null), ({ variants }) => variants[0]!);
    const ways: readonly HalfFormat[] = device.gpu.features.has('shader-f16') ? ['f16', 'packed'] : ['packed'];
    for (const halves of ways) {
      const steps = lying(write, halves);
      expect(steps.flatMap((step) => step.variants[0]!.build().bindings).some(({ value }) => value.storage.halves)).toBe(true);
      const found = await outputs(steps, ({ variants }) => variants[0]!);
      const stored = steps.flatMap((step) => step.variants[0]!.build().bindings).filter((binding) => binding.write);
      for (const [i, { value }] of stored.entries())
        expect(found[i]).toEqual(value.storage.halves ? fromHalves(asHalves(whole[i]!)) : whole[i]);
      if (halves === ways[0] && all !== null) for (const step of steps) await agree([step], all, HALF_TOLERANCE);
    }
  }

  const sizes: [m: number, n: number, l: number][] = [
    [70, 36, 20],
    [9, 7, 5],
  ];
  const products = (t: Tracer, m: number, n: number, l: number) => {
    const residual = temporary([m, n]);
    t.matmul(temporary([m, l]), temporary([l, n]), false, false, residual);
    t.sumOfMatmuls([
      [temporary([m, l]), temporary([n, l])],
      [temporary([m, l]), temporary([n, l])],
    ]);
    t.matmuls(temporary([l, m]), [temporary([l, n]), temporary([l, n])], true);
  };
  it.each(sizes)(
    'products of %i × %i × %i agree',
    async (m, n, l) => {
      const t = tracer();
      products(t, m, n, l);
      for (const step of t.steps) await agree([step], m === 70);
    },
    LONG,
  );

  it(
    'products of halves agree',
    async () => {
      await agreeAsHalves((t) => products(t, 70, 36, 20), false);
      await agreeAsHalves((t) => t.matmul(temporary([70, 20]), temporary([20, 36])), true);
    },
    LONG,
  );

  it(
    'what is only an operand, and rows of which some come in fours, agree as halves',
    () =>
      agreeAsHalves((t) => {
        const { y } = t.rmsNorm(temporary([9, 12]), temporary([12]));
        const { gate, up, activated } = t.gatedMatmul(y, temporary([12, 7]), temporary([12, 7]));
        const wide = t.gatedMatmul(y, temporary([12, 8]), temporary([12, 8]));
        t.matmuls(activated, [temporary([7, 12]), temporary([7, 3])]);
        t.matmul(t.swiglu(wide.gate, wide.up), temporary([8, 12]));
        t.gatedMatmulBackward(gate, up, temporary([9, 12]), temporary([7, 12]));
        t.gatedMatmulBackward(wide.gate, wide.up, temporary([9, 12]), temporary([8, 12]));
      }, null), // by way of the same readers as products, whose variants agree as halves
    LONG,
  );

  const shapes: AttentionShape[] = [
    { sequences: 2, context: 8, heads: 4, keyValueHeads: 2, headWidth: 16 },
    { sequences: 1, context: 70, heads: 2, keyValueHeads: 1, headWidth: 6 },
  ];
  const attention = (t: Tracer, shape: AttentionShape) => {
    const { sequences, context, heads, keyValueHeads, headWidth } = shape;
    const [rows, width, narrow] = [sequences * context, heads * headWidth, keyValueHeads * headWidth];
    const { saved } = t.attention(temporary([rows, width]), temporary([rows, narrow]), temporary([rows, narrow]), shape);
    t.attentionBackward(saved, temporary([rows, width]), shape);
  };
  it.each(shapes)(
    'attention of $context rows agrees',
    async (shape) => {
      const t = tracer();
      attention(t, shape);
      await agree(t.steps.slice(1)); // without the rotation, which has one variant
    },
    LONG,
  );

  it('attention to halves agrees', () => agreeAsHalves((t) => attention(t, shapes[0]!), true), LONG);

  it('rows agree', async () => {
    const t = tracer();
    const [x, gain] = [temporary([5, 12]), temporary([12])];
    const { inverse } = t.rmsNorm(x, gain);
    t.rmsNormBackward(x, gain, inverse, temporary([5, 12]), temporary([5, 12]));
    t.crossEntropy(temporary([5, 100]), temporary([5], 'int32'));
    await agree(t.steps);
  });

  describe('the tuner', () => {
    const sum = (): Step => {
      const t = tracer();
      t.add(temporary([64]), temporary([64]));
      return t.steps[0]!;
    };
    const step = (wrong: boolean, { variants } = sum()): Step => {
      const { build } = variants[0]!;
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

    it('measures what lies as halves, too', async () => {
      const [halves] = lying((t) => t.matmul(t.add(temporary([4, 4]), temporary([4, 4])), temporary([4, 4])), 'packed');
      expect(halves!.variants[0]!.build().code).toContain('words(y0)');
      const tuner = new Tuner(device, { store: { get: async () => null, set: async () => {} }, budgetMs: 60_000, software: true });
      await tuner.tune([step(true, halves!), step(false, halves!)]);
      expect(tuner.choose(step(true, halves!)).name).toBe('first');
      expect(['first', 'other']).toContain(tuner.choose(step(false, halves!)).name);
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
