/** A whole stage with `f16`: near float32, the same on every backend, and cut as uncut. */
import { createKernels, type Kernels, type Precision } from '@starling/kernels';
import { expectClose, onEachBackend, randomNumbers, randomTokens } from '@starling/kernels/testing';
import { boundaryWidth, type ModelShape, type StageSpec } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { layoutOf } from './layout.ts';
import { cutStages } from './presets.ts';
import { Stage } from './stage.ts';

/** Operands are off by 2^-11 at most, some 2·10⁻⁴ on average; a few layers, there and back, add that up. */
const HALF_TOLERANCE = 3e-3;
/** What is rounded differs in its last places from backend to backend, which now and then makes it the next half. */
const BACKEND_TOLERANCE = 3e-4;
const SEQUENCES = 2;

const SQUEEZED: ModelShape = { vocabulary: 13, width: 12, layers: 2, heads: 6, keyValueHeads: 2, hidden: 10, context: 6 };
const SHAPES: Record<string, ModelShape> = {
  'all in fours': { vocabulary: 16, width: 32, layers: 2, heads: 4, keyValueHeads: 2, hidden: 48, context: 8 },
  'odd sizes': { vocabulary: 11, width: 12, layers: 2, heads: 6, keyValueHeads: 2, hidden: 7, context: 5 },
  'a subspace': { ...SQUEEZED, squeeze: { kind: 'subspace', rank: 5, seed: 1 } },
  bottlenecks: { ...SQUEEZED, squeeze: { kind: 'bottleneck', rank: 5, seed: 1 } },
};

function someParameters(shape: ModelShape, spec: StageSpec): Float32Array<ArrayBuffer> {
  const { size, entries } = layoutOf(shape, spec);
  const parameters = randomNumbers(size, 17, 0.4);
  for (const { offset, size: length, decay } of entries) if (!decay) for (let i = offset; i < offset + length; i++) parameters[i]! += 1;
  return parameters;
}

/** Loss and gradients of a last stage that is not the first. */
async function results(kernels: Kernels, shape: ModelShape) {
  const spec = cutStages(shape, 2)[1]!;
  const rows = SEQUENCES * shape.context;
  const stage = new Stage(kernels, shape, spec, { sequences: SEQUENCES });
  stage.load(someParameters(shape, spec));
  const [tokens, targets] = [randomTokens(rows, 3, shape.vocabulary), randomTokens(rows, 5, shape.vocabulary)];
  const { lossSum, inputGradient, gradient } = await stage.backward(randomNumbers(rows * boundaryWidth(shape), 7), targets, tokens);
  stage.accumulate(gradient);
  const flat = await stage.takeGradient();
  stage.dispose();
  return { lossSum: lossSum!, inputGradient: inputGradient!, gradient: flat };
}

type Results = Awaited<ReturnType<typeof results>>;

const expected = new Map<string, Record<Precision, Results>>();
for (const [name, shape] of Object.entries(SHAPES)) {
  const of = async (precision: Precision) => {
    const kernels = await createKernels({ backend: 'cpu', precision });
    const found = await results(kernels, shape);
    kernels.close();
    return found;
  };
  expected.set(name, { f32: await of('f32'), f16: await of('f16') });
}

function expectNear(found: Results, { lossSum, inputGradient, gradient }: Results, tolerance: number): void {
  expectClose([found.lossSum], [lossSum], tolerance, 'loss');
  expectClose(found.inputGradient, inputGradient, tolerance, 'input gradient');
  expectClose(found.gradient, gradient, tolerance, 'gradient');
}

onEachBackend(
  (kernels) => {
    describe.each(Object.entries(SHAPES))('%s', (name, shape) => {
      it('is near float32, and what the CPU gives, and the same bits twice', async () => {
        const found = await results(kernels(), shape);
        const { f32, f16 } = expected.get(name)!;
        expectNear(found, f32, HALF_TOLERANCE);
        expectNear(found, f16, BACKEND_TOLERANCE);
        expect(found.gradient).not.toEqual(f32.gradient);
        expect(await results(kernels(), shape)).toEqual(found);
      });
    });

    it('cut in two computes what the uncut model computes, to the bit', async () => {
      const shape = SHAPES['all in fours']!;
      const rows = SEQUENCES * shape.context;
      const [tokens, targets] = [randomTokens(rows, 3, shape.vocabulary), randomTokens(rows, 5, shape.vocabulary)];
      const open = (spec: StageSpec, parameters: Float32Array) => {
        const stage = new Stage(kernels(), shape, spec, { sequences: SEQUENCES });
        stage.load(parameters);
        return stage;
      };
      const [whole] = cutStages(shape, 1);
      const [first, last] = cutStages(shape, 2);
      const parameters = someParameters(shape, whole!);
      const { size } = layoutOf(shape, first!);
      const stages = [
        open(whole!, parameters),
        open(first!, parameters.subarray(0, size)),
        open(last!, parameters.subarray(size)),
      ] as const;
      const [uncut, begin, end] = stages;
      const expectedLoss = await uncut.backward(tokens, targets);
      uncut.accumulate(expectedLoss.gradient);
      const back = await end.backward(await begin.forward(tokens), targets);
      end.accumulate(back.gradient);
      begin.accumulate((await begin.backward(tokens, back.inputGradient!)).gradient);
      expect(back.lossSum).toBe(expectedLoss.lossSum);
      const parts = [...(await begin.takeGradient()), ...(await end.takeGradient())];
      expect(Float32Array.from(parts)).toEqual(await uncut.takeGradient());
      for (const stage of stages) stage.dispose();
    });
  },
  // That tfjs's operations round as ours do, each for itself, packages/kernels tests.
  { precision: 'f16' },
);
