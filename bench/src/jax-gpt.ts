/**
 * The model of `plain-gpt.ts` as a jax-js programmer writes it: pure functions of a tree of arrays, one `jit` around loss, gradient and Adam,
 * its own `dotProductAttention`. Every function owns the arrays it is given, and takes `.ref` of what it needs twice. A page with
 * `SharedArrayBuffer` runs the wasm programs of jax-js on several threads; Node has no `Worker`, so here they run on one, like ours and tfjs's.
 */

import { type Device, defaultDevice, init, jit, nn, numpy as np, random, tree, valueAndGrad } from '@jax-js/jax';
import type { ModelShape } from '@starling/protocol';
import { plainShapes } from './plain-shapes.ts';

const EPSILON = 1e-5;
const BETA1 = 0.9;
const BETA2 = 0.99;
const ADAM_EPSILON = 1e-8;

type Tensors = { [name: string]: np.Array };

type State = {
  parameters: Tensors;
  first: Tensors;
  second: Tensors;
  /** Adam's step, from 1: scalar. */
  count: np.Array;
};

/** Makes jax-js compute on a device from now on; false when it finds none. Of WebGPU it asks `navigator.gpu`. */
export async function useJaxDevice(device: Device): Promise<boolean> {
  if (!(await init(device)).includes(device)) return false;
  defaultDevice(device);
  return true;
}

export class JaxGpt {
  private state: State;
  private readonly train: ReturnType<typeof trainStep>;

  constructor(shape: ModelShape, sequences: number, learningRate: number, seed: number) {
    const parameters = initial(shape, seed);
    const zeros = () => tree.map((x: np.Array) => np.zeros(x.shape), parameters) as Tensors;
    this.state = { parameters, first: zeros(), second: zeros(), count: np.array(1) };
    this.train = trainStep(shape, sequences, learningRate);
  }

  /** One microbatch and one update; the mean loss before it. Tokens and targets `[B·T]`. */
  async step(tokens: Int32Array<ArrayBuffer>, targets: Int32Array<ArrayBuffer>): Promise<number> {
    const [state, loss] = this.train(this.state, np.array(tokens), np.array(targets));
    this.state = state;
    const [mean] = await loss.data();
    return mean!;
  }

  dispose(): void {
    tree.dispose(this.state);
    this.train.dispose();
  }
}

function initial(shape: ModelShape, seed: number): Tensors {
  const parameters = plainShapes(shape).map(([name, sizes], i): [string, np.Array] => {
    return [name, sizes.length === 1 ? np.ones(sizes) : random.normal(random.key(seed + i), sizes).mul(0.02)];
  });
  return Object.fromEntries(parameters);
}

function trainStep(shape: ModelShape, sequences: number, learningRate: number) {
  return jit(function train(state: State, tokens: np.Array, targets: np.Array): [State, np.Array] {
    const lossOf = (parameters: Tensors, ...batch: [np.Array, np.Array]) => meanLoss(shape, sequences, parameters, ...batch);
    const [loss, gradients] = valueAndGrad(lossOf)(tree.ref(state.parameters), tokens, targets);
    return [adam(state, gradients as Tensors, learningRate), loss];
  });
}

function adam({ parameters, first, second, count }: State, gradients: Tensors, learningRate: number): State {
  const next: State = { parameters: {}, first: {}, second: {}, count: count.ref.add(1) };
  const correction = (beta: number) => np.reciprocal(np.subtract(1, np.exp(count.ref.mul(Math.log(beta)))));
  const [correction1, correction2] = [correction(BETA1), correction(BETA2)];
  count.dispose();
  for (const [name, gradient] of Object.entries(gradients)) {
    const m = first[name]!.mul(BETA1).add(gradient.ref.mul(1 - BETA1));
    const v = second[name]!.mul(BETA2).add(np.square(gradient).mul(1 - BETA2));
    next.first[name] = m.ref;
    next.second[name] = v.ref;
    const scale = np.sqrt(v.mul(correction2.ref)).add(ADAM_EPSILON);
    next.parameters[name] = parameters[name]!.sub(m.mul(correction1.ref).mul(learningRate).div(scale));
  }
  correction1.dispose();
  correction2.dispose();
  return next;
}

/**
 * Mean cross-entropy in nats. Tokens and targets `[B·T]`. Positions are tiled to the rows of the embedding instead of the rows reshaped to
 * theirs, and targets compared instead of gathered, because `jit` cannot compile the gradient of a gather whose cotangent comes reshaped.
 */
function meanLoss(shape: ModelShape, sequences: number, parameters: Tensors, tokens: np.Array, targets: np.Array): np.Array {
  const { context, layers, vocabulary } = shape;
  const rows = sequences * context;
  const of = (name: string) => parameters[name]!;
  let x = np.take(of('embedding'), tokens, 0).add(np.tile(of('positions'), [sequences, 1]));
  for (let layer = 0; layer < layers; layer++) {
    const weight = (name: string) => of(`${layer}.${name}`);
    const attended = attention(shape, sequences, norm(x.ref, weight('attention')), weight('query'), weight('key'), weight('value'));
    x = x.add(np.dot(attended, weight('output')));
    const y = norm(x.ref, weight('feed'));
    const activated = nn.silu(np.dot(y.ref, weight('gate'))).mul(np.dot(y, weight('up')));
    x = x.add(np.dot(activated, weight('down')));
  }
  const logits = np.dot(norm(x, of('norm')), of('head'));
  const isTarget = np.equal(targets.reshape([rows, 1]), np.arange(vocabulary));
  return np
    .where(isTarget, nn.logSoftmax(logits), 0)
    .sum()
    .mul(-1 / rows);
}

/** `x` `[rows, width]`, `gain` `[width]`. */
function norm(x: np.Array, gain: np.Array): np.Array {
  const square = np.square(x.ref).mean(-1, { keepdims: true });
  return x.mul(np.reciprocal(np.sqrt(square.add(EPSILON)))).mul(gain);
}

/** `x` `[B·T, width]`; also what it gives. */
function attention(shape: ModelShape, sequences: number, x: np.Array, query: np.Array, key: np.Array, value: np.Array): np.Array {
  const { width, context, heads, keyValueHeads } = shape;
  const split = (y: np.Array, count: number) => y.reshape([sequences, context, count, width / heads]);
  const q = split(np.dot(x.ref, query), heads);
  const k = split(np.dot(x.ref, key), keyValueHeads);
  const v = split(np.dot(x, value), keyValueHeads);
  return nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([sequences * context, width]);
}
