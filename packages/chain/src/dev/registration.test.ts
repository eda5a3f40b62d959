import { describe, expect, it } from 'vitest';
import { decayed, decayFactor, raised } from './burn.ts';
import { key, newState, TAO } from './for-tests.ts';
import { register, toPrune } from './registration.ts';
import { accountOf, type DevState, newNeuron } from './state.ts';

const refused = (reason: string) => expect.objectContaining({ reason, code: 'CHAIN_REFUSED' });
const anyPrice = { min: 0n, max: 2n ** 64n - 1n };

describe('the burn price (subtensor, tests/registration.rs)', () => {
  const blocks = (price: bigint, halfLife: number, count: number, rules = anyPrice) => {
    let now = price;
    for (let i = 0; i < count; i++) now = decayed(now, decayFactor(halfLife), rules);
    return now;
  };

  it('test_burn_decay: doubled at once, then 1998 after a block of a half-life of 1000', () => {
    expect(raised(1_000n, 2, anyPrice)).toBe(2_000n);
    expect(blocks(2_000n, 1_000, 1)).toBe(1_998n);
  });

  it('test_bump_registration_price_after_registration_applies_multiplier_immediately', () => {
    expect(raised(1_000n, 3, anyPrice)).toBe(3_000n);
  });

  it('test_burn_halves_every_half_life', () => {
    expect(blocks(1_024n, 2, 2)).toBe(511n);
    expect(blocks(511n, 2, 2)).toBe(255n);
  });

  it('test_burn_min_and_max_clamps_prevent_zero_stuck_and_cap_bump', () => {
    const rules = { min: 100_000n, max: 150_000n };
    expect(blocks(1n, 1, 1, rules)).toBe(100_000n);
    expect(raised(100_000n, 2, rules)).toBe(150_000n);
    expect(blocks(150_000n, 1, 1, rules)).toBe(100_000n);
    expect(blocks(100_000n, 1, 1, rules)).toBe(100_000n);
  });

  it('falls by half in 360 blocks, within a hundred-thousandth, and never raises itself', () => {
    const half = Number(blocks(100n * TAO, 360, 360));
    expect(Math.abs(half / Number(50n * TAO) - 1)).toBeLessThan(1e-5);
    expect(raised(1_000n, 0.5, anyPrice)).toBe(1_000n);
  });
});

describe('pruning (subtensor, tests/registration.rs)', () => {
  const withNeurons = (neurons: { registeredAt: number; emission: bigint }[], options: Parameters<typeof newState>[0], block: number) => {
    const state = newState(options);
    state.neurons = neurons.map(({ registeredAt, emission }, uid) => ({ ...newNeuron(key(`n${uid}`).address, registeredAt), emission }));
    state.block = block;
    return state;
  };

  it('test_registration_get_uid_to_prune_all_in_immunity_period: the least of the immune', () => {
    const neurons = [
      { registeredAt: 0, emission: 100n },
      { registeredAt: 1, emission: 110n },
    ];
    expect(toPrune(withNeurons(neurons, { immunityPeriod: 2, minNonImmune: 0 }, 1))).toBe(0);
  });

  it('test_registration_get_uid_to_prune_none_in_immunity_period: the least of all', () => {
    const neurons = [
      { registeredAt: 0, emission: 100n },
      { registeredAt: 1, emission: 110n },
    ];
    expect(toPrune(withNeurons(neurons, { immunityPeriod: 2, minNonImmune: 0 }, 4))).toBe(0);
  });

  it('test_registration_pruning_1: an immune one stays, of equals the oldest goes', () => {
    const neurons = [
      { registeredAt: 850, emission: 10n },
      { registeredAt: 800, emission: 10n },
      { registeredAt: 990, emission: 1n },
    ];
    expect(toPrune(withNeurons(neurons, { immunityPeriod: 100, minNonImmune: 0 }, 1_000))).toBe(1);
  });

  it('of equals in everything takes the lowest uid, leaves enough without immunity, and never the owner', () => {
    const equal = Array.from({ length: 4 }, () => ({ registeredAt: 5, emission: 0n }));
    expect(toPrune(withNeurons(equal, { immunityPeriod: 1, minNonImmune: 3 }, 100))).toBe(0);
    expect(toPrune(withNeurons(equal, { immunityPeriod: 1, minNonImmune: 4 }, 100))).toBeNull();
    const state = withNeurons(equal, { immunityPeriod: 1, minNonImmune: 0 }, 100);
    state.neurons[0]!.hotkey = state.config.owner.hotkey;
    expect(toPrune(state)).toBe(1);
    state.neurons.length = 1;
    expect(toPrune(state)).toBeNull();
  });
});

