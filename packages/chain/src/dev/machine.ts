/**
 * An embedded chain as a pure state machine: blocks with their calls go in, what became of them comes out. Time does not
 * enter: the same calls in the same blocks make the same chain, to the hash.
 */
import { hash } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import type { Maker } from '@starling/store';
import type { EpochPaid } from '../chain.ts';
import { decodeAddress } from '../identity/index.ts';
import { ChainRefusal, type Refusal } from '../refusals.ts';
import { decayed, decayFactor } from './burn.ts';
import { closeEpoch, isEpochDue, mint } from './coinbase.ts';
import type { DevConfig } from './config.ts';
import { assertNonce } from './extrinsic.ts';
import { fromPlain, type Plain, toPlain } from './plain.ts';
import { register } from './registration.ts';
import type { Extrinsic } from './signed-call.ts';
import { addStake, removeStake, transfer } from './staking.ts';
import { accountOf, type DevState, genesis, reapUnknown } from './state.ts';
import { commitWeights, revealWeights, setWeights } from './weights.ts';

/** `count` blocks, the calls in the last of them, whose signatures were looked at. Plain JSON, so that it can be logged. */
export interface Blocks {
  count: number;
  extrinsics: Plain;
}

export type DevEffect =
  /** What became of the input's nth call. */
  | { type: 'call'; index: number; block: number; epoch: number; refused: { reason: Refusal; message: string } | null }
  | { type: 'epoch'; paid: EpochPaid };

export class DevMachine {
  readonly state: DevState;
  readonly #decay: bigint;
  now: number;

  constructor(state: DevState, now: number) {
    this.state = state;
    this.now = now;
    this.#decay = decayFactor(state.config.burn.halfLife);
  }

  handle({ count, extrinsics }: Blocks, now: number): DevEffect[] {
    const effects: DevEffect[] = [];
    this.now = now;
    for (let left = count; left > 0; left--) this.#block(left === 1 ? fromPlain<Extrinsic[]>(extrinsics) : [], effects);
    return effects;
  }

  /** As subtensor orders it: price, emission, the epoch if one is due, then the calls. */
  #block(extrinsics: readonly Extrinsic[], effects: DevEffect[]): void {
    const { state } = this;
    state.block += 1;
    // Without signatures: they are salted, and the same calls are to make the same chain.
    const calls = extrinsics.map(({ signer, nonce, call }) => toPlain([signer, nonce, call]));
    state.hash = hash('sha256', JSON.stringify([state.hash, state.block, calls]));
    if (state.block > 1) state.burn = decayed(state.burn, this.#decay, state.config.burn);
    mint(state);
    if (isEpochDue(state)) effects.push({ type: 'epoch', paid: closeEpoch(state) });
    extrinsics.forEach((extrinsic, index) => {
      effects.push({ type: 'call', index, block: state.block, epoch: state.epoch, refused: this.#refusal(extrinsic) });
    });
  }

  #refusal(extrinsic: Extrinsic): { reason: Refusal; message: string } | null {
    try {
      this.#carryOut(extrinsic);
      return null;
    } catch (error) {
      if (!(error instanceof ChainRefusal)) throw error;
      return { reason: error.reason, message: error.message };
    } finally {
      reapUnknown(this.state, extrinsic.signer);
    }
  }

  /** A call that is refused changes nothing but its signer's nonce, and not even that when it is not its next one. */
  #carryOut(extrinsic: Extrinsic): void {
    const { state } = this;
    const { signer, call } = extrinsic;
    const account = accountOf(state, signer);
    assertNonce(extrinsic, account.nonce);
    account.nonce += 1;
    switch (call.type) {
      case 'register':
        register(state, signer, call.hotkey, call.limit, call.coldkey);
        break;
      case 'addStake':
        addStake(state, signer, call.hotkey, call.amount);
        break;
      case 'removeStake':
        removeStake(state, signer, call.hotkey, call.amount);
        break;
      case 'transfer':
        transfer(state, signer, call.to, call.amount);
        break;
      case 'setWeights':
        setWeights(state, signer, call);
        break;
      case 'commitWeights':
        commitWeights(state, signer, call.hash);
        break;
      case 'revealWeights':
        revealWeights(state, signer, call);
        break;
    }
  }

  /** Equal chains give equal texts. */
  snapshot(): Plain {
    return toPlain({ format: 1, now: this.now, state: this.state });
  }

  /** SHA-256 of all the chain knows, 64 hex digits. */
  stateHash(): string {
    return hash('sha256', JSON.stringify(toPlain(this.state)));
  }
}

export const devMaker: Maker<DevMachine> = {
  /** Raised whenever the same blocks would make another chain. */
  rules: 1,
  begin: (body, now) => {
    const config = fromPlain<DevConfig>(body);
    for (const account of [config.owner.coldkey, config.owner.hotkey, ...config.endowments.map((one) => one.account)])
      decodeAddress(account);
    return new DevMachine(genesis(config), now);
  },
  restore: (body) => {
    // `firstNonce` is not in one of rules 0, by which no account ever went.
    const { format, now, state } = fromPlain<{ format: number; now: number; state: Omit<DevState, 'firstNonce'> & Partial<DevState> }>(
      body,
    );
    if (format !== 1) throw new SwarmError('LOG_UNREADABLE', 'The chain’s snapshot was written by another release.');
    const { firstNonce } = state;
    const machine = new DevMachine({ ...state, firstNonce: firstNonce ?? 0 }, now);
    if (firstNonce === undefined) for (const account of Object.keys(state.accounts)) reapUnknown(machine.state, account);
    return machine;
  },
};
