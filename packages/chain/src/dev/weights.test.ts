import { blake2b } from '@noble/hashes/blake2.js';
import { toHex } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import type { Call } from '../chain.ts';
import { commitHash } from '../commit-hash.ts';
import { weightsFromScores } from '../emitted-weights.ts';
import { fromHex } from '../identity/index.ts';
import { key, newState } from './for-tests.ts';
import { type DevState, newNeuron } from './state.ts';
import { commitWeights, revealWeights, setWeights } from './weights.ts';

const refused = (reason: string) => expect.objectContaining({ reason });
const [validator, miner] = [key('validator').address, key('miner').address];

/** The owner, a validator with a permit, a miner, and the rest as asked. At block 100. */
function subnet(options: Parameters<typeof newState>[0] = {}): DevState {
  const state = newState(options);
  state.neurons.push(newNeuron(validator, 1), newNeuron(miner, 1));
  state.neurons[1]!.permit = true;
  for (const hotkey of [validator, miner]) state.hotkeys[hotkey] = { coldkey: key('cold').address, stake: {} };
  state.hotkeys[validator]!.stake = { [key('cold').address]: 500n };
  state.block = 100;
  return state;
}

const plain = (uids: number[], weights: number[], version = 0) => ({ type: 'setWeights' as const, uids, weights, version });

describe('set_weights', () => {
  it('stores them upscaled, in the order given, and the block', () => {
    const state = subnet();
    setWeights(state, validator, plain([2, 0], [10, 20]));
    expect(state.neurons[1]).toMatchObject({ weights: { uids: [2, 0], values: [32_768, 65_535] }, lastUpdate: 100 });
  });

  it.each<[string, Parameters<typeof newState>[0], string, number[], number[], number]>([
    ['CommitRevealEnabled', { revealPeriod: 1 }, validator, [2], [1], 0],
    ['WeightVecNotEqualSize', {}, validator, [2], [1, 2], 0],
    ['UidsLengthExceedUidsInSubNet', {}, validator, [0, 1, 2, 3], [1, 1, 1, 1], 0],
    ['HotKeyNotRegisteredInSubNet', {}, key('stranger').address, [2], [1], 0],
    ['NotEnoughStakeToSetWeights', { stakeThreshold: 501n }, validator, [2], [1], 0],
    ['IncorrectWeightVersionKey', { weightsVersion: 3 }, validator, [2], [1], 2],
    ['SettingWeightsTooFast', { weightsRateLimit: 100 }, validator, [2], [1], 0],
    ['NeuronNoValidatorPermit', {}, miner, [0], [1], 0],
    ['DuplicateUids', {}, validator, [2, 2], [1, 1], 0],
    ['UidVecContainInvalidOne', {}, validator, [3], [1], 0],
    ['WeightVecLengthIsLow', { minAllowedWeights: 2 }, validator, [2], [1], 0],
    ['MaxWeightExceeded', { maxWeightLimit: 40_000 }, validator, [0, 2], [1, 2], 0],
  ])('is refused with %s, and changes nothing', (reason, options, hotkey, uids, weights, version) => {
    const state = subnet(options);
    const before = structuredClone(state);
    expect(() => setWeights(state, hotkey, plain(uids, weights, version))).toThrow(refused(reason));
    expect(state).toEqual(before);
  });

  it('lets anybody weigh itself alone, whatever the permit, the least number and the largest share', () => {
    const state = subnet({ minAllowedWeights: 3, maxWeightLimit: 100 });
    setWeights(state, miner, plain([2], [9]));
    expect(state.neurons[2]!.weights).toEqual({ uids: [2], values: [65_535] });
  });

  it('lets the owner weigh without permit and stake, and asks a small subnet for no more weights than neurons', () => {
    const state = subnet({ minAllowedWeights: 1_024, stakeThreshold: 10n ** 12n });
    setWeights(state, state.config.owner.hotkey, plain([0, 1, 2], [1, 1, 1]));
    expect(state.neurons[0]!.weights.uids).toEqual([0, 1, 2]);
  });

  it('takes the next when the rate limit has passed, to the block', () => {
    const state = subnet({ weightsRateLimit: 100 });
    state.block = 101;
    setWeights(state, validator, plain([2], [1]));
    state.block = 200;
    expect(() => setWeights(state, validator, plain([0], [1]))).toThrow(refused('SettingWeightsTooFast'));
    state.block = 201;
    setWeights(state, validator, plain([0], [1]));
    expect(state.neurons[1]!.weights.uids).toEqual([0]);
  });
});

