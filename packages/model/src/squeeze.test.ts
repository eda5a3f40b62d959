/** What a subspace is for: the stream says all of x, in both directions, and the model is an ordinary Llama. */
import { dot, expectClose, onEachBackend, randomNumbers, randomTokens } from '@starling/kernels/testing';
import type { ModelShape } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { layoutOf } from './layout.ts';
import { plainModel } from './plain.ts';
import { cutStages } from './presets.ts';
import { frozenOf, widened } from './squeeze.ts';
import { Stage } from './stage.ts';

const RANK = 6;
const SHAPE: ModelShape = {
  ...{ vocabulary: 19, width: 16, layers: 3, heads: 4, keyValueHeads: 2, hidden: 20, context: 8 },
  squeeze: { kind: 'subspace', rank: RANK, seed: 3 },
};
const SEQUENCES = 2;
const ROWS = SEQUENCES * SHAPE.context;
const tokens = randomTokens(ROWS, 3, SHAPE.vocabulary);
const targets = randomTokens(ROWS, 5, SHAPE.vocabulary);

function parametersOf(shape: ModelShape, parts = 1) {
  const stages = cutStages(shape, parts).map((spec, i) => {
    const layout = layoutOf(shape, spec);
    const values = randomNumbers(layout.size, 17 + i, 0.3);
    for (const { offset, size, decay } of layout.entries) if (!decay) for (let at = offset; at < offset + size; at++) values[at]! += 1;
    return { spec, layout, values };
  });
  return stages;
}

describe('what is fixed', () => {
  const { basis } = frozenOf(SHAPE)!;

  it('has orthonormal columns to float32, and the same bits for the same seed', () => {
    for (let a = 0; a < RANK; a++) {
      for (let b = 0; b <= a; b++) {
        const column = (k: number) => Array.from({ length: SHAPE.width }, (_, row) => basis[row * RANK + k]!);
        expect(Math.abs(dot(column(a), column(b)) - Number(a === b))).toBeLessThan(1e-6);
      }
    }
    expect(frozenOf(SHAPE)).toEqual(frozenOf(SHAPE));
    expect(frozenOf({ ...SHAPE, squeeze: { kind: 'subspace', rank: RANK, seed: 4 } })!.basis).not.toEqual(basis);
  });

  it('is refused for a rank above the width, and is nothing for other models', () => {
    const of = (rank: number) => frozenOf({ ...SHAPE, squeeze: { kind: 'subspace', rank, seed: 1 } });
    expect(of(SHAPE.width)!.basis).toHaveLength(SHAPE.width ** 2);
    expect(() => of(SHAPE.width + 1)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(frozenOf({ ...SHAPE, squeeze: { kind: 'bottleneck', rank: RANK, seed: 1 } })).toBeNull();
  });

  it('lets the stream be read out of x again, to 1e-5', () => {
    const stream = randomNumbers(ROWS * RANK, 7, 3);
    const wide = widened(stream, frozenOf(SHAPE)!, RANK);
    const back = Float32Array.from(stream, (_, i) => {
      const row = Math.floor(i / RANK);
      return dot(
        wide.subarray(row * SHAPE.width, (row + 1) * SHAPE.width),
        Array.from({ length: SHAPE.width }, (_, column) => basis[column * RANK + (i % RANK)]!),
      );
    });
    expectClose(back, stream, 1e-5);
  });
});

describe('the ordinary Llama', () => {
  it('is refused for a model cut by bottlenecks, and for parameters of another', () => {
    const bottleneck: ModelShape = { ...SHAPE, squeeze: { kind: 'bottleneck', rank: RANK, seed: 1 } };
    const parameters = Float32Array.from(parametersOf(bottleneck, 3).flatMap(({ values }) => [...values]));
    expect(() => plainModel({ shape: bottleneck, parameters })).toThrow(expect.objectContaining({ code: 'MODEL_NOT_LLAMA' }));
    expect(() => plainModel({ shape: SHAPE, parameters })).toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
    const [uncut] = parametersOf(bottleneck);
    expect(plainModel({ shape: bottleneck, parameters: uncut!.values }).shape).not.toHaveProperty('squeeze');
  });

  onEachBackend((kernels) => {
    it('has the loss of the model in the subspace, and gradients whose part in the span is its gradient', async () => {
      const { spec, layout, values } = parametersOf(SHAPE)[0]!;
      const plain = plainModel({ shape: SHAPE, parameters: values });
      const narrow = new Stage(kernels(), SHAPE, spec, { sequences: SEQUENCES });
      const wide = new Stage(kernels(), plain.shape, spec, { sequences: SEQUENCES });
      narrow.load(values);
      wide.load(plain.parameters);
      const [one, other] = [await narrow.backward(tokens, targets), await wide.backward(tokens, targets)];
      expectClose([one.lossSum!], [other.lossSum!], 1e-5, 'loss');
      narrow.accumulate(one.gradient);
      wide.accumulate(other.gradient);
      const [learned, whole] = [await narrow.takeGradient(), await wide.takeGradient()];
      const { basis } = frozenOf(SHAPE)!;
      const { entries } = layoutOf(plain.shape, spec);
      for (const [i, { name, offset, size, shape }] of layout.entries.entries()) {
        const full = whole.subarray(entries[i]!.offset, entries[i]!.offset + entries[i]!.size);
        const isStream = shape[1] === RANK;
        // dL/dZ = (dL/dW)·U
        const expected = isStream
          ? Float32Array.from({ length: size }, (_, at) => {
              const row = Math.floor(at / RANK) * SHAPE.width;
              let sum = 0;
              for (let k = 0; k < SHAPE.width; k++) sum += full[row + k]! * basis[k * RANK + (at % RANK)]!;
              return sum;
            })
          : full;
        expectClose(learned.subarray(offset, offset + size), expected, 3e-5, name);
      }
      narrow.dispose();
      wide.dispose();
    });

    it('cut in three gives the bits of the uncut one, the small stream being all that crosses', async () => {
      const { spec: whole, values } = parametersOf(SHAPE)[0]!;
      const uncut = new Stage(kernels(), SHAPE, whole, { sequences: SEQUENCES });
      uncut.load(values);
      let start = 0;
      let input: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> = tokens;
      for (const spec of cutStages(SHAPE, 3)) {
        const { size } = layoutOf(SHAPE, spec);
        const stage = new Stage(kernels(), SHAPE, spec, { sequences: SEQUENCES });
        stage.load(values.subarray(start, start + size));
        start += size;
        if (spec.isLast) expect(await stage.loss(input, targets, tokens)).toBe(await uncut.loss(tokens, targets));
        else {
          if (!spec.isFirst) await expect(stage.forward(input)).rejects.toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
          input = await stage.forward(input, tokens);
          expect(input).toHaveLength(ROWS * RANK);
        }
        stage.dispose();
      }
      uncut.dispose();
    });
  });
});
