/** Why a chain did not take a call, under the names that subtensor gives its errors, with what to do about each. */
import { SwarmError } from '@starling/protocol';

export const REFUSALS = {
  // Any call
  BadProof: 'Sign the call again with the key of the account it is of.',
  Stale: 'This call was sent before. Look whether it is in a block already.',
  Future: 'Send the calls before it first, or ask for the account’s next nonce again.',
  // Registration and stake
  SubNetRegistrationDisabled: 'Wait until the subnet’s owner allows registrations.',
  HotKeyAlreadyRegisteredInSubNet: 'Nothing to do: this hotkey is registered.',
  RegistrationPriceLimitExceeded: 'Wait for the price to fall (by half in a half-life), or allow a higher one.',
  NotEnoughBalanceToStake: 'Put enough on the coldkey for this amount, or use less.',
  NonAssociatedColdKey: 'Use the coldkey that this hotkey belongs to, or another hotkey.',
  NoNeuronIdAvailable: 'Wait until a neuron’s immunity is over; all places are taken by neurons that may not be replaced yet.',
  NotEnoughStakeToWithdraw: 'Take out no more than this coldkey has on the hotkey.',
  AmountTooLow: 'Use a larger amount, or take out all of the stake.',
  ExistentialDeposit: 'Transfer more: with less an account does not begin.',
  // Weights
  CommitRevealEnabled: 'Commit the weights and reveal them later: this subnet takes no plain ones.',
  CommitRevealDisabled: 'Set the weights plainly: this subnet does not use commit and reveal.',
  WeightVecNotEqualSize: 'Give as many weights as uids.',
  UidsLengthExceedUidsInSubNet: 'Read the metagraph again: these are more uids than there are neurons.',
  HotKeyNotRegisteredInSubNet: 'Register the hotkey; it was never registered, or its place was given to another.',
  NotEnoughStakeToSetWeights: 'Put more stake on the hotkey: it is below the threshold.',
  IncorrectWeightVersionKey: 'Update the validator: the subnet asks for weights of a newer version.',
  SettingWeightsTooFast: 'Wait until the rate limit has passed since the last weights.',
  NeuronNoValidatorPermit: 'Wait for the next epoch with more stake: this hotkey holds no validator permit.',
  DuplicateUids: 'Give every uid once.',
  UidVecContainInvalidOne: 'Read the metagraph again: one of the uids is of nobody.',
  WeightVecLengthIsLow: 'Give weights to more neurons: they are fewer than the subnet allows.',
  MaxWeightExceeded: 'Spread the weights: one is a larger share than the subnet allows.',
  CommittingWeightsTooFast: 'Wait until the rate limit has passed since the last commit.',
  TooManyUnrevealedCommits: 'Reveal earlier commits first, or wait until they are void.',
  NoWeightsCommitFound: 'Commit weights first; what was committed may be void by now.',
  ExpiredWeightCommit: 'Commit again, and reveal in the epoch in which the subnet asks for it.',
  RevealTooEarly: 'Wait for the epoch in which this commit is to be revealed.',
  InvalidRevealCommitHashNotMatch: 'Reveal exactly what was committed: uids, weights, salt and version.',
} as const;

export type Refusal = keyof typeof REFUSALS;

/** `CHAIN_REFUSED`, with the chain's own reason and what helps against it. */
export class ChainRefusal extends SwarmError {
  readonly reason: Refusal;

  constructor(reason: Refusal, message: string) {
    super('CHAIN_REFUSED', `${message} (${reason})`);
    this.name = 'ChainRefusal';
    this.reason = reason;
  }

  override get hint(): string {
    return REFUSALS[this.reason];
  }
}
