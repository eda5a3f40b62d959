/** How a hotkey becomes a neuron, and whose place it takes when all are taken (subnets/registration.rs, uids.rs). */
import { ChainRefusal } from '../refusals.ts';
import { raised } from './burn.ts';
import { hotkeyOf, pay } from './staking.ts';
import { accountOf, type DevNeuron, type DevState, newNeuron, reapUnknown, uidOf } from './state.ts';

/** `payer` burns the price; a hotkey that is nobody's yet becomes `coldkey`'s. Nothing is changed when it is refused. */
export function register(state: DevState, payer: string, hotkey: string, limit: bigint | null, coldkey = payer): void {
  const { burn, config } = state;
  if (limit !== null && burn > limit)
    throw new ChainRefusal('RegistrationPriceLimitExceeded', `A registration costs ${burn} rao, more than ${limit}.`);
  if (uidOf(state, hotkey) >= 0) throw new ChainRefusal('HotKeyAlreadyRegisteredInSubNet', `${hotkey} is registered.`);
  if (accountOf(state, payer).free < burn)
    throw new ChainRefusal('NotEnoughBalanceToStake', `A registration costs ${burn} rao; ${payer} has ${accountOf(state, payer).free}.`);
  const owner = state.hotkeys[hotkey]?.coldkey ?? coldkey;
  if (owner !== coldkey && owner !== payer) throw new ChainRefusal('NonAssociatedColdKey', `${hotkey} belongs to ${owner}.`);
  const uid = state.neurons.length < config.maxUids ? state.neurons.length : toPrune(state);
  if (uid === null) throw new ChainRefusal('NoNeuronIdAvailable', `All ${config.maxUids} places are taken.`);

  pay(state, payer, burn);
  state.burned += burn;
  hotkeyOf(state, hotkey, coldkey);
  accountOf(state, hotkey);
  const before = state.neurons[uid];
  if (before) forget(state, uid);
  state.neurons[uid] = newNeuron(hotkey, state.block);
  if (before) reapUnknown(state, before.hotkey);
  state.burn = raised(burn, config.burn.increase, config.burn);
}

/**
 * The uid that goes: of those without immunity the one that earned least, of equals the one registered first, then the
 * lowest. When too few would be left, the same of the immune. The owner's hotkey stays. Null: nobody can go.
 */
export function toPrune({ neurons, config, block }: DevState): number | null {
  const candidates = neurons.flatMap((neuron, uid) => (neuron.hotkey === config.owner.hotkey ? [] : [{ neuron, uid }]));
  const isImmune = ({ neuron }: { neuron: DevNeuron }) => block - neuron.registeredAt < config.immunityPeriod;
  const free = candidates.filter((one) => !isImmune(one));
  const from = free.length > config.minNonImmune ? free : candidates.filter(isImmune);
  const worse = (a: (typeof from)[number], b: (typeof from)[number]) => {
    if (a.neuron.emission !== b.neuron.emission) return a.neuron.emission < b.neuron.emission;
    return a.neuron.registeredAt !== b.neuron.registeredAt ? a.neuron.registeredAt < b.neuron.registeredAt : a.uid < b.uid;
  };
  return from.length === 0 ? null : from.reduce((worst, one) => (worse(one, worst) ? one : worst)).uid;
}

/** Weights others set on this uid were not meant for whom comes next. */
function forget(state: DevState, uid: number): void {
  for (const neuron of state.neurons) {
    const { uids, values } = neuron.weights;
    if (uids.includes(uid)) neuron.weights = { uids, values: values.map((value, k) => (uids[k] === uid ? 0 : value)) };
  }
}
