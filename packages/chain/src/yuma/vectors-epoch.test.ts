/**
 * Known values of subtensor's own tests of an epoch, Yuma2: pallets/subtensor/src/tests/epoch/*.rs. What they assert is
 * asserted; where they print every number of an epoch in a comment (E, D), that is asserted, too.
 */
import { describe, expect, it } from 'vitest';
import { Subnet } from './for-tests.ts';

const emissions = (after: { emission: bigint }[]) => after.map(({ emission }) => Number(emission));

describe('graph_epochs.rs', () => {
  it('test_1_graph: a single neuron that weighs itself earns nothing as a server', () => {
    const subnet = new Subnet([1_000_000_000], { maxValidators: 1 });
    subnet.block = 1;
    subnet.setWeights(0, [0], [65_535]);
    expect(subnet.epoch()).toMatchObject([{ consensus: 0, incentive: 0, dividends: 0 }]);
  });

  it('test_10_graph: self-weights only, emission by stake', () => {
    const subnet = new Subnet(new Array(10).fill(1));
    subnet.block = 1;
    for (let uid = 0; uid < 10; uid++) subnet.setWeights(uid, [uid], [65_535]);
    for (const neuron of subnet.epoch()) expect(neuron).toMatchObject({ consensus: 0, incentive: 0, dividends: 0, emission: 99_999_999n });
  });

  it.each([
    ['validators first', (i: number) => i < 64],
    ['every eighth', (i: number) => i % 8 === 0],
    ['validators last', (i: number) => i >= 448],
  ])('test_512_graph: 64 validators agree on 448 servers, %s', (_, isValidator) => {
    for (const serverSelf of [false, true]) {
      const all = Array.from({ length: 512 }, (_, uid) => uid);
      const servers = all.filter((uid) => !isValidator(uid));
      const subnet = new Subnet(all.map((uid) => (isValidator(uid) ? 328_125_000_000_000n : 0n)));
      subnet.epoch();
      subnet.block = 1;
      for (const uid of all) {
        if (isValidator(uid)) subnet.setWeights(uid, servers, new Array(servers.length).fill(1));
        else if (serverSelf) subnet.setWeights(uid, [uid], [65_535]);
      }
      let after = subnet.epoch();
      for (let again = 1; again < 3; again++) after = subnet.epoch();
      after.forEach((neuron, uid) => {
        if (isValidator(uid)) {
          expect(neuron).toMatchObject({ consensus: 0, incentive: 0, dividends: 1_023, emission: 7_812_500n });
          expect([subnet.bond(uid, all.find(isValidator)!), subnet.bond(uid, servers[0]!)]).toEqual([0, 65_535]);
        } else {
          expect(neuron).toMatchObject({ consensus: 146, incentive: 146, dividends: 0, emission: 1_116_071n });
          expect(subnet.bond(uid, servers[0]!)).toBe(0);
        }
      });
    }
  });
});

it('bonds.rs test_bonds: eight epochs of a moving average', () => {
  const subnet = new Subnet([1, 2, 3, 4, 0, 0, 0, 0], { maxValidators: 8 });
  subnet.epoch();
  subnet.block = 1;
  for (let uid = 0; uid < 4; uid++) subnet.setWeights(uid, [4, 5, 6, 7], [16_383, 32_767, 49_149, 65_535]);
  const bondsOn = (server: number) => [0, 1, 2, 3].map((uid) => subnet.bond(uid, server));

  expect(emissions(subnet.epoch())).toEqual([
    49_999_998, 99_999_999, 150_000_000, 200_000_001, 49_998_779, 100_000_610, 149_996_337, 200_004_272,
  ]);
  expect(bondsOn(4)).toEqual([16_383, 32_767, 49_151, 65_535]);

  const selfWeights = [
    { bonds: [14_582, 32_767, 49_151, 65_535], emission: [44_998_351, 101_110_561, 151_667_215, 202_223_870] },
    { bonds: [12_603, 28_321, 49_151, 65_535], emission: [40_496_805, 90_999_783, 157_929_636, 210_573_773] },
  ];
  selfWeights.forEach(({ bonds, emission }, uid) => {
    subnet.setWeights(uid, [uid], [65_535]);
    subnet.block += 1;
    expect(emissions(subnet.epoch())).toEqual([...emission, 49_998_779, 100_000_610, 149_996_337, 200_004_272]);
    expect(bondsOn(4)).toEqual(bonds);
  });

  // With 0.4 of the stake left, nothing is agreed on any more.
  subnet.setWeights(2, [2], [65_535]);
  subnet.block += 1;
  expect(emissions(subnet.epoch())).toEqual([99_999_999, 199_999_999, 299_999_999, 399_999_999, 0, 0, 0, 0]);
  expect(bondsOn(7)).toEqual([12_602, 28_320, 49_150, 65_535]);

  subnet.setWeights(2, [7], [65_535]);
  const onTheLast = [
    { bonds: [10_951, 24_609, 49_150, 65_535], emission: [36_443_733, 81_898_628, 163_565_493, 218_092_144] },
    { bonds: [9_559, 21_482, 49_150, 65_535], emission: [32_799_427, 73_706_612, 168_638_129, 224_855_830] },
    { bonds: [8_376, 18_824, 49_150, 65_535], emission: [29_518_068, 66_336_137, 173_203_134, 230_942_659] },
    { emission: [26_565_175, 59_701_871, 177_311_856, 236_421_095] },
  ];
  for (const { bonds, emission } of onTheLast) {
    subnet.block += 1;
    expect(emissions(subnet.epoch())).toEqual([...emission, 0, 0, 0, 500_000_000]);
    if (bonds) expect(bondsOn(7)).toEqual(bonds);
  }
});

