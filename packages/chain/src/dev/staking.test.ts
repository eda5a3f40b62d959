import { describe, expect, it } from 'vitest';
import type { Call } from '../chain.ts';
import { key, money, newState, register, stake, TAO } from './for-tests.ts';
import { DevMachine, devMaker } from './machine.ts';
import { toPlain } from './plain.ts';
import type { DevState } from './state.ts';

const at = (name: string) => key(name).address;
const transfer = (to: string, amount: bigint): Call => ({ type: 'transfer', to: at(to), amount });
const unstake = (hotkey: string, amount: bigint): Call => ({ type: 'removeStake', hotkey: at(hotkey), amount });

/** Carries the calls out, one a block, each with its signer's next nonce; what was refused, and why. Signatures were looked at before. */
function carryOut(machine: DevMachine, ...calls: [signer: string, Call, nonce?: number][]): (string | null)[] {
  return calls.map(([name, call, nonce = nextNonce(machine.state, name)]) => {
    const extrinsics = toPlain([{ signer: at(name), nonce, call, signature: '00'.repeat(64) }]);
    const [effect] = machine.handle({ count: 1, extrinsics }, 0);
    return effect?.type === 'call' ? (effect.refused?.reason ?? null) : 'nothing';
  });
}
const nextNonce = ({ accounts, firstNonce }: DevState, name: string) => accounts[at(name)]?.nonce ?? firstNonce;

const machineOf = (options?: Parameters<typeof newState>[0]) => new DevMachine(newState({ blockEmission: 0n, ...options }), 0);

describe('an account', () => {
  it('begins with 500 rao, and is made by no transfer of less', () => {
    const machine = machineOf();
    const { accounts } = machine.state;
    expect(carryOut(machine, ['cold', transfer('a', 499n)])).toEqual(['ExistentialDeposit']);
    expect(accounts[at('a')]).toBeUndefined();
    expect(accounts[at('cold')]).toEqual({ free: 1_000n * TAO, nonce: 1 });
    expect(carryOut(machine, ['cold', transfer('a', 500n)], ['cold', transfer('a', 1n)])).toEqual([null, null]);
    expect(accounts[at('a')]).toEqual({ free: 501n, nonce: 0 });
  });

  it('is gone when it has less, what it had is burned, and none of its calls is good again', () => {
    const machine = machineOf();
    const { state } = machine;
    carryOut(machine, ['cold', transfer('a', 1_000n)], ['a', transfer('cold', 400n)]);
    const burned = state.burned;
    const last: [string, Call, number] = ['a', transfer('cold', 200n), 1];
    expect(carryOut(machine, last)).toEqual([null]);
    expect(state.accounts[at('a')]).toBeUndefined();
    expect(state.burned - burned).toBe(400n);
    expect(money(state)).toBe(state.issued);
    carryOut(machine, ['cold', transfer('a', TAO)]);
    expect(carryOut(machine, last, ['a', transfer('cold', 1n)])).toEqual(['Stale', null]);
    // Nor does one that had nothing stay because it said something.
    expect(carryOut(machine, ['nobody', register('m')])).toEqual(['NotEnoughBalanceToStake']);
    expect(state.accounts[at('nobody')]).toBeUndefined();
  });

  it('stays without money while it has a place or stake', () => {
    const machine = machineOf({ maxUids: 2, immunityPeriod: 0, minNonImmune: 0 });
    const { accounts } = machine.state;
    expect(carryOut(machine, ['cold', register('m')], ['cold', transfer('b', 2_000_000n)], ['b', stake('m', 2_000_000n)])).toEqual([
      null,
      null,
      null,
    ]);
    expect([accounts[at('m')], accounts[at('b')]]).toEqual([
      { free: 0n, nonce: 0 },
      { free: 0n, nonce: 1 },
    ]);
    carryOut(machine, ['m', unstake('m', 1n)]);
    expect(accounts[at('m')]).toEqual({ free: 0n, nonce: 1 });
    // Its place is another's, and it has nothing else.
    expect(carryOut(machine, ['cold', register('n')])).toEqual([null]);
    expect([accounts[at('m')], accounts[at('b')]]).toEqual([undefined, { free: 0n, nonce: 1 }]);
    expect(carryOut(machine, ['b', unstake('m', 2_000_000n)])).toEqual([null]);
    expect(accounts[at('b')]!.free).toBe(2_000_000n);
  });

  it('of an earlier release’s snapshot is as it was, or gone when it had less', () => {
    const machine = machineOf();
    carryOut(machine, ['cold', register('m')], ['cold', transfer('a', 500n)]);
    const { state } = machine;
    const { firstNonce: _, ...old } = structuredClone(state);
    old.accounts[at('dust')] = { free: 499n, nonce: 3 };
    const restored = devMaker.restore(toPlain({ format: 1, now: 7, state: old }));
    expect(restored.state).toEqual({ ...state, burned: state.burned + 499n, firstNonce: 3 });
    expect(carryOut(restored, ['a', transfer('cold', 1n)])).toEqual([null]);
    expect(devMaker.restore(restored.snapshot()).stateHash()).toBe(restored.stateHash());
  });
});

it('stake is put on, taken out and left by 2,000,000 rao at least, unless all of it goes', () => {
  const machine = machineOf();
  carryOut(machine, ['cold', register('m')]);
  const { stake: held } = machine.state.hotkeys[at('m')]!;
  const outcomes = carryOut(
    machine,
    ['cold', stake('m', 1_999_999n)],
    ['cold', stake('m', 4_000_001n)],
    ['cold', unstake('m', 1_999_999n)],
    ['cold', unstake('m', 2_000_002n)],
    ['cold', unstake('m', 2_000_001n)],
  );
  expect(outcomes).toEqual(['AmountTooLow', null, 'AmountTooLow', 'AmountTooLow', null]);
  expect(held).toEqual({ [at('cold')]: 2_000_000n });
  // What an epoch paid may be less, and is its owner's all the same.
  held[at('cold')] = 7n;
  machine.state.issued -= 1_999_993n;
  expect(carryOut(machine, ['cold', unstake('m', 7n)])).toEqual([null]);
  expect(held).toEqual({});
  expect(money(machine.state)).toBe(machine.state.issued);
});
