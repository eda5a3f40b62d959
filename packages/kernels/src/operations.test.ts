/**
 * Every operation on every backend: values and gradients against tfjs autodiff of a plain formulation (on its cpu
 * backend), and gradients against central differences of the operation itself.
 */
import { describe, expect, it } from 'vitest';
import { CASES, elements } from './cases.ts';
import { differentiate } from './reference.ts';
import { dot, expectClose, onEachBackend, randomNumbers } from './testing.ts';

/** float32 sums of at most a few hundred terms, in another order than the reference. */
const VALUE_TOLERANCE = 3e-6;
const GRADIENT_TOLERANCE = 1e-5;
/** Central differences in float32: truncation ~ε², rounding ~1e-7/ε. */
const STEP = 1e-2;
const DIFFERENCE_TOLERANCE = 3e-3;

onEachBackend(
  (kernels) => {
    describe.each(CASES)('$name', (test) => {
      const inputs = test.shapes.map((shape, i) => randomNumbers(elements(shape), 11 + i));

      const forward = async (values: Float32Array[]) => {
        const k = kernels();
        const output = k.scope(() =>
          test.forward(
            k,
            values.map((data, i) => k.upload(data, test.shapes[i]!)),
          ),
        );
        const data = await k.download(output);
        const shape = [...output.shape];
        k.dispose(output);
        return { data, shape };
      };

      const backward = async (dy: Float32Array, shape: number[]) => {
        const k = kernels();
        const gradients = k.scope(() => {
          const tensors = inputs.map((data, i) => k.upload(data, test.shapes[i]!));
          return test.backward(k, tensors, k.upload(dy, shape));
        });
        expect(gradients.map((tensor) => [...tensor.shape])).toEqual(test.shapes);
        const data = await Promise.all(gradients.map((tensor) => k.download(tensor)));
        k.dispose(...gradients);
        return data;
      };

      it('has the values and gradients of autodiff, and of central differences', async () => {
        const { data, shape } = await forward(inputs);
        const dy = shape.length === 0 ? Float32Array.of(1) : randomNumbers(data.length, 99);
        const reference = await differentiate(
          test.reference,
          inputs.map((values, i) => ({ data: values, shape: test.shapes[i]! })),
          shape.length === 0 ? null : dy,
        );
        expectClose(data, reference.value, VALUE_TOLERANCE);
        const gradients = await backward(dy, shape);
        gradients.forEach((gradient, i) => {
          // An input of no influence (a key with nothing to choose from) has gradient zero, up to rounding.
          if (dot(reference.gradients[i]!, reference.gradients[i]!) < 1e-10) expect(dot(gradient, gradient)).toBeLessThan(1e-10);
          else expectClose(gradient, reference.gradients[i]!, GRADIENT_TOLERANCE, `gradient ${i}`);
        });

        for (const [i, gradient] of gradients.entries()) {
          const direction = randomNumbers(gradient.length, 7 + i);
          const moved = async (step: number) => {
            const values = inputs.map((data, j) => (j === i ? data.map((value, at) => value + step * direction[at]!) : data));
            return dot((await forward(values)).data, dy);
          };
          const slope = ((await moved(STEP)) - (await moved(-STEP))) / (2 * STEP);
          const size = Math.sqrt(dot(gradient, gradient) * dot(direction, direction));
          expect(Math.abs(slope - dot(gradient, direction))).toBeLessThanOrEqual(DIFFERENCE_TOLERANCE * (size + 0.01));
        }
      });

      it('gives the same bits twice, and frees what it made', async () => {
        const { data, shape } = await forward(inputs);
        const dy = randomNumbers(data.length, 99);
        const first = await backward(dy, shape);
        const { tensors } = kernels().memory();
        expect(await backward(dy, shape)).toEqual(first);
        expect((await forward(inputs)).data).toEqual(data);
        expect(kernels().memory().tensors).toBe(tensors);
      });
    });

    it('sums long products in a fixed order', async () => {
      const k = kernels();
      const product = async () => {
        const tensor = k.scope(() =>
          k.matmul(k.upload(randomNumbers(8 * 4096, 1), [8, 4096]), k.upload(randomNumbers(4096 * 8, 2), [4096, 8])),
        );
        const data = await k.download(tensor);
        k.dispose(tensor);
        return data;
      };
      expect(await product()).toEqual(await product());
    });

    it('takes and gives copies', async () => {
      const k = kernels();
      const data = Float32Array.of(1, 2, 3, 4);
      const tensor = k.upload(data, [2, 2]);
      data[0] = 9;
      const first = await k.download(tensor);
      first[1] = 9;
      expect(await k.download(tensor)).toEqual(Float32Array.of(1, 2, 3, 4));
      k.dispose(tensor);
    });

    it('adds', async () => {
      const k = kernels();
      const sum = k.scope(() => k.add(k.upload(Float32Array.of(1, 2, 3), [3]), k.upload(Float32Array.of(10, 20, 30), [3])));
      expect(await k.download(sum)).toEqual(Float32Array.of(11, 22, 33));
      k.dispose(sum);
    });

    it('refuses data that does not fill the shape', () => {
      expect(() => kernels().upload(new Float32Array(3), [2, 2])).toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
    });
  },
  { reference: true },
);
