/** Subtensor's storage as a metagraph, all of one block. */
import type { ApiDecoration, QueryableStorageEntry } from '@polkadot/api/types';
import type { Bool, Bytes, u16, u64, Vec } from '@polkadot/types';
import type { AccountId } from '@polkadot/types/interfaces';
import type { Codec } from '@polkadot/types/types';
import { SwarmError } from '@starling/protocol';
import type { Metagraph, Neuron, SubnetRules } from '../chain.ts';
import { encodeAddress } from '../identity/index.ts';

export const PALLET = 'subtensorModule';

/** The library's view of one block. */
export type Block = ApiDecoration<'promise'>;
/** One thing to read: storage of the pallet, and which. */
type Wanted = [entry: string, ...args: unknown[]];

/** Everything wanted, in the same order. Throws `CHAIN_INCOMPATIBLE` where the runtime has no such storage. */
export async function read(at: Block, wanted: readonly Wanted[]): Promise<Codec[]> {
  // Of one argument the library wants the argument, of several a list.
  return at.queryMulti(wanted.map(([name, ...args]) => [entry(at, name), args.length > 1 ? args : args[0]]));
}

const has = ({ query }: Block, name: string) => query[PALLET]?.[name] !== undefined;

function entry(at: Block, name: string): QueryableStorageEntry<'promise'> {
  if (!has(at, name)) throw lacks(at, `the storage ${PALLET}.${name}`);
  return at.query[PALLET]![name]!;
}

/** `CHAIN_INCOMPATIBLE`, by name. */
export const lacks = ({ runtimeVersion }: Pick<Block, 'runtimeVersion'>, what: string): SwarmError =>
  new SwarmError('CHAIN_INCOMPATIBLE', `The runtime (spec ${runtimeVersion.specVersion}) does not have ${what}.`);

const number = (value: Codec | undefined): number => (value as u64).toNumber();
const bigint = (value: Codec | undefined): bigint => (value as u64).toBigInt();
const numbers = (value: Codec | undefined): number[] => (value as Vec<u16>).map((one) => one.toNumber());
const flags = (value: Codec | undefined): boolean[] => (value as Vec<Bool>).map((one) => one.isTrue);
const account = (value: Codec | undefined): string => encodeAddress((value as AccountId | Bytes).toU8a(true));

/** What of the schedule this runtime keeps; older ones count blocks. */
export function epochAt(
  block: number,
  netuid: number,
  tempo: number,
  epoch: number | null,
  lastEpoch: number | null,
): { epoch: number; nextEpoch: number } {
  if (epoch !== null && lastEpoch !== null) return { epoch, nextEpoch: lastEpoch + tempo };
  // (block + netuid + 1) mod (tempo + 1) = 0 was the rule before.
  const passed = block + netuid + 1;
  const length = tempo + 1;
  return { epoch: Math.floor(passed / length), nextEpoch: block + length - (passed % length) };
}

const isScheduled = (at: Block) => has(at, 'subnetEpochIndex') && has(at, 'lastEpochBlock');

/** The epoch that block number `block` is in. */
export async function readEpoch(at: Block, netuid: number, block: number): Promise<number> {
  if (isScheduled(at)) return number((await read(at, [['subnetEpochIndex', netuid]]))[0]);
  const [tempo] = await read(at, [['tempo', netuid]]);
  return epochAt(block, netuid, number(tempo), null, null).epoch;
}

/** Block of the last epoch. */
export const readLastStep = async (at: Block, netuid: number): Promise<number> =>
  number((await read(at, [['lastMechansimStepBlock', netuid]]))[0]);

const OF_SUBNET = [
  ...['tempo', 'burn', 'subnetworkN', 'maxAllowedUids', 'maxAllowedValidators', 'minAllowedWeights', 'maxWeightsLimit'],
  ...['weightsSetRateLimit', 'weightsVersionKey', 'commitRevealWeightsEnabled', 'revealPeriodEpochs'],
];
/** By uid, and called as a neuron has it. */
const COLUMNS = ['lastUpdate', 'stakeWeight', 'consensus', 'incentive', 'dividends', 'validatorTrust'] as const;

/** `block`: the number of the block at hand. */
export async function readMetagraph(at: Block, netuid: number, block: number): Promise<Metagraph> {
  const scheduled = isScheduled(at);
  const names = [...OF_SUBNET, ...COLUMNS, 'validatorPermit', 'active', 'emission'];
  if (scheduled) names.push('subnetEpochIndex', 'lastEpochBlock');
  if (has(at, 'subnetOwnerHotkey')) names.push('subnetOwnerHotkey');
  const values = await read(at, [...names.map((name): Wanted => [name, netuid]), ['stakeThreshold']]);
  const of = Object.fromEntries([...names, 'stakeThreshold'].map((name, i) => [name, values[i]!]));
  const rules: SubnetRules = {
    tempo: number(of.tempo),
    maxUids: number(of.maxAllowedUids),
    maxValidators: number(of.maxAllowedValidators),
    minAllowedWeights: number(of.minAllowedWeights),
    maxWeightLimit: number(of.maxWeightsLimit),
    weightsRateLimit: number(of.weightsSetRateLimit),
    weightsVersion: number(of.weightsVersionKey),
    stakeThreshold: bigint(of.stakeThreshold),
    revealPeriod: (of.commitRevealWeightsEnabled as Bool).isTrue ? number(of.revealPeriodEpochs) : null,
  };
  const columns = COLUMNS.map((name) => [name, numbers(of[name])] as const);
  const [permit, active] = [flags(of.validatorPermit), flags(of.active)];
  const emission = (of.emission as Vec<u64>).map((one) => one.toBigInt());
  const accounts = await readAccounts(at, netuid, number(of.subnetworkN));
  const neurons = accounts.map((who, uid): Neuron => {
    const row = Object.fromEntries(columns.map(([name, column]) => [name, column[uid] ?? 0])) as Pick<Neuron, (typeof COLUMNS)[number]>;
    return { uid, ...who, ...row, permit: permit[uid] ?? false, active: active[uid] ?? false, emission: emission[uid] ?? 0n };
  });
  const kept = scheduled ? [number(of.subnetEpochIndex), number(of.lastEpochBlock)] : [null, null];
  return {
    block,
    ...epochAt(block, netuid, rules.tempo, kept[0]!, kept[1]!),
    burn: bigint(of.burn),
    rules,
    owner: of.subnetOwnerHotkey ? account(of.subnetOwnerHotkey) : null,
    neurons,
  };
}

/** Who the neurons are, and what is staked on them. */
async function readAccounts(at: Block, netuid: number, n: number) {
  const uids = Array.from({ length: n }, (_, uid) => uid);
  const hotkeys = await read(at, [
    ...uids.map((uid): Wanted => ['keys', netuid, uid]),
    ...uids.map((uid): Wanted => ['blockAtRegistration', netuid, uid]),
  ]);
  const owned = await read(at, [
    ...uids.map((uid): Wanted => ['owner', hotkeys[uid]]),
    ...uids.map((uid): Wanted => ['totalHotkeyAlpha', hotkeys[uid], netuid]),
  ]);
  return uids.map((uid) => ({
    hotkey: account(hotkeys[uid]),
    registeredAt: number(hotkeys[n + uid]),
    coldkey: account(owned[uid]),
    stake: bigint(owned[n + uid]),
  }));
}
