/**
 * A stage's hand-written backward on every backend: against tfjs autodiff of a plain formulation of the whole stage (on
 * its cpu backend), and against central differences of the stage's own forward. And that a cut changes nothing.
 */
import type { Kernels } from '@starling/kernels';
import { differentiate, plainAttention, plainCrossEntropy, plainNorm, plainSwiglu, tf } from '@starling/kernels/reference';
import { dot, expectClose, onEachBackend, randomNumbers, randomTokens } from '@starling/kernels/testing';
import { boundaryWidth, type ModelShape, type StageSpec } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { layoutOf } from './layout.ts';
import { cutStages } from './presets.ts';
import { frozenOf } from './squeeze.ts';
import { Stage } from './stage.ts';

/** float32 through a few layers, in another order than the reference. */
const VALUE_TOLERANCE = 1e-5;
const GRADIENT_TOLERANCE = 3e-5;
/** Central differences in float32: truncation ~ε², rounding ~1e-7/ε. */
const STEP = 1e-2;
const DIFFERENCE_TOLERANCE = 5e-3;

const NARROW: ModelShape = { vocabulary: 13, width: 12, layers: 4, heads: 6, keyValueHeads: 2, hidden: 10, context: 6 };
/** Four layers, so that three stages hold 2, 1 and 1. */
const SHAPES: [name: string, shape: ModelShape, sequences: number][] = [
  ['a head for each key', { vocabulary: 16, width: 16, layers: 4, heads: 4, keyValueHeads: 4, hidden: 24, context: 8 }, 2],
  ['grouped keys, odd sizes', { vocabulary: 11, width: 12, layers: 4, heads: 6, keyValueHeads: 2, hidden: 7, context: 5 }, 3],
  ['a subspace', { ...NARROW, squeeze: { kind: 'subspace', rank: 5, seed: 1 } }, 2],
  ['bottlenecks', { ...NARROW, squeeze: { kind: 'bottleneck', rank: 5, seed: 1 } }, 2],
  ['one key head, one token', { vocabulary: 5, width: 6, layers: 4, heads: 3, keyValueHeads: 1, hidden: 5, context: 1 }, 4],
];

interface Case {
  name: string;
  shape: ModelShape;
  spec: StageSpec;
  sequences: number;
}

const CASES: Case[] = SHAPES.flatMap(([name, shape, sequences]) => {
  const [whole] = cutStages(shape, 1);
  const [first, middle, last] = cutStages(shape, 3);
  return Object.entries({ first, middle, last, whole }).map(([part, spec]) => ({
    name: `${part} stage, ${name}`,
    shape,
    spec: spec!,
    sequences,
  }));
});

/** Larger than at the start of a run, so that no gradient is lost in rounding; gains near 1. */
function someParameters(shape: ModelShape, spec: StageSpec): Float32Array<ArrayBuffer> {
  const layout = layoutOf(shape, spec);
  const parameters = randomNumbers(layout.size, 17, 0.4);
  for (const { offset, size, decay } of layout.entries) if (!decay) for (let i = offset; i < offset + size; i++) parameters[i]! += 1;
  return parameters;
}

/** The stage as one differentiable function of its parameters, and of its input when that is no tokens. */
function plainStage({ shape, spec, sequences }: Case, tokens: Int32Array, targets: Int32Array) {
  const { width, heads, keyValueHeads, context, squeeze } = shape;
  const attention = plainAttention({ sequences, context, heads, keyValueHeads, headWidth: width / heads });
  const { entries } = layoutOf(shape, spec);
  const frozen = frozenOf(shape);
  return (...inputs: tf.Tensor[]) => {
    const parameters = new Map(entries.map(({ name }, i) => [name, inputs[i]!]));
    const rows = tf.tensor1d(tokens, 'int32');
    let stream = spec.isFirst ? tf.gather(parameters.get('embedding')!, rows) : inputs.at(-1)!;
    const expand = parameters.get(`stages.${spec.index}.boundary.expand`);
    if (expand) stream = tf.add(tf.relu(tf.matMul(stream, expand)), tf.pad(stream, [[0, 0], [0, width - squeeze!.rank]])); // biome-ignore format: a matrix
    const wide = (values: tf.Tensor) => {
      if (!frozen) return values;
      const basis = tf.tensor2d(frozen.basis, [width, squeeze!.rank]);
      const fixed = tf.gather(tf.tensor2d(frozen.embedding, [shape.vocabulary, width]), rows);
      return tf.add(fixed, tf.matMul(values, basis, false, true));
    };
    for (let layer = spec.firstLayer; layer < spec.firstLayer + spec.layers; layer++) {
      const p = (name: string) => parameters.get(`layers.${layer}.${name}`)!;
      const normed = plainNorm(wide(stream), p('attention.norm'));
      const [query, key, value] = ['query', 'key', 'value'].map((name) => tf.matMul(normed, p(`attention.${name}`)));
      stream = tf.add(stream, tf.matMul(attention(query!, key!, value!), p('attention.output')));
      const fed = plainNorm(wide(stream), p('feedForward.norm'));
      const activated = plainSwiglu(tf.matMul(fed, p('feedForward.gate')), tf.matMul(fed, p('feedForward.up')));
      stream = tf.add(stream, tf.matMul(activated, p('feedForward.down')));
    }
    const squeezed = parameters.get(`stages.${spec.index}.boundary.squeeze`);
    if (!spec.isLast) return squeezed ? tf.matMul(stream, squeezed) : stream;
    return plainCrossEntropy(tf.matMul(plainNorm(wide(stream), parameters.get('norm')!), parameters.get('head')!), targets);
  };
}

