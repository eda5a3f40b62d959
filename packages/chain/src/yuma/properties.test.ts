/** What must hold of any epoch: against arithmetic written another way, and under changes that must not matter. */
import { describe, expect, it } from 'vitest';
import { runEpoch } from './epoch.ts';
import { div, type Fixed, mul } from './fixed.ts';
import { TEST_PARAMETERS } from './for-tests.ts';
import { referenceEpoch } from './reference-for-tests.ts';
import type { EpochInput, EpochParameters, NeuronBefore } from './types.ts';
import { upscaleToU16 } from './weights.ts';

/** Numbers in [0, 1) from a seed (Park and Miller's generator). */
function seeded(seed: number) {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function randomEpoch(seed: number, n: number, validators: number, parameters: Partial<EpochParameters> = {}): EpochInput {
  const random = seeded(seed);
  const u16 = () => Math.floor(random() * 65_536);
  const row = (density: number) => {
    const uids = Array.from({ length: n }, (_, uid) => uid).filter(() => random() < density);
    return { uids, values: upscaleToU16(uids.map(u16)) };
  };
  const empty = { uids: [], values: [] };
  const neurons = Array.from({ length: n }, (_, uid): NeuronBefore => {
    const validates = uid < validators;
    return {
      lastUpdate: random() < 0.1 ? 1 : 9_000 + Math.floor(random() * 900),
      registeredAt: Math.floor(random() * 9_300),
      stake: (validates ? BigInt(Math.floor(random() * 1e15)) : 0n) << 64n,
      permit: validates && random() < 0.95,
      weights: validates ? row(0.7) : empty,
      bonds: validates ? row(0.5) : empty,
      committedAt: random() < 0.2 ? Math.floor(random() * 9_900) : null,
    };
  });
  return {
    parameters: { ...TEST_PARAMETERS, tempo: 360, ...parameters },
    block: 10_000,
    lastMechanismStep: random() < 0.5 ? 0 : 9_700,
    ownerUid: random() < 0.5 ? Math.floor(random() * n) : null,
    emission: 1_000_000_000_000n,
    neurons,
  };
}

const VARIANTS: [string, Partial<EpochParameters>][] = [
  ['Yuma2', {}],
  ['Yuma2, half a penalty, few permits', { bondsPenalty: 32_767, maxValidators: 5 }],
  ['Yuma3', { yuma3: true, stakeThreshold: 100_000_000_000_000n }],
  ['Yuma3 with liquid alpha', { yuma3: true, liquidAlpha: { low: 45_875, high: 58_982, steepness: 1_000 } }],
  [
    'Yuma3 with liquid alpha, odd steepness and κ',
    { yuma3: true, kappa: 40_000, liquidAlpha: { low: 1_638, high: 60_000, steepness: 731 } },
  ],
];

describe('arithmetic', () => {
  it('is that of 128-bit integers, beyond the fast paths, too', () => {
    const random = seeded(7);
    for (let i = 0; i < 50_000; i++) {
      const bits = () => Math.floor(random() * 2 ** Math.floor(1 + random() * 46));
      const [a, b] = [bits(), bits() * (random() < 0.3 ? -1 : 1)];
      const product = (BigInt(a) * BigInt(b)) >> 32n;
      if (product < 2n ** 53n && product > -(2n ** 53n)) expect(mul(a, b) + 0).toBe(Number(product));
      const divisor = Math.abs(b);
      const quotient = divisor === 0 ? 0n : (BigInt(a) << 32n) / BigInt(divisor);
      if (quotient < 2n ** 53n) expect(div(a, divisor)).toBe(Number(quotient));
    }
  });

  it('rounds a negative product down, as the chain does', () => {
    expect(mul(3, -1)).toBe(-1);
    expect(mul(3, 1)).toBe(0);
  });
});

describe.each(VARIANTS)('%s', (_, parameters) => {
  const seeds = Array.from({ length: 30 }, (_, i) => i + 1);

  it('is what plain floating point gives, within rounding', () => {
    for (const seed of seeds) {
      const input = randomEpoch(seed, 24, 9, parameters);
      const expected = referenceEpoch(input);
      runEpoch(input).forEach((after, uid) => {
        for (const key of ['stakeWeight', 'consensus', 'incentive', 'dividends', 'validatorTrust'] as const)
          expect(Math.abs(after[key] - expected[uid]![key] * 65_535), `${key} of ${uid}, seed ${seed}`).toBeLessThan(1.01);
        expect(Math.abs(Number(after.emission) / 1e12 - expected[uid]!.emission)).toBeLessThan(1e-6);
        expect(after.permit).toBe(expected[uid]!.permit);
        for (const [k, on] of (after.bonds?.uids ?? []).entries())
          expect(Math.abs(after.bonds!.values[k]! - expected[uid]!.bonds[on]! * 65_535)).toBeLessThan(1.01);
      });
    }
  });

  it('pays no more than there is, half to each side, and loses next to nothing', () => {
    for (const seed of seeds) {
      const input = randomEpoch(seed, 24, 9, parameters);
      const after = runEpoch(input);
      const total = (key: 'serverEmission' | 'validatorEmission' | 'emission') => after.reduce((all, neuron) => all + neuron[key], 0n);
      const [server, validator, combined] = [total('serverEmission'), total('validatorEmission'), total('emission')];
      for (const paid of [server + validator, combined]) {
        expect(paid).toBeLessThanOrEqual(input.emission);
        // Every share is cut to 2^-32 a few times on its way.
        expect(paid).toBeGreaterThan(input.emission - (input.emission * 4n * 24n) / 2n ** 32n);
      }
      if (server > 0n) expect(Number(server - validator)).toBeLessThan(Number(input.emission) / 1e7);
    }
  });

  it('does not depend on the scale of stakes, of weights, or of time', () => {
    const input = randomEpoch(3, 24, 9, { ...parameters, stakeThreshold: 0n });
    const later = 77_000;
    const scaled: EpochInput = {
      ...input,
      block: input.block + later,
      lastMechanismStep: input.lastMechanismStep && input.lastMechanismStep + later,
      neurons: input.neurons.map((neuron) => ({
        ...neuron,
        stake: neuron.stake * 8n,
        lastUpdate: neuron.lastUpdate + later,
        registeredAt: neuron.registeredAt + later,
        committedAt: neuron.committedAt === null ? null : neuron.committedAt + later,
      })),
    };
    expect(runEpoch(scaled)).toEqual(runEpoch(input));
  });

  it('does not depend on who has which uid, but for the last bits and ties', () => {
    for (const seed of [4, 5, 6]) {
      const input = randomEpoch(seed, 24, 9, parameters);
      const order = permutation(24, seeded(seed * 31));
      const plain = runEpoch(input);
      const permuted = runEpoch(permute(input, order));
      order.forEach((from, to) => {
        expect(permuted[to]!.permit).toBe(plain[from]!.permit);
        for (const key of ['consensus', 'incentive', 'dividends'] as const)
          expect(Math.abs(permuted[to]![key] - plain[from]![key])).toBeLessThanOrEqual(1);
      });
    }
  });

  it('gives a server no less when the largest validator weighs it more, others alike', () => {
    for (const seed of seeds) {
      const input = randomEpoch(seed, 24, 9, parameters);
      const largest = input.neurons.reduce((best, { stake }, uid) => (stake > input.neurons[best]!.stake ? uid : best), 0);
      const { uids, values } = input.neurons[largest]!.weights;
      const server = uids.at(-1)!;
      const more = { uids, values: values.map((value, k) => (uids[k] === server ? 65_535 : value)) };
      const neurons = input.neurons.map((neuron, uid) => (uid === largest ? { ...neuron, weights: more } : neuron));
      const before = runEpoch(input)[server]!.incentive;
      expect(runEpoch({ ...input, neurons })[server]!.incentive).toBeGreaterThanOrEqual(before - 1);
    }
  });
});

function permutation(n: number, random: () => number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Neuron `order[to]` moves to uid `to`; rows are put in order again, as whoever sets weights does. */
function permute(input: EpochInput, order: readonly number[]): EpochInput {
  const place = (uid: number) => order.indexOf(uid);
  const row = ({ uids, values }: NeuronBefore['weights']) => {
    const sorted = uids.map((uid, k): [number, Fixed] => [place(uid), values[k]!]).sort(([a], [b]) => a - b);
    return { uids: sorted.map(([uid]) => uid), values: sorted.map(([, value]) => value) };
  };
  return {
    ...input,
    ownerUid: input.ownerUid === null ? null : place(input.ownerUid),
    neurons: order.map((from) => {
      const neuron = input.neurons[from]!;
      return { ...neuron, weights: row(neuron.weights), bonds: row(neuron.bonds) };
    }),
  };
}
