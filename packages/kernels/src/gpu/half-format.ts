/** Which way to store halves a device reads as they are. */
import { SwarmError } from '@starling/protocol';
import { fromHalves } from '../halves.ts';
import type { Device } from './device.ts';
import { perInvocation } from './shader.ts';
import { type HalfFormat, temporary, Value } from './value.ts';

/** Under 2^-14, where WGSL lets a conversion give zero, and all between 1 and 2. */
const SAMPLE = Uint16Array.from({ length: 2048 }, (_, i) => (i < 1024 ? i : 0x3c00 + i - 1024));

/** `shader-f16`'s own type where that will do. Throws `DEVICE_WRONG` where no way does: numbers would not be those of other devices. */
export async function halfFormatOf(device: Device): Promise<HalfFormat> {
  const formats: readonly HalfFormat[] = device.gpu.features.has('shader-f16') ? ['f16', 'packed'] : ['packed'];
  for (const format of formats) if (await isExact(device, format)) return format;
  throw new SwarmError('DEVICE_WRONG', 'This GPU takes the smallest halves for zero, so it cannot compute with them as others do.');
}

async function isExact(device: Device, halves: HalfFormat): Promise<boolean> {
  const from = device.create(SAMPLE.byteLength, 'halves');
  const to = device.create(2 * SAMPLE.byteLength, 'numbers');
  const x = new Value([SAMPLE.length], 'float32', { bytes: from.size, place: { kind: 'buffer', buffer: from }, halves }, 0, true);
  const y = temporary(x.shape);
  const shader = perInvocation(SAMPLE.length / 4, (scope) => scope.store(y, 'vec4<f32>')('index', scope.load(x, 'vec4<f32>')('index')));
  try {
    const pipeline = await device.pipeline(shader);
    device.gpu.queue.writeBuffer(from, 0, SAMPLE);
    const encoder = device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.bindGroup(shader, ({ value }) => {
        const buffer = value === x ? from : to;
        return { buffer, offset: 0, size: buffer.size };
      }),
    );
    pass.dispatchWorkgroups(...shader.groups);
    pass.end();
    const read = device.readback(encoder, [{ buffer: to, offset: 0, size: to.size }]);
    device.gpu.queue.submit([encoder.finish()]);
    const numbers = new Float32Array((await read())[0]!);
    return fromHalves(SAMPLE).every((value, i) => value === numbers[i]);
  } finally {
    device.destroy(from);
    device.destroy(to);
  }
}
