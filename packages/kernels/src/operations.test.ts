/**
 * Every operation on every backend: values and gradients against tfjs autodiff of a plain formulation (on its cpu
 * backend), and gradients against central differences of the operation itself.
 */
import { describe, expect, it } from 'vitest';
import type { AttentionShape, Kernels, Tensor } from './kernels.ts';
import { differentiate, plainAttention, plainCrossEntropy, plainNorm, plainSwiglu, tf } from './reference.ts';
import { sortTokens } from './tables.ts';
import { dot, expectClose, onEachBackend, randomNumbers, randomTokens } from './testing.ts';

/** float32 sums of at most a few hundred terms, in another order than the reference. */
const VALUE_TOLERANCE = 3e-6;
const GRADIENT_TOLERANCE = 1e-5;
/** Central differences in float32: truncation ~ε², rounding ~1e-7/ε. */
const STEP = 1e-2;
const DIFFERENCE_TOLERANCE = 3e-3;

interface Case {
  name: string;
  shapes: number[][];
  forward(kernels: Kernels, inputs: Tensor[]): Tensor;
  backward(kernels: Kernels, inputs: Tensor[], dy: Tensor): Tensor[];
  reference(...inputs: tf.Tensor[]): tf.Tensor;
}

const elements = (shape: readonly number[]) => shape.reduce((n, size) => n * size, 1);

function attentionCase(shape: AttentionShape): Case {
  const { sequences, context, heads, keyValueHeads, headWidth } = shape;
  const rows = sequences * context;
  return {
    name: `attention ${Object.values(shape).join('×')}`,
    shapes: [
      [rows, heads * headWidth],
      [rows, keyValueHeads * headWidth],
      [rows, keyValueHeads * headWidth],
    ],
    forward: (k, [query, key, value]) => k.attention(query, key, value, shape).output,
    backward: (k, [query, key, value], dy) => {
      const { saved } = k.attention(query, key, value, shape);
      const { dquery, dkey, dvalue } = k.attentionBackward(saved, dy, shape);
      return [dquery, dkey, dvalue];
    },
    reference: plainAttention(shape),
  };
}

function normCase(rows: number, width: number): Case {
  return {
    name: `rmsNorm ${rows}×${width}`,
    shapes: [[rows, width], [width]],
    forward: (k, [x, gain]) => k.rmsNorm(x, gain).y,
    backward: (k, [x, gain], dy) => {
      const { dx, dgain } = k.rmsNormBackward(x, gain, k.rmsNorm(x, gain).inverse, dy);
      return [dx, dgain];
    },
    reference: plainNorm,
  };
}

function swigluCase(rows: number, width: number): Case {
  return {
    name: `swiglu ${rows}×${width}`,
    shapes: [
      [rows, width],
      [rows, width],
    ],
    forward: (k, [gate, up]) => k.swiglu(gate, up),
    backward: (k, [gate, up], dy) => {
      const { dgate, dup } = k.swigluBackward(gate, up, dy);
      return [dgate, dup];
    },
    reference: plainSwiglu,
  };
}

function matmulCase(m: number, l: number, n: number): Case {
  return {
    name: `matmul ${m}×${l}×${n}, and its gradients by the transposed forms`,
    shapes: [
      [m, l],
      [l, n],
    ],
    forward: (k, [a, b]) => k.matmul(a, b),
    backward: (k, [a, b], dy) => [k.matmul(dy, b, false, true), k.matmul(a, dy, true, false)],
    reference: (a, b) => tf.matMul(a, b),
  };
}

function embeddingCase(rows: number, vocabulary: number, width: number): Case {
  const tokens = randomTokens(rows, 3, vocabulary);
  return {
    name: `embedding ${rows} of ${vocabulary}×${width}`,
    shapes: [[vocabulary, width]],
    forward: (k, [table]) => k.embedding(k.upload(tokens, [rows]), table),
    backward: (k, _, dy) => {
      const { order, starts } = sortTokens(tokens, vocabulary);
      const known = { tokens: k.upload(tokens, [rows]), order: k.upload(order, [rows]), starts: k.upload(starts, [vocabulary + 1]) };
      return [k.embeddingBackward(known, dy, vocabulary)];
    },
    reference: (table) => tf.gather(table, tf.tensor1d(tokens, 'int32')),
  };
}