describe('a registration', () => {
  const cold = key('cold').address;
  const [a, b, c] = ['a', 'b', 'c'].map((name) => key(name).address) as [string, string, string];
  const unchanged = (state: DevState, attempt: () => void, reason: string) => {
    const before = structuredClone(state);
    expect(attempt).toThrow(refused(reason));
    expect(state).toEqual(before);
  };

  it('burns the price, takes the next uid, and makes the next one dearer', () => {
    const state = newState();
    register(state, cold, a, null);
    register(state, cold, b, 1_260_000_000n);
    expect(state.neurons.map(({ hotkey }) => hotkey)).toEqual([state.config.owner.hotkey, a, b]);
    expect(accountOf(state, cold).free).toBe(1_000n * TAO - TAO - 1_260_000_000n);
    expect(state.burned).toBe(TAO + 1_260_000_000n);
    expect(state.burn).toBe(1_587_600_000n);
  });

  it('is refused, in the chain’s order, and then changes nothing', () => {
    const state = newState({ maxUids: 2, immunityPeriod: 0 });
    register(state, cold, a, null);
    accountOf(state, 'poor');
    unchanged(state, () => register(state, cold, b, 1n), 'RegistrationPriceLimitExceeded');
    unchanged(state, () => register(state, 'poor', a, null), 'HotKeyAlreadyRegisteredInSubNet');
    unchanged(state, () => register(state, 'poor', b, null), 'NotEnoughBalanceToStake');
    state.hotkeys[b] = { coldkey: 'another', stake: {} };
    unchanged(state, () => register(state, cold, b, null), 'NonAssociatedColdKey');
    unchanged(state, () => register(state, cold, c, null), 'NoNeuronIdAvailable');
  });

  it('makes the hotkey whose it is to be, whoever pays, and once for all', () => {
    const state = newState({ maxUids: 2, immunityPeriod: 0, minNonImmune: 0 });
    register(state, cold, a, null, a);
    expect([state.hotkeys[a]!.coldkey, accountOf(state, cold).free]).toEqual([a, 999n * TAO]);
    register(state, cold, b, null, b); // in its place
    unchanged(state, () => register(state, cold, a, null, c), 'NonAssociatedColdKey');
    register(state, cold, a, null, a);
    expect(state.hotkeys[a]!.coldkey).toBe(a);
    // One of an earlier release's bank stays the bank's.
    state.hotkeys[c] = { coldkey: cold, stake: {} };
    register(state, cold, c, null, c);
    expect(state.hotkeys[c].coldkey).toBe(cold);
  });

  it('on a full subnet takes the place of another, who keeps the stake; weights on the place are void', () => {
    const state = newState({ maxUids: 3, immunityPeriod: 0, minNonImmune: 0 });
    register(state, cold, a, null);
    register(state, cold, b, null);
    state.neurons[1]!.emission = 5n;
    state.neurons[1]!.weights = { uids: [0, 2], values: [7, 65_535] };
    state.hotkeys[b]!.stake[cold] = 42n;
    state.block = 9;
    register(state, cold, c, null);
    expect(state.neurons[2]).toEqual(newNeuron(c, 9));
    expect(state.neurons[1]!.weights).toEqual({ uids: [0, 2], values: [7, 0] });
    expect(state.hotkeys[b]!.stake).toEqual({ [cold]: 42n });
  });
});
