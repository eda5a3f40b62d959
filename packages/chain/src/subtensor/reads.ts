/** Subtensor's storage as a metagraph, all of one block. */
import type { Bool, Bytes, u16, u64, Vec } from '@polkadot/types';
import type { AccountId } from '@polkadot/types/interfaces';
import type { Codec } from '@polkadot/types/types';
import * as v from 'valibot';
import type { Metagraph, Neuron, SubnetRules } from '../chain.ts';
import { encodeAddress } from '../identity/index.ts';
import { Hex, type Rpc } from './rpc.ts';
import type { Runtime } from './runtime.ts';

const PALLET = 'subtensorModule';

/** `state_queryStorageAt`: keys, and what lies there. */
const Changes = v.array(v.object({ changes: v.array(v.tuple([Hex, v.nullable(Hex)])) }));

/** One thing to read: storage of the pallet, and which. */
type Wanted = [entry: string, ...args: unknown[]];

/** Everything wanted as it was in block `at` (a hash), in the same order. */
export async function readStorage(rpc: Rpc, runtime: Runtime, at: string, wanted: readonly Wanted[]): Promise<Codec[]> {
  const keys = wanted.map(([entry, ...args]) => runtime.key(PALLET, entry, ...args));
  const answer = await rpc.request('state_queryStorageAt', [keys, at], Changes);
  const found = new Map(answer.flatMap(({ changes }) => changes));
  return wanted.map(([entry], i) => runtime.decode(PALLET, entry, found.get(keys[i]!) ?? null));
}

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

const isScheduled = (runtime: Runtime) => runtime.has(PALLET, 'subnetEpochIndex') && runtime.has(PALLET, 'lastEpochBlock');

/** The epoch that block number `block`, of hash `at`, is in. */
export async function readEpoch(rpc: Rpc, runtime: Runtime, netuid: number, block: number, at: string): Promise<number> {
  if (isScheduled(runtime)) return number((await readStorage(rpc, runtime, at, [['subnetEpochIndex', netuid]]))[0]);
  const [tempo] = await readStorage(rpc, runtime, at, [['tempo', netuid]]);
  return epochAt(block, netuid, number(tempo), null, null).epoch;
}

/** `at`: hash of block number `block`. */
export async function readMetagraph(rpc: Rpc, runtime: Runtime, netuid: number, block: number, at: string): Promise<Metagraph> {
  const scheduled = isScheduled(runtime);
  const perSubnet = ['tempo', 'burn', 'subnetworkN', 'maxAllowedUids', 'maxAllowedValidators', 'minAllowedWeights', 'maxWeightsLimit'];
  const rest = ['weightsSetRateLimit', 'weightsVersionKey', 'commitRevealWeightsEnabled', 'revealPeriodEpochs'];
  const vectors = [
    'lastUpdate',
    'validatorPermit',
    'active',
    'stakeWeight',
    'consensus',
    'incentive',
    'dividends',
    'validatorTrust',
    'emission',
  ];
  const schedule = scheduled ? ['subnetEpochIndex', 'lastEpochBlock'] : [];
  const owner = runtime.has(PALLET, 'subnetOwnerHotkey') ? ['subnetOwnerHotkey'] : [];
  const names = [...perSubnet, ...rest, ...vectors, ...schedule, ...owner];
  const values = await readStorage(rpc, runtime, at, [...names.map((name): Wanted => [name, netuid]), ['stakeThreshold']]);
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
  const shares = (name: string) => numbers(of[name]);
  const columns = {
    lastUpdate: shares('lastUpdate'),
    stakeWeight: shares('stakeWeight'),
    consensus: shares('consensus'),
    incentive: shares('incentive'),
    dividends: shares('dividends'),
    validatorTrust: shares('validatorTrust'),
  };
  const [permit, active] = [flags(of.validatorPermit), flags(of.active)];
  const emission = (of.emission as Vec<u64>).map((one) => one.toBigInt());
  const accounts = await readAccounts(rpc, runtime, netuid, at, number(of.subnetworkN));
  const neurons = accounts.map((who, uid): Neuron => {
    const at = (column: readonly number[]) => column[uid] ?? 0;
    return {
      uid,
      ...who,
      lastUpdate: at(columns.lastUpdate),
      permit: permit[uid] ?? false,
      active: active[uid] ?? false,
      stakeWeight: at(columns.stakeWeight),
      consensus: at(columns.consensus),
      incentive: at(columns.incentive),
      dividends: at(columns.dividends),
      validatorTrust: at(columns.validatorTrust),
      emission: emission[uid] ?? 0n,
    };
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
async function readAccounts(rpc: Rpc, runtime: Runtime, netuid: number, at: string, n: number) {
  const uids = Array.from({ length: n }, (_, uid) => uid);
  const hotkeys = await readStorage(rpc, runtime, at, [
    ...uids.map((uid): Wanted => ['keys', netuid, uid]),
    ...uids.map((uid): Wanted => ['blockAtRegistration', netuid, uid]),
  ]);
  const owned = await readStorage(rpc, runtime, at, [
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