function crossEntropyCase(rows: number, vocabulary: number): Case {
  const targets = randomTokens(rows, 5, vocabulary);
  return {
    name: `crossEntropy ${rows}×${vocabulary}`,
    shapes: [[rows, vocabulary]],
    forward: (k, [logits]) => k.crossEntropy(logits, k.upload(targets, [rows])).lossSum,
    // The loss is where a backward begins, so its upstream gradient is 1.
    backward: (k, [logits]) => [k.crossEntropy(logits, k.upload(targets, [rows])).dlogits],
    reference: (logits) => plainCrossEntropy(logits, targets),
  };
}

const attentionOf = (sequences: number, context: number, heads: number, keyValueHeads: number, headWidth: number) =>
  attentionCase({ sequences, context, heads, keyValueHeads, headWidth });

const CASES: Case[] = [
  matmulCase(16, 8, 12),
  matmulCase(9, 8, 4),
  matmulCase(7, 5, 3),
  matmulCase(6, 10, 14),
  matmulCase(1, 300, 1),
  normCase(8, 16),
  normCase(5, 7),
  normCase(70, 6),
  attentionOf(2, 8, 4, 4, 8),
  attentionOf(2, 6, 4, 2, 16),
  attentionOf(1, 5, 6, 2, 6),
  attentionOf(3, 3, 2, 1, 4),
  attentionOf(1, 1, 1, 1, 2),
  swigluCase(4, 8),
  swigluCase(3, 5),
  embeddingCase(20, 7, 8),
  embeddingCase(3, 5, 3),
  crossEntropyCase(6, 16),
  crossEntropyCase(33, 5),
];

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

    it('fuses what it also does one by one', async () => {
      const k = kernels();
      const [rows, width, hidden, vocabulary] = [9, 8, 12, 70];
      const some = (seed: number, ...shape: number[]) => k.upload(randomNumbers(elements(shape), seed), shape);
      const [x, dy, down] = [some(1, rows, width), some(2, rows, width), some(3, hidden, width)];
      const [toGate, toUp, head] = [some(4, width, hidden), some(5, width, hidden), some(6, width, vocabulary)];
      const targets = k.upload(randomTokens(rows, 7, vocabulary), [rows]);
      const results = k.scope((): Record<string, [fused: Tensor, composed: Tensor]> => {
        const { gate, up, activated } = k.gatedMatmul(x, toGate, toUp);
        const composed = k.swiglu(k.matmul(x, toGate), k.matmul(x, toUp));
        const gated = k.gatedMatmulBackward(gate, up, dy, down);
        const apart = k.swigluBackward(gate, up, k.matmul(dy, down, false, true));
        const loss = k.headLossBackward(x, head, targets);
        const plain = k.crossEntropy(k.matmul(x, head), targets);
        const { inverse } = k.rmsNorm(x, some(8, width));
        return {
          addend: [k.matmul(x, toGate, false, false, gate), k.add(k.matmul(x, toGate), gate)],
          matmuls: [k.matmuls(x, [toGate, toUp])[1]!, k.matmul(x, toUp)],
          transposed: [k.matmuls(x, [gate, up], true)[1]!, k.matmul(x, up, true, false)],
          sum: [
            k.sumOfMatmuls([
              [gate, toGate],
              [up, toUp],
            ]),
            k.add(k.matmul(gate, toGate, false, true), k.matmul(up, toUp, false, true)),
          ],
          gate: [gate, k.matmul(x, toGate)],
          activated: [activated, composed],
          only: [k.gatedMatmulOnly(x, toGate, toUp), composed],
          dgate: [gated.dgate, apart.dgate],
          dup: [gated.dup, apart.dup],
          norm: [k.rmsNormBackward(x, some(8, width), inverse, dy, x).dx, k.add(k.rmsNormBackward(x, some(8, width), inverse, dy).dx, x)],
          loss: [k.headLoss(x, head, targets), plain.lossSum],
          'loss with gradients': [loss.lossSum, plain.lossSum],
          'dy of loss': [loss.dy, k.matmul(plain.dlogits, head, false, true)],
          'dhead of loss': [loss.dhead, k.matmul(x, plain.dlogits, true, false)],
        };
      });
      for (const [name, [fused, composed]] of Object.entries(results)) {
        expect(fused.shape, name).toEqual(composed.shape);
        expectClose(await k.download(fused), await k.download(composed), VALUE_TOLERANCE, name);
      }
      k.dispose(...new Set(Object.values(results).flat()), x, dy, down, toGate, toUp, head, targets);
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
