import { createHash } from 'node:crypto';
import { randomNumbers } from '@starling/kernels/testing';
import { describe, expect, it } from 'vitest';
import { initialParameters } from './initial.ts';
import { layoutOf, type ParameterLayout } from './layout.ts';
import { applyAdamW, learningRateAt, normOf, optimizerNumbers, sumGradients } from './optimizer.ts';
import { cutStages, presetOf } from './presets.ts';

const { shape, optimizer } = presetOf('nano');
const [whole] = cutStages(shape, 1);
const bytes = (data: Float32Array<ArrayBuffer>) => new Uint8Array(data.buffer);

describe('AdamW', () => {
  it('has the bits it always had, after ten steps', () => {
    const layout = layoutOf(shape, whole!);
    const parameters = initialParameters(shape, whole!, 1);
    const state = { parameters, firstMoment: new Float32Array(layout.size), secondMoment: new Float32Array(layout.size) };
    for (let version = 1; version <= 10; version++) {
      const sum = randomNumbers(layout.size, version, 3);
      applyAdamW(state, sum, optimizerNumbers({ ...optimizer, warmupSteps: 10 }, version, normOf(sum, 512), 512), layout);
    }
    const hash = createHash('sha256');
    for (const vector of Object.values(state)) hash.update(bytes(vector));
    expect(hash.digest('hex')).toBe('8f3df373703d9588be77b8f423fa065eee342a3566e66b8872b6e48d4c295262');
  });

  it('does what algorithm 2 of arXiv:1711.05101 says, written out for one number', () => {
    const layout: ParameterLayout = {
      entries: [
        { name: 'matrix', offset: 0, shape: [1, 1], size: 1, decay: true, isOperand: true },
        { name: 'gain', offset: 1, shape: [1], size: 1, decay: false, isOperand: false },
      ],
      size: 2,
    };
    const state = { parameters: Float32Array.of(0.5, 0.5), firstMoment: new Float32Array(2), secondMoment: new Float32Array(2) };
    const config = { ...optimizer, warmupSteps: 1, decaySteps: 1, peakLearningRate: 0.1, minimumLearningRate: 0.1, clipNorm: 1 };
    const expected = [0.5, 0.5];
    let m = 0;
    let v = 0;
    for (let version = 1; version <= 5; version++) {
      const sum = Float32Array.of(8 * version, 8 * version);
      const norm = normOf(sum, 4);
      expect(norm).toBeCloseTo(2 * version * Math.SQRT2, 12);
      applyAdamW(state, sum, optimizerNumbers(config, version, norm, 4), layout);
      const g = (2 * version) / norm; // clipped to norm 1
      m = config.beta1 * m + (1 - config.beta1) * g;
      v = config.beta2 * v + (1 - config.beta2) * g * g;
      const direction = m / (1 - config.beta1 ** version) / (Math.sqrt(v / (1 - config.beta2 ** version)) + config.epsilon);
      expected[0]! -= 0.1 * (direction + config.weightDecay * expected[0]!);
      expected[1]! -= 0.1 * direction;
    }
    expect(state.parameters[0]).toBeCloseTo(expected[0]!, 6);
    expect(state.parameters[1]).toBeCloseTo(expected[1]!, 6);
  });

  it('clips only a norm above the limit', () => {
    expect(optimizerNumbers(optimizer, 1, 0.5, 10).gradientScale).toBe(1 / 10);
    expect(optimizerNumbers(optimizer, 1, 4, 10).gradientScale).toBe(0.25 / 10);
    expect(optimizerNumbers({ ...optimizer, clipNorm: Number.POSITIVE_INFINITY }, 1, 4, 10).gradientScale).toBe(1 / 10);
  });
});

describe('the learning rate', () => {
  const config = { ...optimizer, peakLearningRate: 1, minimumLearningRate: 0.1, warmupSteps: 10, decaySteps: 110 };

  it('warms up linearly, falls along a cosine, and stays at the minimum', () => {
    expect([1, 5, 10].map((step) => learningRateAt(config, step))).toEqual([0.1, 0.5, 1]);
    expect(learningRateAt(config, 60)).toBeCloseTo(0.55, 12);
    expect([110, 111, 10_000].map((step) => learningRateAt(config, step))).toEqual([0.1, 0.1, 0.1]);
    for (let step = 11; step <= 110; step++) expect(learningRateAt(config, step)).toBeLessThan(learningRateAt(config, step - 1));
  });
});

describe('a sum of gradients', () => {
  it('adds in doubles in the order given, and rounds once', () => {
    const big = Float32Array.of(2 ** 24);
    const small = Float32Array.of(1);
    // In float32 each 1 would be lost against 2^24.
    expect(sumGradients([big, small, small, small])).toEqual(Float32Array.of(2 ** 24 + 4));
    expect(sumGradients([big])).toEqual(big);
  });

  it('carries a NaN or an infinity on, for whoever checks the norm', () => {
    expect(normOf(sumGradients([Float32Array.of(1, Number.NaN)]), 1)).toBeNaN();
    expect(normOf(sumGradients([Float32Array.of(1, Number.POSITIVE_INFINITY)]), 1)).toBe(Number.POSITIVE_INFINITY);
  });
});