it('active_stake.rs test_active_stake: weights older than the cutoff', () => {
  const subnet = new Subnet([1, 1, 1, 1], { maxValidators: 4 });
  subnet.epoch();
  subnet.block = 1;
  const weigh = (uid: number) => subnet.setWeights(uid, [2, 3], [32_767, 32_767]);
  weigh(0);
  weigh(1);
  const first = subnet.epoch();
  expect(first.slice(0, 2)).toMatchObject([{ dividends: 32_767 }, { dividends: 32_767 }]);
  expect(emissions(first)).toEqual([250_000_000, 250_000_000, 250_000_000, 250_000_000]);
  expect([0, 1].map((uid) => [0, 1, 2, 3].map((on) => subnet.bond(uid, on)))).toEqual([
    [0, 0, 65_535, 65_535],
    [0, 0, 65_535, 65_535],
  ]);

  subnet.block = 5_002;
  weigh(0);
  const second = subnet.epoch();
  expect(second.map(({ active }) => active)).toEqual([true, false, false, false]);
  expect(second.slice(0, 2)).toMatchObject([{ dividends: 36_044 }, { dividends: 29_490 }]);
  expect(emissions(second)).toEqual([274_999_999, 224_999_999, 250_000_000, 250_000_000]);
  expect([2, 3].map((server) => [subnet.bond(0, server), subnet.bond(1, server)])).toEqual([
    [65_535, 53_619],
    [65_535, 53_619],
  ]);

  weigh(1);
  subnet.block = 5_003;
  const third = subnet.epoch();
  expect(third.slice(0, 2)).toMatchObject([{ dividends: 35_716 }, { dividends: 29_818 }]);
  expect(emissions(third)).toEqual([272_501_132, 227_498_866, 250_000_000, 250_000_000]);
  expect([2, 3].map((server) => [subnet.bond(0, server), subnet.bond(1, server)])).toEqual([
    [65_535, 54_712],
    [65_535, 54_712],
  ]);
});

describe('weight_activity.rs', () => {
  it('test_outdated_weights: a uid that somebody else has now', () => {
    const subnet = new Subnet([1, 1, 1, 1], { maxValidators: 4, tempo: 0 });
    subnet.epoch();
    subnet.block = 1;
    for (const uid of [0, 1]) subnet.setWeights(uid, [2, 3], [43_690, 21_845]);
    for (const uid of [2, 3]) subnet.setWeights(uid, [uid], [65_535]);
    expect(subnet.neurons[0]!.weights.values).toEqual([65_535, 32_768]);
    expect(emissions(subnet.epoch())).toEqual([250_000_000, 250_000_000, 333_331_637, 166_668_361]);

    subnet.neurons[3] = subnet.newcomer(0n);
    subnet.block = 2;
    subnet.setWeights(0, [2, 3], [43_690, 21_845]);
    const after = subnet.epoch();
    expect(emissions(after)).toEqual([250_000_000, 250_000_000, 500_000_000, 0]);
    expect(after[0]).toMatchObject({ dividends: 32_767, emission: 250_000_000n });
    expect([subnet.bond(0, 2), subnet.bond(0, 3)]).toEqual([65_535, 65_535]);
  });

  it('test_zero_weights: all emission to the stake', () => {
    const subnet = new Subnet([1, 0]);
    expect(emissions(subnet.epoch())).toEqual([1_000_000_000, 0]);
    subnet.block = 1;
    subnet.setWeights(1, [1], [65_535]);
    expect(emissions(subnet.epoch())).toEqual([1_000_000_000, 0]);
  });
});

it('self_weight.rs: the owner may weigh itself, and earns as much as whom it weighs alike', () => {
  const subnet = new Subnet([5_000_000_000_000n, 0n], { maxValidators: 1 });
  subnet.ownerUid = 0;
  subnet.neurons[0]!.permit = true;
  subnet.block = 2;
  subnet.setWeights(0, [0, 1], [32_767, 32_767]);
  const [owner, other] = subnet.epoch();
  expect(owner!.serverEmission).toBeGreaterThan(0n);
  expect(owner!.serverEmission).toBe(other!.serverEmission);
});

it('validator_permits.rs: permits go to the largest stakes over the threshold, and move with the stake', () => {
  for (const [n, validators] of [
    [2, 1],
    [4, 2],
    [8, 4],
  ] as const) {
    const isValidator = (uid: number) => uid < validators;
    const subnet = new Subnet(
      Array.from({ length: n }, (_, uid) => (isValidator(uid) ? uid + n : uid)),
      { maxValidators: validators, stakeThreshold: BigInt(validators) },
    );
    expect(subnet.epoch().map(({ permit }) => permit)).toEqual(subnet.neurons.map((_, uid) => isValidator(uid)));
    subnet.neurons.forEach((neuron, uid) => {
      if (!isValidator(uid)) neuron.stake += BigInt(2 * n) << 64n;
    });
    subnet.block = 1;
    expect(subnet.epoch().map(({ permit }) => permit)).toEqual(subnet.neurons.map((_, uid) => !isValidator(uid)));
  }
});
