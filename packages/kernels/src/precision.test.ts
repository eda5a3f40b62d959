/** With `f16`, every operation is near what float32 gives, and rounds in the same places on every backend. */
import { describe, expect, it } from 'vitest';
import { CASES, type Case, elements } from './cases.ts';
import { createKernels } from './create.ts';
import type { Kernels } from './kernels.ts';
import { differentiate } from './reference.ts';
import { dot, expectClose, onEachBackend, randomNumbers } from './testing.ts';

/** An operand is off by 2^-11 at most, relative L2 of many about a third of that, and some operations round twice. */
const HALF_TOLERANCE = 1e-3;
/** What is rounded differs in its last places from backend to backend, which now and then makes it the next half. */
const BACKEND_TOLERANCE = 1e-4;

const inputsOf = ({ shapes }: Case) => shapes.map((shape, i) => randomNumbers(elements(shape), 11 + i));

/** The value, and the gradients at `upstream` of it. */
async function results(k: Kernels, test: Case): Promise<{ value: Float32Array; upstream: Float32Array | null; gradients: Float32Array[] }> {
  const tensorsOf = () => inputsOf(test).map((data, i) => k.upload(data, test.shapes[i]!));
  const output = k.scope(() => test.forward(k, tensorsOf()));
  const [value, shape] = [await k.download(output), output.shape];
  const upstream = shape.length === 0 ? null : randomNumbers(value.length, 99);
  const tensors = k.scope(() => test.backward(k, tensorsOf(), k.upload(upstream ?? Float32Array.of(1), shape)));
  const gradients = await Promise.all(tensors.map((tensor) => k.download(tensor)));
  k.dispose(output, ...tensors);
  return { value, upstream, gradients };
}

const cpu = await createKernels({ backend: 'cpu', precision: 'f16' });
const expected = new Map<Case, Awaited<ReturnType<typeof results>>>();
for (const test of CASES) expected.set(test, await results(cpu, test));
cpu.close();

onEachBackend(
  (kernels) => {
    describe.each(CASES)('$name', (test) => {
      it('is near float32', async () => {
        const { value, upstream, gradients } = await results(kernels(), test);
        const inputs = inputsOf(test).map((data, i) => ({ data, shape: test.shapes[i]! }));
        const reference = await differentiate(test.reference, inputs, upstream);
        expectClose(value, reference.value, HALF_TOLERANCE);
        for (const [i, gradient] of gradients.entries()) {
          // An input of no influence (a key with nothing to choose from) has gradient zero, up to rounding.
          const size = dot(reference.gradients[i]!, reference.gradients[i]!);
          if (size < 1e-10) expect(dot(gradient, gradient)).toBeLessThan(HALF_TOLERANCE ** 2);
          else expectClose(gradient, reference.gradients[i]!, HALF_TOLERANCE, `gradient ${i}`);
        }
      });

      it('is what the CPU gives, and the same bits twice', async () => {
        const found = await results(kernels(), test);
        const { value, gradients } = expected.get(test)!;
        expectClose(found.value, value, BACKEND_TOLERANCE);
        for (const [i, gradient] of found.gradients.entries()) {
          if (dot(gradients[i]!, gradients[i]!) < HALF_TOLERANCE ** 2) expect(dot(gradient, gradient)).toBeLessThan(HALF_TOLERANCE ** 2);
          else expectClose(gradient, gradients[i]!, BACKEND_TOLERANCE, `gradient ${i}`);
        }
        expect(await results(kernels(), test)).toEqual(found);
      });
    });
  },
  { precision: 'f16', reference: true },
);
