import { beforeAll, expect, test, vi } from 'vitest';
import { probeMemory } from './memory-probe.ts';

const GIB = 2 ** 30;
const ON = new AbortController().signal;
beforeAll(() => void vi.stubGlobal('GPUBufferUsage', { STORAGE: 0x80 }));

/** A device with so many bytes; it is lost at the `dies`th buffer. */
function deviceOf(memory: number, dies = Number.POSITIVE_INFINITY) {
  const lost = Promise.withResolvers<GPUDeviceLostInfo>();
  const seen = { made: 0, held: 0, most: 0, scopes: 0 };
  let refused = false;
  const device = {
    lost: lost.promise,
    pushErrorScope() {
      seen.scopes += 1;
    },
    createBuffer({ size }: GPUBufferDescriptor) {
      seen.made += 1;
      if (seen.made === dies) lost.resolve({} as GPUDeviceLostInfo);
      refused = seen.made < dies && seen.held + size > memory;
      const taken = refused ? 0 : size;
      seen.held += taken;
      seen.most = Math.max(seen.most, seen.held);
      return {
        destroy() {
          seen.held -= taken;
        },
      };
    },
    popErrorScope: async () => {
      seen.scopes -= 1;
      return refused ? {} : null;
    },
  };
  return { device: device as unknown as GPUDevice, seen };
}

test('memory is asked for in steps until it is refused or enough, and all is given back', async () => {
  const small = deviceOf(1.6 * GIB);
  expect(await probeMemory(small.device, 4 * GIB, ON)).toBe(1.5 * GIB);
  const large = deviceOf(24 * GIB);
  expect(await probeMemory(large.device, 4 * GIB, ON)).toBe(4 * GIB);
  expect(await probeMemory(large.device, 256 * 2 ** 20, ON), 'a cap is not overstepped').toBe(256 * 2 ** 20);
  for (const { seen } of [small, large]) expect(seen).toMatchObject({ held: 0, scopes: 0 });
  expect(large.seen.most).toBe(4 * GIB);
});

test('a device that is lost meanwhile has what it had shown before', async () => {
  const { device, seen } = deviceOf(24 * GIB, 5);
  expect(await probeMemory(device, 4 * GIB, ON)).toBe(0.5 * GIB);
  expect(seen.held).toBe(0);
});

test('what takes too long is told as far as it went, and half a gibibyte is always asked for', async () => {
  const { device, seen } = deviceOf(24 * GIB);
  expect(await probeMemory(device, 4 * GIB, AbortSignal.abort())).toBe(0.5 * GIB);
  expect(seen.held).toBe(0);
});
