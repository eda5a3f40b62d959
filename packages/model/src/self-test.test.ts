/** The numbers a device must know, made by the reference, and that every backend knows them and a false one does not. */
import { createKernels } from '@starling/kernels';
import { expectClose, onEachBackend } from '@starling/kernels/testing';
import { describe, expect, it } from 'vitest';
import { GOLDEN, selfTest, selfTestNumbers } from './self-test.ts';

describe('the self-test', () => {
  it.each(['f32', 'f16'] as const)('has the reference’s numbers in %s', async (precision) => {
    const kernels = await createKernels({ backend: 'cpu', precision });
    const { lossSum, along } = await selfTestNumbers(kernels);
    kernels.close();
    expectClose([lossSum, ...along], [GOLDEN[precision].lossSum, ...GOLDEN[precision].along], 1e-6);
  });

  it('finds a product that is off by a hundredth', async () => {
    const kernels = await createKernels({ backend: 'cpu' });
    const { matmul } = kernels;
    kernels.matmul = (...operands) =>
      kernels.scope(() => {
        const product = matmul.apply(kernels, operands);
        return kernels.add(
          product,
          matmul.call(kernels, product, kernels.upload(identity(product.shape[1]!, 1e-2), [product.shape[1]!, product.shape[1]!])),
        );
      });
    await expect(selfTest(kernels)).rejects.toThrow(
      expect.objectContaining({ code: 'DEVICE_WRONG', message: expect.stringContaining('CPU (JavaScript)') }),
    );
    kernels.close();
  });
});

function identity(size: number, scale: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(size * size);
  for (let i = 0; i < size; i++) matrix[i * size + i] = scale;
  return matrix;
}

describe.each(['f32', 'f16'] as const)('in %s', (precision) => {
  onEachBackend(
    (kernels) => {
      it('is passed', async () => {
        await selfTest(kernels());
      });
    },
    { precision, reference: true },
  );
});
