/** The server's own chain: its keys, its settings, and how those who mine get on it. */
import { join } from 'node:path';
import { type Chain, ChainRefusal, DevChain, type DevConfig, type Signer, Sr25519Key } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import { openStore } from '@starling/store';
import type { Identity } from '../identity.ts';

export const TAO = 1_000_000_000n;
/** More than registrations ever cost: money is made from nothing here. */
const ENDOWMENT = 2n ** 53n;
/** Staked on the server's own validator. */
const OWN_STAKE = 1_000n * TAO;

/** Keys of the data folder: nobody else can make them. */
export interface HouseKeys {
  /** Owns the subnet. */
  owner: Sr25519Key;
  /** The subnet's own hotkey, which validates: it needs no permit. */
  validator: Sr25519Key;
  /** Pays for the registrations of those who mine: not the owner, whose hotkeys' incentive is burned. */
  bank: Sr25519Key;
}

export function houseKeys(identity: Identity): HouseKeys {
  const key = (purpose: string) => Sr25519Key.fromSeed(identity.seed(`chain ${purpose}`));
  return { owner: key('owner'), validator: key('validator'), bank: key('bank') };
}

export interface EmbeddedOptions {
  dataDir: string;
  /** The server's name, which is the chain's, too. */
  name: string;
  netuid: number;
  blockMs: number;
  tempo: number;
  /** Hotkeys of other validators, each with its stake in TAO. */
  validators: { hotkey: string; stake: number }[];
}

/** Goes on with the chain of this data folder, or begins it, and lets it run. */
export async function openEmbedded(
  options: EmbeddedOptions,
  keys: HouseKeys,
  onTrouble: (error: SwarmError | null) => void,
): Promise<Chain> {
  const { dataDir, name, netuid, blockMs, tempo, validators } = options;
  const settings: Partial<DevConfig> = {
    netuid,
    blockMs,
    tempo,
    // Weights of every round may count, however short the epochs are.
    weightsRateLimit: Math.floor(tempo / 4),
    endowments: [keys.owner, keys.bank].map(({ address: account }) => ({ account, amount: ENDOWMENT })),
  };
  const owner = { coldkey: keys.owner.address, hotkey: keys.validator.address };
  const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref());
  const chain = await DevChain.open(
    { ...settings, name, owner },
    { store: await openStore(join(dataDir, 'chain.sqlite')), clock: { now: Date.now, pause }, onTrouble },
  );
  void chain.run();
  // Behind the first block: nobody waits for it.
  void staffed(chain, keys, validators).catch((error: unknown) => onTrouble(SwarmError.from(error)));
  return chain;
}

/** The server's validator, and those the operator named, with their stakes. */
async function staffed(chain: Chain, { owner, validator, bank }: HouseKeys, validators: EmbeddedOptions['validators']): Promise<void> {
  await stakeOn(chain, validator.address, OWN_STAKE, owner);
  await registerAll(
    chain,
    validators.map(({ hotkey }) => hotkey),
    bank,
  );
  for (const { hotkey, stake } of validators) await stakeOn(chain, hotkey, BigInt(stake) * TAO, bank);
}

/** Once: what is there from an earlier time is left alone. */
async function stakeOn(chain: Chain, hotkey: string, amount: bigint, coldkey: Signer): Promise<void> {
  const neuron = (await chain.metagraph()).neurons.find((one) => one.hotkey === hotkey);
  if (neuron?.stake === 0n) await chain.submit({ type: 'addStake', hotkey, amount }, coldkey);
}

/**
 * Registers those who are not yet, for the bank's money and each in its own name: what it earns is its own key's to move. Where all
 * places are taken by the immune, the rest wait.
 */
export async function registerAll(chain: Chain, hotkeys: readonly string[], bank: Signer): Promise<void> {
  const known = new Set((await chain.metagraph()).neurons.map(({ hotkey }) => hotkey));
  const calls = hotkeys
    .filter((hotkey) => !known.has(hotkey))
    .map((hotkey) =>
      chain.submit({ type: 'register', hotkey, limit: null, coldkey: hotkey }, bank).catch((error: unknown) => {
        if (error instanceof ChainRefusal && WAITS.has(error.reason)) return;
        throw error;
      }),
    );
  await Promise.all(calls);
}

/** Somebody else was first, or there is no place. */
const WAITS: ReadonlySet<string> = new Set(['HotKeyAlreadyRegisteredInSubNet', 'NoNeuronIdAvailable', 'NonAssociatedColdKey']);
