/** Money: what accounts have, and what is staked on whom. There is no pool: alpha and TAO are exchanged one for one. */
import { ChainRefusal } from '../refusals.ts';
import { accountOf, type DevState, EXISTENTIAL_DEPOSIT, type Hotkey } from './state.ts';

/** Rao that are staked, taken out or left, unless it is all (pallets/subtensor/src/lib.rs, `DefaultMinStake`). */
export const LEAST_STAKE = 2_000_000n;

export function pay(state: DevState, from: string, amount: bigint): void {
  const account = accountOf(state, from);
  if (account.free < amount) throw new ChainRefusal('NotEnoughBalanceToStake', `${from} has ${account.free} rao, not ${amount}.`);
  account.free -= amount;
}

export function transfer(state: DevState, from: string, to: string, amount: bigint): void {
  if (amount === 0n) throw new ChainRefusal('AmountTooLow', 'Nothing was to be transferred.');
  if ((state.accounts[to]?.free ?? 0n) + amount < EXISTENTIAL_DEPOSIT)
    throw new ChainRefusal('ExistentialDeposit', `${to} would have less than ${EXISTENTIAL_DEPOSIT} rao.`);
  pay(state, from, amount);
  accountOf(state, to).free += amount;
}

/** The hotkey, made this coldkey's when it is nobody's yet. */
export function hotkeyOf(state: DevState, hotkey: string, coldkey: string): Hotkey {
  state.hotkeys[hotkey] ??= { coldkey, stake: {} };
  return state.hotkeys[hotkey];
}

export function addStake(state: DevState, coldkey: string, hotkey: string, amount: bigint): void {
  if (amount < LEAST_STAKE) throw new ChainRefusal('AmountTooLow', `At least ${LEAST_STAKE} rao are staked, not ${amount}.`);
  if (!state.hotkeys[hotkey]) throw new ChainRefusal('HotKeyNotRegisteredInSubNet', `${hotkey} is not known to this chain.`);
  pay(state, coldkey, amount);
  give(state.hotkeys[hotkey], coldkey, amount);
}

export function removeStake(state: DevState, coldkey: string, hotkey: string, amount: bigint): void {
  if (amount === 0n) throw new ChainRefusal('AmountTooLow', 'Nothing was to be taken out.');
  const stake = state.hotkeys[hotkey]?.stake;
  const held = stake?.[coldkey] ?? 0n;
  if (held < amount) throw new ChainRefusal('NotEnoughStakeToWithdraw', `${coldkey} has ${held} rao on ${hotkey}, not ${amount}.`);
  const left = held - amount;
  if (left !== 0n && (left < LEAST_STAKE || amount < LEAST_STAKE))
    throw new ChainRefusal(
      'AmountTooLow',
      `At least ${LEAST_STAKE} rao are taken out, and left, or all: ${amount} of ${held} are neither.`,
    );
  if (left === 0n) delete stake![coldkey];
  else stake![coldkey] = left;
  accountOf(state, coldkey).free += amount;
}

/** Alpha for one coldkey on a hotkey. */
export function give(hotkey: Hotkey, coldkey: string, amount: bigint): void {
  if (amount > 0n) hotkey.stake[coldkey] = (hotkey.stake[coldkey] ?? 0n) + amount;
}

/** Alpha for all who have stake on a hotkey, in proportion; whole rao only, the rest is the coldkey's the hotkey belongs to. */
export function share(hotkey: Hotkey, amount: bigint): void {
  const held = Object.entries(hotkey.stake);
  const total = held.reduce((all, [, alpha]) => all + alpha, 0n);
  let left = amount;
  for (const [coldkey, alpha] of held) {
    const part = (amount * alpha) / total;
    give(hotkey, coldkey, part);
    left -= part;
  }
  give(hotkey, hotkey.coldkey, left);
}
