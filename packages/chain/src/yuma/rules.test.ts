/** Single rules of an epoch, at their edges. */
import { describe, expect, it } from 'vitest';
import { averageRow } from './bonds.ts';
import { runEpoch } from './epoch.ts';
import { div, ONE, U16_MAX } from './fixed.ts';
import { Subnet, TEST_PARAMETERS } from './for-tests.ts';
import { liquidAlpha, readAscending } from './liquid-alpha.ts';

/** Two validators agree on two servers, in block 100. */
function agreed(parameters = {}): Subnet {
  const subnet = new Subnet([1, 1, 0, 0], parameters);
  subnet.block = 100;
  for (const uid of [0, 1]) {
    subnet.neurons[uid]!.permit = true;
    subnet.setWeights(uid, [2, 3], [1, 1]);
    subnet.neurons[uid]!.bonds = { uids: [2, 3], values: [uid === 0 ? 65_535 : 0, 65_535] };
  }
  return subnet;
}

const run = ({ parameters, block, neurons, ownerUid }: Subnet, lastMechanismStep: number) =>
  runEpoch({ parameters, block, lastMechanismStep, ownerUid, emission: 1_000n, neurons });

describe('bonds on a neuron that came', () => {
  const held = (registeredAt: number, lastMechanismStep: number) => {
    const subnet = agreed({ tempo: 10 });
    subnet.neurons[2]!.registeredAt = registeredAt;
    // Validator 0 alone held bonds on it; forgotten, both have half.
    return run(subnet, lastMechanismStep)[1]!.bonds!.values[0]! < 65_000;
  };

  it('with the last epoch are kept, a block later forgotten', () => {
    expect(held(80, 80)).toBe(true);
    expect(held(81, 80)).toBe(false);
  });

  it('before the first epoch go by the tempo', () => {
    expect(held(89, 0)).toBe(true);
    expect(held(90, 0)).toBe(false);
  });
});

it('bonds of who never had a permit stay as they are, of who lost it they go, the owner’s stay', () => {
  const subnet = agreed({ maxValidators: 1 });
  subnet.neurons[1]!.stake *= 2n;
  expect(run(subnet, 0).map(({ bonds }) => bonds?.uids.length)).toEqual([0, 2, undefined, undefined]);
  subnet.ownerUid = 0;
  expect(run(subnet, 0).map(({ permit, bonds }) => [permit, bonds?.uids.length])).toEqual([
    [true, 2],
    [true, 2],
    [false, undefined],
    [false, undefined],
  ]);
});

it('without weights, emission goes by the stake of the active, and by all stake when nobody is active', () => {
  const subnet = new Subnet([1, 3, 4]);
  for (const neuron of subnet.neurons) neuron.permit = true;
  subnet.block = 6_000;
  subnet.neurons[0]!.lastUpdate = 5_000;
  subnet.neurons[1]!.lastUpdate = 5_000;
  const validating = () => run(subnet, 0).map(({ validatorEmission, serverEmission }) => [validatorEmission, serverEmission]);
  expect(validating()).toEqual([
    [250n, 0n],
    [750n, 0n],
    [0n, 0n],
  ]);
  for (const neuron of subnet.neurons) neuron.lastUpdate = 0;
  expect(validating()).toEqual([
    [125n, 0n],
    [375n, 0n],
    [500n, 0n],
  ]);
});

describe('liquid alpha', () => {
  const settings = { low: 6_553, high: 58_982, steepness: 1_000 };
  const [low, high] = [div(settings.low, U16_MAX), div(settings.high, U16_MAX)];
  const alpha = liquidAlpha(settings);

  it('buys by the weight above consensus, also when bond and weight are equal, and sells by what the bond is above', () => {
    expect(alpha(ONE, ONE, 0)).toBe(alpha(ONE, 0, 0));
    expect(alpha(ONE, ONE, ONE)).toBe(alpha(0, 0, 0));
    expect(alpha(0, ONE, ONE)).toBe(alpha(ONE, 0, 0));
    expect(alpha(ONE / 4, ONE / 2, 0)).toBe(alpha(ONE / 4, 0, 0));
  });

  it('stays within its bounds, and is half-way at a difference of a half', () => {
    for (let i = 0; i <= 64; i++) {
      const value = alpha((i * ONE) / 64, 0, 0);
      expect(value).toBeGreaterThanOrEqual(low);
      expect(value).toBeLessThanOrEqual(high);
    }
    expect(Math.abs(alpha(ONE / 2, 0, 0) - (low + high) / 2)).toBeLessThan(2);
  });

  it('reads a row by ascending uid: what comes after a larger one is not seen', () => {
    expect([...readAscending({ uids: [1, 3], values: [5, 7] }, new Float64Array(5).fill(9))]).toEqual([0, 5, 0, 7, 0]);
    expect([...readAscending({ uids: [3, 1, 4], values: [7, 5, 9] }, new Float64Array(5).fill(9))]).toEqual([0, 0, 0, 7, 9]);
  });

  it('keeps no bond that is nothing', () => {
    expect(averageRow({ uids: [0, 1], values: [1, ONE] }, [0, 0], () => ONE / 2)).toEqual({ uids: [1], values: [ONE / 2] });
  });
});

it('an epoch of nobody is nothing', () => {
  expect(runEpoch({ parameters: TEST_PARAMETERS, block: 1, lastMechanismStep: 0, ownerUid: null, emission: 1n, neurons: [] })).toEqual([]);
});
