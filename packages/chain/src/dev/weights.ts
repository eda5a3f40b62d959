/** Setting weights, plainly or by commit and reveal: the checks and their order are those of subnets/weights.rs. */
import type { Call } from '../chain.ts';
import { commitHash } from '../commit-hash.ts';
import { ChainRefusal } from '../refusals.ts';
import { isMaxLimited, upscaleToU16 } from '../yuma/index.ts';
import { type DevNeuron, type DevState, ownerUid, stakeOn, uidOf } from './state.ts';

type SetWeights = Extract<Call, { type: 'setWeights' }>;
type RevealWeights = Extract<Call, { type: 'revealWeights' }>;
type Weights = Omit<SetWeights, 'type'>;

/** Commits a hotkey may have open. */
const MOST_COMMITS = 10;

export function setWeights(state: DevState, hotkey: string, call: SetWeights): void {
  if (state.config.revealPeriod !== null) throw new ChainRefusal('CommitRevealEnabled', 'This subnet has commit and reveal.');
  carryOut(state, hotkey, call);
}

export function commitWeights(state: DevState, hotkey: string, hash: string): void {
  assertCommitReveal(state);
  const neuron = neuronOf(state, hotkey);
  assertRate(state, neuron, 'CommittingWeightsTooFast');
  const commits = openCommits(state, neuron);
  if (commits.length >= MOST_COMMITS)
    throw new ChainRefusal('TooManyUnrevealedCommits', `${hotkey} has ${commits.length} commits to reveal.`);
  neuron.commits = [...commits, { hash, epoch: state.epoch, block: state.block }];
  neuron.lastUpdate = state.block;
}

export function revealWeights(state: DevState, hotkey: string, call: RevealWeights): void {
  const period = assertCommitReveal(state);
  // Whom the chain does not know has committed nothing, either.
  const neuron = state.neurons[uidOf(state, hotkey)];
  const open = neuron ? openCommits(state, neuron) : [];
  const hash = commitHash({ ...call, hotkey, netuid: state.config.netuid });
  const position = open.findIndex((commit) => commit.hash === hash);
  if (position < 0) {
    if (neuron?.commits.some((commit) => commit.hash === hash)) throw new ChainRefusal('ExpiredWeightCommit', 'This commit is void.');
    if (open.length === 0) throw new ChainRefusal('NoWeightsCommitFound', `${hotkey} has nothing to reveal.`);
    throw new ChainRefusal('InvalidRevealCommitHashNotMatch', 'This is not what was committed.');
  }
  const due = open[position]!.epoch + period;
  if (state.epoch !== due) throw new ChainRefusal('RevealTooEarly', `It is epoch ${state.epoch}; this commit is for epoch ${due}.`);
  carryOut(state, hotkey, call);
  neuron!.commits = open.slice(position + 1);
}

/** Commits that can still be revealed. */
export function openCommits({ epoch, config }: DevState, { commits }: DevNeuron): DevNeuron['commits'] {
  return commits.filter((commit) => epoch <= commit.epoch + (config.revealPeriod ?? 0));
}

function carryOut(state: DevState, hotkey: string, { uids, weights, version }: Weights): void {
  const { config, neurons, block } = state;
  const commitReveal = config.revealPeriod !== null;
  if (uids.length !== weights.length)
    throw new ChainRefusal('WeightVecNotEqualSize', `There are ${uids.length} uids and ${weights.length} weights.`);
  if (uids.length > neurons.length)
    throw new ChainRefusal('UidsLengthExceedUidsInSubNet', `There are ${uids.length} uids and ${neurons.length} neurons.`);
  const neuron = neuronOf(state, hotkey);
  const uid = uidOf(state, hotkey);
  const isOwner = uid === ownerUid(state);
  if (!isOwner && stakeOn(state, hotkey) < config.stakeThreshold)
    throw new ChainRefusal('NotEnoughStakeToSetWeights', `${hotkey} has less than ${config.stakeThreshold} rao of stake.`);
  if (config.weightsVersion !== 0 && version < config.weightsVersion)
    throw new ChainRefusal('IncorrectWeightVersionKey', `The weights are of version ${version}, not ${config.weightsVersion}.`);
  if (!commitReveal) assertRate(state, neuron, 'SettingWeightsTooFast');
  const isSelfWeight = weights.length === 1 && uids[0] === uid;
  if (!isSelfWeight && !isOwner && !neuron.permit) throw new ChainRefusal('NeuronNoValidatorPermit', `${hotkey} may weigh only itself.`);
  if (new Set(uids).size !== uids.length) throw new ChainRefusal('DuplicateUids', 'A uid is there twice.');
  const unknown = uids.find((one) => one >= neurons.length);
  if (unknown !== undefined) throw new ChainRefusal('UidVecContainInvalidOne', `Nobody has uid ${unknown}.`);
  const least = Math.min(config.minAllowedWeights, neurons.length);
  if (!isSelfWeight && weights.length < least)
    throw new ChainRefusal('WeightVecLengthIsLow', `There are ${weights.length} weights; the subnet wants ${least}.`);
  const upscaled = upscaleToU16(weights);
  if (!isSelfWeight && config.maxWeightLimit !== 65_535 && !isMaxLimited(upscaled, config.maxWeightLimit))
    throw new ChainRefusal('MaxWeightExceeded', `One weight is more than ${config.maxWeightLimit}/65535 of all.`);

  neuron.weights = { uids: [...uids], values: upscaled };
  if (!commitReveal) neuron.lastUpdate = block;
}

function assertCommitReveal({ config }: DevState): number {
  if (config.revealPeriod === null) throw new ChainRefusal('CommitRevealDisabled', 'This subnet takes plain weights.');
  return config.revealPeriod;
}

function neuronOf(state: DevState, hotkey: string): DevNeuron {
  const neuron = state.neurons[uidOf(state, hotkey)];
  if (!neuron) throw new ChainRefusal('HotKeyNotRegisteredInSubNet', `${hotkey} is not registered.`);
  return neuron;
}

function assertRate(
  { block, config }: DevState,
  { lastUpdate }: DevNeuron,
  refusal: 'SettingWeightsTooFast' | 'CommittingWeightsTooFast',
): void {
  const free = lastUpdate + config.weightsRateLimit;
  if (lastUpdate !== 0 && block < free) throw new ChainRefusal(refusal, `It is block ${block}; the next are taken from block ${free}.`);
}
