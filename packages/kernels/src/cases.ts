/** For tests only: every operation, and what it is in plain tfjs. Some sizes come in fours, others do not. */
import type { AttentionShape, Kernels, Tensor } from './kernels.ts';
import { plainAttention, plainCrossEntropy, plainNorm, plainSwiglu, tf } from './reference.ts';
import { sortTokens } from './tables.ts';
import { randomTokens } from './testing.ts';

export interface Case {
  name: string;
  shapes: number[][];
  forward(kernels: Kernels, inputs: Tensor[]): Tensor;
  backward(kernels: Kernels, inputs: Tensor[], dy: Tensor): Tensor[];
  reference(...inputs: tf.Tensor[]): tf.Tensor;
}

export const elements = (shape: readonly number[]) => shape.reduce((n, size) => n * size, 1);

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

export const CASES: readonly Case[] = [
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
