/** For tests only: the operations written the obvious way in tfjs, for autodiff to differentiate. */
import { tf } from './autodiff.ts';
import { type AttentionShape, NORM_EPSILON, ROTARY_BASE } from './kernels.ts';

export { differentiate, tf } from './autodiff.ts';

function rotated(x: tf.Tensor, context: number): tf.Tensor {
  const width = x.shape[3]!;
  const half = width / 2;
  const angle = tf.tensor(
    Array.from({ length: context * half }, (_, i) => Math.floor(i / half) / ROTARY_BASE ** ((2 * (i % half)) / width)),
    [1, context, 1, half],
  );
  const [first, second] = tf.split(x, 2, 3);
  return tf.concat(
    [
      tf.sub(tf.mul(first!, tf.cos(angle)), tf.mul(second!, tf.sin(angle))),
      tf.add(tf.mul(second!, tf.cos(angle)), tf.mul(first!, tf.sin(angle))),
    ],
    3,
  );
}

/** As `Kernels.attention`: keys and values repeated for their group, scores of all pairs, the later ones masked. */
export function plainAttention(shape: AttentionShape) {
  const { sequences, context, heads, keyValueHeads, headWidth } = shape;
  return (query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) => {
    const split = (x: tf.Tensor, count: number) => tf.reshape(x, [sequences, context, count, headWidth]);
    const owners = Array.from({ length: heads }, (_, head) => Math.floor((head * keyValueHeads) / heads));
    const repeat = (x: tf.Tensor) => tf.transpose(tf.gather(x, tf.tensor1d(owners, 'int32'), 2), [0, 2, 1, 3]);
    const q = tf.transpose(rotated(split(query, heads), context), [0, 2, 1, 3]);
    const k = repeat(rotated(split(key, keyValueHeads), context));
    const v = repeat(split(value, keyValueHeads));
    const seen = tf.tensor(
      Array.from({ length: context * context }, (_, i) => (i % context <= Math.floor(i / context) ? 0 : -1e9)),
      [1, 1, context, context],
    );
    const scores = tf.add(tf.div(tf.matMul(q, k, false, true), Math.sqrt(headWidth)), seen);
    return tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]), [sequences * context, heads * headWidth]);
  };
}

export function plainNorm(x: tf.Tensor, gain: tf.Tensor): tf.Tensor {
  return tf.mul(tf.div(x, tf.sqrt(tf.add(tf.mean(tf.square(x), 1, true), NORM_EPSILON))), gain);
}

export function plainSwiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return tf.mul(tf.div(gate, tf.add(1, tf.exp(tf.neg(gate)))), up);
}

/** Sum over the rows, in nats. */
export function plainCrossEntropy(logits: tf.Tensor, targets: Int32Array): tf.Tensor {
  const chosen = tf.oneHot(tf.tensor1d(targets, 'int32'), logits.shape[1]!);
  return tf.neg(tf.sum(tf.mul(tf.logSoftmax(logits as tf.Tensor2D), chosen)));
}
