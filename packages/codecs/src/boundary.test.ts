import { dot, expectClose, randomNumbers, randomTokens } from '@starling/kernels/testing';
import { describe, expect, it } from 'vitest';
import { Bottleneck } from './bottleneck.ts';
import { boundaryCodec } from './boundary.ts';
import { multiply, multiplyTransposed, orthonormal } from './matrix.ts';
import { Subspace } from './subspace.ts';

const WIDTH = 128;
const RANK = 16;
const VOCABULARY = 50;
const TOKENS = 40;
const tokens = randomTokens(TOKENS, 1, VOCABULARY);
const basis = orthonormal(randomNumbers(WIDTH * RANK, 2), WIDTH, RANK);
const frozen = randomNumbers(VOCABULARY * WIDTH, 3);
const subspace = new Subspace(basis, frozen, WIDTH);
/** Hidden states as such a model makes them: the frozen embedding, and writes in the span of U. */
const writes = randomNumbers(TOKENS * RANK, 4, 3);
const hidden = subspace.up(writes, tokens);

describe('an orthonormal basis', () => {
  it('is one to float32, and is refused for columns that depend on each other', () => {
    const gram = multiplyTransposed(basis, basis, RANK, RANK);
    gram.forEach((value, i) => {
      expect(Math.abs(value - (i % (RANK + 1) === 0 ? 1 : 0))).toBeLessThan(1e-6);
    });
    expect(() => orthonormal(new Float32Array(6).fill(1), 3, 2)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});

describe('subspace', () => {
  it('gives back what a model in the subspace can hold, to 1e-5', () => {
    const codec = boundaryCodec('subspace', WIDTH, { subspace });
    expectClose(codec.decode(codec.encode(hidden, tokens), tokens), hidden, 1e-5);
    expect(codec.rowBytes).toBe(4 * RANK);
  });

  it('loses what is outside of it', () => {
    const outside = randomNumbers(TOKENS * WIDTH, 5);
    const back = subspace.up(subspace.down(outside, tokens), tokens);
    expect(
      Math.sqrt(
        dot(
          back.map((x, i) => x - outside[i]!),
          back.map((x, i) => x - outside[i]!),
        ),
      ),
    ).toBeGreaterThan(1);
  });

  it('has an exact backward: weights W = U·Z learn the same from what crosses as from the whole gradient', () => {
    const gradient = randomNumbers(TOKENS * WIDTH, 6);
    const crossed = subspace.gradientUp(subspace.gradientDown(gradient));
    const activations = randomNumbers(TOKENS * 24, 7);
    // h = a·(U·Z)ᵀ = a·Zᵀ·Uᵀ, so dL/dZᵀ = aᵀ·(g·U).
    const learn = (g: Float32Array) => multiplyTransposed(activations, multiply(g, basis, WIDTH, RANK), 24, RANK);
    expectClose(learn(crossed), learn(gradient), 1e-5);
    // And it is dL/dc of L = Σ gradient · up(c).
    const direction = randomNumbers(TOKENS * RANK, 8);
    const rise = dot(subspace.up(direction, tokens), gradient) - dot(subspace.up(new Float32Array(TOKENS * RANK), tokens), gradient);
    expect(Math.abs(rise - dot(subspace.gradientDown(gradient), direction))).toBeLessThan(1e-4 * Math.abs(rise));
  });

  it.each(['f16', 'int8', 'int4'] as const)('+%s errs by no more than its quantiser: U keeps lengths', (name) => {
    const codec = boundaryCodec(`subspace+${name}`, WIDTH, { subspace });
    const back = codec.decode(codec.encode(hidden, tokens), tokens);
    const bound = { f16: (x: number) => 2 ** -11 * x, int8: (x: number) => x / 254, int4: (x: number) => (x * (1 + 2 ** -7)) / 14 }[name];
    for (let row = 0; row < TOKENS; row++) {
      const largest = Math.max(...writes.subarray(row * RANK, (row + 1) * RANK).map(Math.abs));
      const error = Math.hypot(...back.subarray(row * WIDTH, (row + 1) * WIDTH).map((x, i) => x - hidden[row * WIDTH + i]!));
      expect(error).toBeLessThanOrEqual(Math.sqrt(RANK) * bound(largest) + 1e-5);
    }
  });

  it('+int8 of rank 32 at width 512 is 57 times less than float32', () => {
    const wide = new Subspace(new Float32Array(512 * 32), new Float32Array(512), 512);
    expect((4 * 512) / boundaryCodec('subspace+int8', 512, { subspace: wide }).rowBytes).toBeCloseTo(56.9, 1);
  });
});

describe('bottleneck', () => {
  const squeeze = randomNumbers(WIDTH * RANK, 9, 0.1);
  const expand = randomNumbers(RANK * WIDTH, 10, 0.1);
  const x = randomNumbers(TOKENS * WIDTH, 11);
  const gradient = randomNumbers(TOKENS * WIDTH, 12);
  const made = (d: Float32Array = squeeze, p: Float32Array = expand) => new Bottleneck(d, p, WIDTH);
  const loss = (b: Bottleneck, input: Float32Array) => dot(b.up(b.down(input)), gradient);

  it('lets the first places through untouched where nothing is learned yet', () => {
    const plain = made(new Float32Array(WIDTH * RANK), new Float32Array(RANK * WIDTH));
    const result = plain.up(plain.down(x));
    expect(result).toEqual(x.map((value, i) => (i % WIDTH < RANK ? value : 0)));
  });

  it('has the gradients that differences show, of its input and both matrices', () => {
    const bottleneck = made();
    const { inner, expand: byExpand } = bottleneck.gradientDown(gradient, bottleneck.down(x));
    const { outer, squeeze: bySqueeze } = bottleneck.gradientUp(inner, x);
    const h = 2 ** -10;
    const step = (at: Float32Array, direction: Float32Array, by: number) => at.map((value, i) => value + by * direction[i]!);
    const check = (at: Float32Array, analytic: Float32Array, value: (moved: Float32Array) => number) => {
      // Along the gradient itself the rise is ‖gradient‖², far above the rounding of float32.
      const length = Math.sqrt(dot(analytic, analytic));
      const direction = analytic.map((g) => g / length);
      const slope = (value(step(at, direction, h)) - value(step(at, direction, -h))) / (2 * h);
      expect(Math.abs(slope / length - 1)).toBeLessThan(5e-3);
    };
    check(x, outer, (moved) => loss(bottleneck, moved));
    check(squeeze, bySqueeze, (moved) => loss(made(moved), x));
    check(expand, byExpand, (moved) => loss(made(squeeze, moved), x));
  });

  it('crosses as what its quantiser writes', () => {
    const codec = boundaryCodec('bottleneck+int4', WIDTH, { bottleneck: made() });
    expect(codec.rowBytes).toBe(2 + RANK / 2);
    expectClose(codec.decode(codec.encode(x, tokens), tokens), made().up(made().down(x)), 0.2);
  });
});

describe('a name', () => {
  it('without a map is a quantiser', () => {
    const x = randomNumbers(TOKENS * WIDTH, 13);
    expectClose(boundaryCodec('int8', WIDTH).decode(boundaryCodec('int8', WIDTH).encode(x, tokens), tokens), x, 0.01);
  });

  it.each(['', 'f64', 'subspace', 'int8+int8', 'int8+subspace', 'toString'])('"%s" is refused', (name) => {
    expect(() => boundaryCodec(name, WIDTH)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('of a map for another width, or with too many parts, is refused', () => {
    for (const [name, width] of [['subspace+int8', 64] as const, ['subspace+int8+int4', WIDTH] as const]) {
      expect(() => boundaryCodec(name, width, { subspace })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    }
  });
});