onEachBackend((kernels) => {
  describe.each(CASES)('$name', (test) => {
    const { shape, spec, sequences } = test;
    const rows = sequences * shape.context;
    const layout = layoutOf(shape, spec);
    const parameters = someParameters(shape, spec);
    const tokens = randomTokens(rows, 3, shape.vocabulary);
    const targets = randomTokens(rows, 5, shape.vocabulary);
    const crossing = boundaryWidth(shape);
    const activations = randomNumbers(rows * crossing, 7);
    const input = spec.isFirst ? tokens : activations;
    const upstream = randomNumbers(rows * crossing, 9);

    const withStage = async <T>(work: (stage: Stage) => Promise<T>): Promise<T> => {
      const stage = new Stage(kernels(), shape, spec, { sequences });
      stage.load(parameters);
      try {
        return await work(stage);
      } finally {
        stage.dispose();
      }
    };

    /** What the gradients are of: the loss, or the output in the direction of `upstream`. */
    const objective = async (stage: Stage, at: Float32Array | Int32Array): Promise<number> =>
      spec.isLast ? await stage.loss(at, targets, tokens) : dot(await stage.forward(at, tokens), upstream);

    const gradients = async (stage: Stage) => {
      const result = await stage.backward(input, spec.isLast ? targets : upstream, tokens);
      stage.accumulate(result.gradient);
      return { ...result, gradient: await stage.takeGradient() };
    };

    it('has the values and gradients of autodiff', async () => {
      const inputs = layout.entries.map(({ offset, size, shape: dimensions }) => ({
        data: parameters.slice(offset, offset + size),
        shape: [...dimensions],
      }));
      if (!spec.isFirst) inputs.push({ data: activations, shape: [rows, crossing] });
      const reference = await differentiate(plainStage(test, tokens, targets), inputs, spec.isLast ? null : upstream);
      await withStage(async (stage) => {
        const { inputGradient, lossSum, gradient } = await gradients(stage);
        if (spec.isLast) {
          expectClose([lossSum!], reference.value, VALUE_TOLERANCE, 'loss');
          expectClose([await stage.loss(input, targets, tokens)], reference.value, VALUE_TOLERANCE, 'loss of forward alone');
        } else {
          expect(lossSum).toBeNull();
          expectClose(await stage.forward(input, tokens), reference.value, VALUE_TOLERANCE, 'output');
        }
        for (const [i, { name, offset, size }] of layout.entries.entries()) {
          const actual = gradient.subarray(offset, offset + size);
          // With one token to look at, queries and keys have no influence: gradient zero, up to rounding.
          if (dot(reference.gradients[i]!, reference.gradients[i]!) < 1e-10) expect(dot(actual, actual), name).toBeLessThan(1e-10);
          else expectClose(actual, reference.gradients[i]!, GRADIENT_TOLERANCE, name);
        }
        if (spec.isFirst) expect(inputGradient).toBeNull();
        else expectClose(inputGradient!, reference.gradients.at(-1)!, GRADIENT_TOLERANCE, 'input gradient');
      });
    });

    it('has the gradients of central differences', async () => {
      await withStage(async (stage) => {
        const { inputGradient, gradient } = await gradients(stage);
        const check = async (analytic: ArrayLike<number>, direction: Float32Array, at: (step: number) => Promise<number>) => {
          const slope = ((await at(STEP)) - (await at(-STEP))) / (2 * STEP);
          const size = Math.sqrt(dot(analytic, analytic) * dot(direction, direction));
          expect(Math.abs(slope - dot(analytic, direction))).toBeLessThanOrEqual(DIFFERENCE_TOLERANCE * (size + 0.01));
        };
        const direction = randomNumbers(layout.size, 31, 0.3);
        await check(gradient, direction, async (step) => {
          stage.load(parameters.map((value, i) => value + step * direction[i]!));
          return objective(stage, input);
        });
        if (!inputGradient) return;
        stage.load(parameters);
        const sideways = randomNumbers(activations.length, 33);
        await check(inputGradient, sideways, (step) =>
          objective(
            stage,
            activations.map((value, i) => value + step * sideways[i]!),
          ),
        );
      });
    });
  });

  describe('a stage', () => {
    const [, shape, sequences] = SHAPES[1]!;
    const rows = sequences * shape.context;
    const batch = (seed: number) => ({
      tokens: randomTokens(rows, seed, shape.vocabulary),
      targets: randomTokens(rows, seed + 1, shape.vocabulary),
    });
    const open = (k: Kernels, spec: StageSpec, parameters: Float32Array) => {
      const stage = new Stage(k, shape, spec, { sequences });
      stage.load(parameters);
      return stage;
    };
    const [whole] = cutStages(shape, 1);

    it.each([2, 3, 4])('cut in %i computes what the uncut model computes, to the bit', async (count) => {
      const parameters = someParameters(shape, whole!);
      const { tokens, targets } = batch(41);
      const uncut = open(kernels(), whole!, parameters);
      const expected = await uncut.backward(tokens, targets);
      uncut.accumulate(expected.gradient);
      const expectedGradient = await uncut.takeGradient();
      uncut.dispose();

      let start = 0;
      const stages = cutStages(shape, count).map((spec) => {
        const { size } = layoutOf(shape, spec);
        start += size;
        return open(kernels(), spec, parameters.subarray(start - size, start));
      });
      const inputs: (Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>)[] = [tokens];
      for (const stage of stages.slice(0, -1)) inputs.push(await stage.forward(inputs.at(-1)!));
      expect(await stages.at(-1)!.loss(inputs.at(-1)!, targets)).toBe(expected.lossSum);
      const parts: Float32Array[] = [];
      let upstream: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> = targets;
      for (const [i, stage] of [...stages.entries()].reverse()) {
        const { inputGradient, gradient } = await stage.backward(inputs[i]!, upstream);
        stage.accumulate(gradient);
        parts.unshift(await stage.takeGradient());
        if (inputGradient) upstream = inputGradient;
        stage.dispose();
      }
      expect(Float32Array.from(parts.flatMap((part) => [...part]))).toEqual(expectedGradient);
    });

    it('gives the same bits twice, and holds no more tensors after thirty microbatches than after two', async () => {
      const before = kernels().memory().tensors;
      const stage = open(kernels(), whole!, someParameters(shape, whole!));
      const step = async (count: number) => {
        for (let i = 0; i < count; i++) {
          const { tokens, targets } = batch(50 + (i % 3));
          const { gradient } = await stage.backward(tokens, targets);
          if (i % 4 === 3) stage.discard(gradient);
          else stage.accumulate(gradient);
        }
        return kernels().memory().tensors;
      };
      const held = await step(2);
      expect(await step(30)).toBe(held);
      stage.resetGradient();
      await step(3);
      const first = await stage.takeGradient();
      await step(3);
      expect(await stage.takeGradient()).toEqual(first);
      const empty = kernels().memory().tensors;
      stage.load(someParameters(shape, whole!));
      expect(kernels().memory().tensors).toBe(empty);
      stage.dispose();
      expect(kernels().memory().tensors).toBe(before);
    });

    it('sums the gradients of its microbatches, and starts anew when the sum was taken', async () => {
      const stage = open(kernels(), whole!, someParameters(shape, whole!));
      const alone: Float32Array[] = [];
      for (const seed of [61, 63]) {
        const { tokens, targets } = batch(seed);
        stage.accumulate((await stage.backward(tokens, targets)).gradient);
        alone.push(await stage.takeGradient());
      }
      for (const seed of [61, 63]) {
        const { tokens, targets } = batch(seed);
        stage.accumulate((await stage.backward(tokens, targets)).gradient);
      }
      expect(await stage.takeGradient()).toEqual(alone[0]!.map((value, i) => value + alone[1]![i]!));
      expect(await stage.takeGradient()).toEqual(new Float32Array(alone[0]!.length));
      stage.dispose();
    });

    it('refuses parameters of another length, and keeps those it has', async () => {
      const parameters = someParameters(shape, whole!);
      const stage = open(kernels(), whole!, parameters);
      const { tokens, targets } = batch(71);
      const before = await stage.loss(tokens, targets);
      expect(() => stage.load(parameters.subarray(1))).toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
      expect(await stage.loss(tokens, targets)).toBe(before);
      stage.dispose();
    });
  });
});
