/**
 * For tests only: tfjs with its gradients, as the reference our hand-written ones are checked against.
 *
 * The package's Node bundle leaves the gradient functions out, and its ES modules import each other without file
 * extensions, as bundlers allow and Node does not. A resolve hook adds them while the gradients are loaded; they
 * register in the same global table as the bundle looks in.
 */
import { existsSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

const hooks = registerHooks({
  resolve(specifier, context, next) {
    if (!specifier.startsWith('.') || !context.parentURL?.includes('/tfjs-core/dist/')) return next(specifier, context);
    const path = fileURLToPath(new URL(specifier, context.parentURL));
    const found = [`${path}.js`, `${path}/index.js`, path].find(existsSync);
    return found ? { url: pathToFileURL(found).href, format: 'module', shortCircuit: true } : next(specifier, context);
  },
});
const gradients = createRequire(import.meta.url).resolve('@tensorflow/tfjs-core/dist/register_all_gradients.js');
await import(/* @vite-ignore */ pathToFileURL(gradients).href);
hooks.deregister();

export { tf };

/** Value and gradients of `f` at `inputs`, on tfjs' cpu backend whichever is current. `dy` is the upstream gradient, or null for 1. */
export async function differentiate(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: { data: Float32Array; shape: number[] }[],
  dy: Float32Array | null,
): Promise<{ value: Float32Array; gradients: Float32Array[] }> {
  const before = tf.getBackend();
  await tf.setBackend('cpu');
  const copy = async (tensor: tf.Tensor) => Float32Array.from(await tensor.data());
  try {
    const { value, slopes } = tf.tidy(() => {
      const tensors = inputs.map(({ data, shape }) => tf.tensor(data, shape));
      const output = f(...tensors);
      return { value: output, slopes: tf.grads(f)(tensors, dy ? tf.tensor(dy, output.shape) : undefined) };
    });
    const result = { value: await copy(value), gradients: await Promise.all(slopes.map(copy)) };
    tf.dispose([value, slopes]);
    return result;
  } finally {
    await tf.setBackend(before);
  }
}
