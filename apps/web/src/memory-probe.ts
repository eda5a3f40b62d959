/** How much memory a GPU gives: nothing tells, so buffers are asked for until one is refused. */

/** Every device has buffers of so many bytes (WebGPU's least `maxBufferSize` is twice that). */
const STEP_BYTES = 128 * 1024 ** 2;
/** Asked for however long it takes: half a gibibyte is enough for most stages. */
const SOON_STEPS = 4;

type ProbedDevice = Pick<GPUDevice, 'createBuffer' | 'pushErrorScope' | 'popErrorScope' | 'lost'>;

/**
 * Bytes that could be had at once, in steps, `most` at most. All are given back. `enough` ends it: a GPU in software writes zeros into
 * all that it gives.
 */
export async function probeMemory(device: ProbedDevice, most: number, enough: AbortSignal): Promise<number> {
  let lost = false;
  void device.lost.then(() => {
    lost = true;
  });
  const buffers: GPUBuffer[] = [];
  try {
    while ((buffers.length + 1) * STEP_BYTES <= most && (buffers.length < SOON_STEPS || !enough.aborted)) {
      device.pushErrorScope('out-of-memory');
      const buffer = device.createBuffer({ size: STEP_BYTES, usage: GPUBufferUsage.STORAGE });
      const refused = await device.popErrorScope();
      // A device that is gone refuses nothing.
      if (refused || lost) {
        buffer.destroy();
        break;
      }
      buffers.push(buffer);
    }
    return buffers.length * STEP_BYTES;
  } finally {
    for (const buffer of buffers) buffer.destroy();
  }
}