describe('commit and reveal', () => {
  const secret = { uids: [2, 0], weights: [3, 1], salt: [7, 8, 9], version: 4 };
  const hash = commitHash({ hotkey: validator, netuid: 9, ...secret });
  const reveal = (changes: Partial<typeof secret> = {}): Extract<Call, { type: 'revealWeights' }> => ({
    type: 'revealWeights',
    ...secret,
    ...changes,
  });
  const committed = () => {
    const state = subnet({ revealPeriod: 1, weightsRateLimit: 50 });
    commitWeights(state, validator, hash);
    return state;
  };

  it('sets what was committed, in the epoch it is due, at any rate; the time that counts is the commit’s', () => {
    const state = committed();
    state.epoch = 1;
    state.block = 105;
    revealWeights(state, validator, reveal());
    expect(state.neurons[1]).toMatchObject({ weights: { uids: [2, 0], values: [65_535, 21_845] }, lastUpdate: 100, commits: [] });
  });

  it('is refused early, late, of other things, or where there was no commit', () => {
    const state = committed();
    expect(() => revealWeights(state, validator, reveal())).toThrow(refused('RevealTooEarly'));
    state.epoch = 1;
    for (const other of [{ salt: [7, 8, 10] }, { uids: [0, 2] }, { weights: [3, 2] }, { version: 5 }])
      expect(() => revealWeights(state, validator, reveal(other))).toThrow(refused('InvalidRevealCommitHashNotMatch'));
    expect(() => revealWeights(state, miner, reveal())).toThrow(refused('NoWeightsCommitFound'));
    state.epoch = 2;
    expect(() => revealWeights(state, validator, reveal())).toThrow(refused('ExpiredWeightCommit'));
    expect(() => revealWeights(state, validator, reveal({ salt: [1] }))).toThrow(refused('NoWeightsCommitFound'));
    expect(state.neurons[1]!.weights.uids).toEqual([]);
  });

  it('makes earlier commits void, and refuses to reveal twice', () => {
    const state = subnet({ revealPeriod: 1 });
    const older = reveal({ salt: [1] });
    commitWeights(state, validator, commitHash({ ...older, hotkey: validator, netuid: 9 }));
    commitWeights(state, validator, hash);
    state.epoch = 1;
    revealWeights(state, validator, reveal());
    expect(() => revealWeights(state, validator, older)).toThrow(refused('NoWeightsCommitFound'));
    expect(() => revealWeights(state, validator, reveal())).toThrow(refused('NoWeightsCommitFound'));
  });

  it('keeps at most ten open, at the rate allowed, and only where it is on', () => {
    const state = subnet({ revealPeriod: 1 });
    for (let i = 0; i < 10; i++) commitWeights(state, validator, hash);
    expect(() => commitWeights(state, validator, hash)).toThrow(refused('TooManyUnrevealedCommits'));
    state.epoch = 2;
    commitWeights(state, validator, hash);
    expect(state.neurons[1]!.commits).toHaveLength(1);
    expect(() => commitWeights(committed(), validator, hash)).toThrow(refused('CommittingWeightsTooFast'));
    expect(() => commitWeights(state, key('stranger').address, hash)).toThrow(refused('HotKeyNotRegisteredInSubNet'));
    expect(() => commitWeights(subnet(), validator, hash)).toThrow(refused('CommitRevealDisabled'));
    expect(() => revealWeights(subnet(), validator, reveal())).toThrow(refused('CommitRevealDisabled'));
  });

  it('hashes the SCALE encoding that subtensor hashes', () => {
    const { publicKey } = key('validator');
    const hex = `${toHex(publicKey)}0900${'08'}02000000${'08'}03000100${'0c'}070008000900${'0400000000000000'}`;
    expect(hash).toBe(toHex(blake2b(fromHex(hex)!, { dkLen: 32 })));
  });

  it('hashes every field, and vectors of 64 and more with a longer length', () => {
    const of = (changes: object) => commitHash({ hotkey: validator, netuid: 9, ...secret, ...changes });
    const long = (n: number) => Array.from({ length: n }, (_, i) => i);
    const hashes = [{}, { hotkey: miner }, { netuid: 10 }, { uids: [2, 1] }, { weights: [3, 2] }, { salt: [7, 8] }, { version: 5 }].map(of);
    hashes.push(of({ salt: long(63) }), of({ salt: long(64) }), of({ salt: long(16_384) }));
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});

describe('weights from scores', () => {
  const rules = { minAllowedWeights: 1 };
  it('are linear in them, the largest 65535, without zeros', () => {
    expect(weightsFromScores([0, 5e12, 1e13, 2.5e12], rules)).toEqual({ uids: [1, 2, 3], values: [32_768, 65_535, 16_384] });
    expect(weightsFromScores([1, 1e-9], rules)).toEqual({ uids: [0], values: [65_535] });
  });

  it('are rounded half to even, as Python does', () => {
    // 65535 / 2 = 32767.5 → 32768; 65535 · 3/2 … of 65535 · 5/6 = 54612.5 → 54612.
    expect(weightsFromScores([6, 3, 5], rules).values).toEqual([65_535, 32_768, 54_612]);
  });

  it('are equal for all when nobody has any, and something for all when the subnet wants more', () => {
    expect(weightsFromScores([0, 0, 0], rules)).toEqual({ uids: [0, 1, 2], values: [65_535, 65_535, 65_535] });
    expect(weightsFromScores([0, 4e15, 0], { minAllowedWeights: 1_024 })).toEqual({ uids: [0, 1, 2], values: [1, 65_535, 1] });
  });
});
