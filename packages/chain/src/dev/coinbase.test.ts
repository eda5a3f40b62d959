import { describe, expect, it } from 'vitest';
import { closeEpoch, isEpochDue, mint } from './coinbase.ts';
import type { DevConfig } from './config.ts';
import { key, money, newState, TAO } from './for-tests.ts';
import { type DevState, newNeuron, stakeOn } from './state.ts';

const cold = key('cold').address;
const nominator = key('nominator').address;

/** The owner, two validators with 3 and 1 of stake, two miners weighed 3 : 1. In the block before the epoch. */
function subnet(options: Partial<DevConfig> = {}, weights = { uids: [3, 4], values: [65_535, 21_845] }): DevState {
  const state = newState(options);
  for (const name of ['v1', 'v2', 'm1', 'm2']) {
    state.neurons.push(newNeuron(key(name).address, 1));
    state.hotkeys[key(name).address] = { coldkey: cold, stake: {} };
  }
  state.hotkeys[key('v1').address]!.stake = { [cold]: TAO, [nominator]: 2n * TAO };
  state.hotkeys[key('v2').address]!.stake = { [cold]: TAO };
  state.issued += 4n * TAO;
  for (const uid of [1, 2]) Object.assign(state.neurons[uid]!, { permit: true, weights, lastUpdate: 2 });
  for (; state.block < state.config.tempo - 1; state.block++) mint(state);
  return state;
}

/** The block that is due, and what it paid. */
function next(state: DevState) {
  state.block += 1;
  mint(state);
  expect(isEpochDue(state)).toBe(true);
  return closeEpoch(state);
}

describe('an epoch', () => {
  it('pays 18 % to the owner, 41 % by incentive and 41 % by dividends', () => {
    const state = subnet();
    const { owner, burned, neurons } = next(state);
    const made = 10 * Number(TAO);
    const share = (amount: bigint) => Number(amount) / made;
    const [served, validated] = (['served', 'validated'] as const).map((key) => neurons.reduce((all, neuron) => all + neuron[key], 0n));
    expect(share(owner)).toBeCloseTo(0.18, 5);
    expect(share(served!)).toBeCloseTo(0.41, 5);
    expect(share(validated!)).toBeCloseTo(0.41, 5);
    expect(burned).toBe(0n);
    expect(stakeOn(state, state.config.owner.hotkey)).toBe(owner);
    // 3 : 1 as the weights, 3 : 1 as the stake.
    expect(Number(neurons[3]!.served) / Number(neurons[4]!.served)).toBeCloseTo(3, 4);
    expect(Number(neurons[1]!.validated) / Number(neurons[2]!.validated)).toBeCloseTo(3, 4);
  });

  it('gives a validator’s coldkey its take, and the rest to all who have stake on it', () => {
    const state = subnet();
    const { neurons } = next(state);
    const { stake } = state.hotkeys[key('v1').address]!;
    const dividends = Number(neurons[1]!.validated);
    // The take, 18 %, is staked first, so it has its part in the 82 % already.
    const take = 0.18 * dividends;
    const part = (Number(2n * TAO) / (Number(3n * TAO) + take)) * 0.82;
    expect(Number(stake[nominator]! - 2n * TAO) / dividends).toBeCloseTo(part, 5);
    expect(Number(stake[cold]! - TAO) / dividends).toBeCloseTo(1 - part, 5);
  });

  it('burns incentive that goes to the owner: a vote for it is a vote to burn', () => {
    const state = subnet({}, { uids: [0, 3], values: [65_535, 16_384] });
    const before = state.burned;
    const { owner, burned, neurons } = next(state);
    expect(neurons[0]!.served).toBe(0n);
    expect(Number(burned) / Number(burned + neurons[3]!.served)).toBeCloseTo(0.8, 4);
    expect(state.burned - before).toBeGreaterThanOrEqual(burned);
    expect(stakeOn(state, state.config.owner.hotkey)).toBe(owner);
  });

  it('pays validators everything when nobody earned incentive', () => {
    const state = subnet({}, { uids: [], values: [] });
    const { neurons } = next(state);
    expect(Number(neurons[1]!.validated + neurons[2]!.validated) / Number(10n * TAO)).toBeCloseTo(0.82, 4);
  });

  it('takes what validators owned and weighed when it began: who gets a permit votes next time', () => {
    const state = subnet();
    state.neurons[2]!.permit = false;
    expect(next(state).neurons[2]!.dividends).toBe(0);
    expect(state.neurons[2]!.permit).toBe(true);
    for (; state.block < 19; state.block++) mint(state);
    expect(next(state).neurons[2]!.dividends).toBeGreaterThan(0);
  });

  it('does not count weights committed before a neuron came', () => {
    const state = subnet({ revealPeriod: 2 });
    state.neurons[1]!.commits = [{ hash: '', epoch: 0, block: 1 }];
    state.neurons[3]!.registeredAt = 2;
    Object.assign(state.neurons[1]!, { lastUpdate: 5 });
    Object.assign(state.neurons[2]!, { lastUpdate: 5 });
    // 3/4 of the stake does not weigh m1 any more.
    expect(next(state).neurons[3]!.incentive).toBe(0);
  });
});

it('no rao is lost or made up: what was made is somewhere, or burned', () => {
  const odd = { blockEmission: 1_234_567_891n, ownerCut: 11_796, delegateTake: 7_777, tempo: 7 };
  const state = subnet(odd);
  for (let epoch = 0; epoch < 40; epoch++) {
    next(state);
    expect(money(state)).toBe(state.issued);
    for (let block = 0; block < 6; block++) {
      state.block += 1;
      mint(state);
    }
    // Validators keep their weights fresh.
    for (const uid of [1, 2]) state.neurons[uid]!.lastUpdate = state.block;
  }
  expect(state.issued).toBe(3_000n * TAO + 4n * TAO + odd.blockEmission * BigInt(state.block));
  // Rounding alone burns: a few rao a block, and a few parts in 2^32 of an epoch.
  expect(state.burned).toBeLessThan(state.issued / 10_000_000n);
});
