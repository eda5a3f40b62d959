/** Every kernel once, on random numbers of a stage's sizes: where backends differ, and by how much, before a stage adds it up. */
import { type Kernels, sortTokens, type Tensor } from '@starling/kernels';
import { splitMix32 } from '@starling/model';
import type { ModelShape } from '@starling/protocol';

type Vector = Float32Array<ArrayBuffer>;

/** By the kernel's name, all its results in one vector. The same `seed` gives the same inputs. */
export async function kernelOutputs(kernels: Kernels, shape: ModelShape, sequences: number, seed: number): Promise<Record<string, Vector>> {
  const { width, hidden, heads, keyValueHeads, context, vocabulary } = shape;
  const rows = sequences * context;
  const narrow = (width / heads) * keyValueHeads;
  const next = splitMix32(seed);
  const uniform = () => next() / 2 ** 31 - 1;
  const tensor = (...sizes: number[]) =>
    kernels.upload(Float32Array.from({ length: sizes.reduce((n, size) => n * size, 1) }, uniform), sizes);
  const ids = Int32Array.from({ length: rows }, () => next() % vocabulary);
  const { order, starts } = sortTokens(ids, vocabulary);
  const known = {
    tokens: kernels.upload(ids, [rows]),
    order: kernels.upload(order, [rows]),
    starts: kernels.upload(starts, [vocabulary + 1]),
  };
  const attention = { sequences, context, heads, keyValueHeads, headWidth: width / heads };
  const x = tensor(rows, width);
  const dy = tensor(rows, width);
  const gain = tensor(width);
  const weight = tensor(width, hidden);
  const [query, key, value] = [tensor(rows, width), tensor(rows, narrow), tensor(rows, narrow)];
  const [gate, up, dhidden] = [tensor(rows, hidden), tensor(rows, hidden), tensor(rows, hidden)];
  const logits = tensor(rows, vocabulary);
  const results = kernels.scope((): Record<string, Tensor[]> => {
    const { y, inverse } = kernels.rmsNorm(x, gain);
    const { dx, dgain } = kernels.rmsNormBackward(x, gain, inverse, dy);
    const { output, saved } = kernels.attention(query, key, value, attention);
    const { dquery, dkey, dvalue } = kernels.attentionBackward(saved, dy, attention);
    const { dgate, dup } = kernels.swigluBackward(gate, up, dhidden);
    const { lossSum, dlogits } = kernels.crossEntropy(logits, known.tokens);
    return {
      'matmul NN': [kernels.matmul(x, weight)],
      'matmul NT': [kernels.matmul(dhidden, weight, false, true)],
      'matmul TN': [kernels.matmul(x, dhidden, true, false)],
      rmsNorm: [y],
      'rmsNorm backward': [dx, dgain],
      attention: [output],
      'attention backward': [dquery, dkey, dvalue],
      swiglu: [kernels.swiglu(gate, up)],
      'swiglu backward': [dgate, dup],
      'embedding backward': [kernels.embeddingBackward(known, dy, vocabulary)],
      'cross entropy': [lossSum],
      'cross entropy backward': [dlogits],
    };
  });
  const outputs: Record<string, Vector> = {};
  for (const [name, tensors] of Object.entries(results)) {
    const parts = await Promise.all(tensors.map((each) => kernels.download(each)));
    outputs[name] = Float32Array.from(parts.flatMap((part) => [...part]));
    kernels.dispose(...tensors);
  }
  kernels.dispose(x, dy, gain, weight, query, key, value, gate, up, dhidden, logits, ...Object.values(known));
  return outputs;
}
