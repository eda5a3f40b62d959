/** Rows that a device packs are read as those that are packed here. */
import type { PackedFormat } from '@starling/kernels';
import { onEachBackend, randomNumbers } from '@starling/kernels/testing';
import { LARGEST_CROSSING, type ModelShape } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { crossingOf } from './crossing.ts';
import { QUANTISERS } from './quantise.ts';

const ROWS = 37;
/** Of very different sizes, zeros and whole rows of zeros among them. */
const rowsOf = (width: number, seed: number) =>
  randomNumbers(ROWS * width, seed).map((x, i) => {
    const row = Math.floor(i / width);
    return row % 9 === 0 || i % 13 === 0 ? 0 : x * 10 ** ((row % 13) - 9);
  });
/** How far apart two roundings of a number may be: a step of its scale, or of its own half. */
const stepOf = (format: PackedFormat, rows: Float32Array, i: number, width: number): number => {
  if (format === 'f16') return Math.max(2 ** -10 * Math.abs(rows[i]!), 2 ** -24);
  const size = format === 'int8' ? width : 32;
  const start = i - (i % size);
  return rows.subarray(start, start + size).reduce((most, x) => Math.max(most, Math.abs(x)), 0) / (format === 'int8' ? 127 : 7);
};

onEachBackend((kernels, backend) => {
  describe.each<PackedFormat>(['f16', 'int8', 'int4'])('%s', (format) => {
    const quantiser = QUANTISERS[format];

    it.each([64, 128, 192])('of rows of %i', async (width) => {
      const rows = rowsOf(width, width);
      const tensor = kernels().upload(rows, [ROWS, width]);
      const packing = kernels().pack(tensor, format);
      // Elsewhere memory is one, and nothing is won.
      expect(packing !== null).toBe(backend === 'webgpu');
      if (!packing) return;
      const bytes = await packing;
      const here = quantiser.encode(rows, width);
      expect(bytes.length).toBe(here.length);
      const [there, expected] = [quantiser.decode(bytes, width), quantiser.decode(here, width)];
      let other = 0;
      for (let i = 0; i < rows.length; i++) {
        if (there[i] !== expected[i]) other += 1;
        const limit = 1.001 * stepOf(format, rows, i, width);
        if (!(Math.abs(there[i]! - expected[i]!) <= limit)) expect.fail(`${rows[i]} became ${there[i]}, here ${expected[i]}`);
        if (!(Math.abs(there[i]! - rows[i]!) <= 0.501 * limit + 1e-9 * limit)) expect.fail(`${rows[i]} became ${there[i]}`);
      }
      // Scales may differ in their last bit; the numbers that round to another code are few.
      if (format === 'f16') expect(other).toBe(0);
      kernels().dispose(tensor);
    });

    it('says what is too large as the largest that crosses', async () => {
      const [rows, tops] = [rowsOf(64, 5), [4e4, -1e6, 3e7, -1e38]];
      for (const [i, top] of tops.entries()) rows[(5 + i) * 64 + 7] = top;
      const tensor = kernels().upload(rows, [ROWS, 64]);
      const bytes = await kernels().pack(tensor, format);
      const crossing = crossingOf({ boundary: format, sequences: 1, model: { context: ROWS, width: 64 } as ModelShape });
      for (const written of [bytes, crossing.pack(rows)]) {
        if (!written) continue;
        const read = crossing.unpack(written);
        for (const [i, top] of tops.entries()) {
          const most = Math.sign(top) * Math.min(Math.abs(top), LARGEST_CROSSING[format]);
          expect(Math.abs(read[(5 + i) * 64 + 7]! / most - 1)).toBeLessThan(2 ** -7);
        }
      }
      kernels().dispose(tensor);
    });

    it.each([Number.NaN, Number.POSITIVE_INFINITY, 3e38])('says that %d cannot be said', async (bad) => {
      const rows = rowsOf(64, 3);
      rows[5 * 64 + 7] = bad;
      const tensor = kernels().upload(rows, [ROWS, 64]);
      const bytes = await kernels().pack(tensor, format);
      if (bytes) expect(() => quantiser.decode(bytes, 64)).toThrow(expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }));
      kernels().dispose(tensor);
    });

    it('leaves rows that are no whole words to the host, and no tensor behind', async () => {
      const before = kernels().memory().tensors;
      const odd = kernels().upload(new Float32Array(3 * 33), [3, 33]);
      expect(kernels().pack(odd, format)).toBeNull();
      const even = kernels().upload(new Float32Array(3 * 64), [3, 64]);
      await kernels().pack(even, format);
      kernels().dispose(odd, even);
      expect(kernels().memory().tensors).toBe(before);
    });
  });
});
