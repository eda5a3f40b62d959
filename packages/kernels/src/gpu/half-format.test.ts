/** A device that reads the smallest halves as zero is not given them so; one that has no way to read them computes with none. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dawnGpu } from '../node.ts';
import { Device } from './device.ts';
import { halfFormatOf } from './half-format.ts';
import type { Shader } from './shader.ts';

const gpu = await dawnGpu();

describe.skipIf(!gpu)('on a WebGPU device', () => {
  let device: Device;

  beforeAll(async () => {
    const adapter = (await gpu!.requestAdapter())!;
    const requiredFeatures = (['shader-f16'] as const).filter((feature) => adapter.features.has(feature));
    device = new Device(await adapter.requestDevice({ requiredFeatures }), 'test', true);
  });
  afterAll(() => device.gpu.destroy());

  /** As if its compiler cut what is under 2^-14 off wherever `pattern` reads halves. */
  function flushing(pattern: RegExp): Device {
    const cut = (code: string) =>
      `${code.replace(pattern, (read) => `cut(${read})`)}
       fn cut(x : vec4<f32>) -> vec4<f32> { return select(x, vec4<f32>(), abs(x) < vec4<f32>(0x1p-14)); }`;
    const pipeline = (shader: Shader) => device.pipeline({ ...shader, code: cut(shader.code) });
    return new Proxy(device, { get: (target, name) => (name === 'pipeline' ? pipeline : Reflect.get(target, name, target)) });
  }

  it('takes the first way that is exact', async () => {
    const has = device.gpu.features.has('shader-f16');
    expect(await halfFormatOf(device)).toBe(has ? 'f16' : 'packed');
    expect(await halfFormatOf(flushing(/vec4<f32>\(memory1\[index\]\)/))).toBe('packed');
  });

  it('says so where none is, and keeps nothing', async () => {
    const before = device.bytes;
    const none = flushing(/(numbers|vec4<f32>)\(memory1\[index\]\)/);
    await expect(halfFormatOf(none)).rejects.toThrow(expect.objectContaining({ code: 'DEVICE_WRONG' }));
    expect(device.bytes).toBe(before);
  });
});
