/** Which chain the server has, by its options, and everything that belongs to it, put together. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Challenges, decodeAddress, hotkeyFrom, type Signer, SubtensorChain } from '@starling/chain';
import { type RoundWork, SwarmError } from '@starling/protocol';
import { openStore } from '@starling/store';
import type { Identity } from '../identity.ts';
import type { ServerOptions } from '../options.ts';
import { HALF_LIFE_TEMPOS } from '../scores.ts';
import { Accounts } from './accounts.ts';
import { CommitsFile } from './commits-file.ts';
import { houseKeys, openEmbedded, registerAll } from './embedded.ts';
import { ChainLine, type LinePorts } from './line.ts';
import { Paymaster } from './paymaster.ts';

export interface ChainParts {
  options: ServerOptions;
  identity: Identity;
  /** Its own name for itself. */
  server: string;
  ledger: readonly RoundWork[];
  /** For the run's log. */
  report(level: 'info' | 'warning', code: string, message: string): void;
}

const SUBTENSOR_BLOCK_MS = 12_000;
/** Blocks between epochs: subtensor's default, and most subnets'. */
const SUBTENSOR_TEMPO = 360;

/** Ms in which scores halve. It must be known before a node answers. */
export function halfLifeOf({ chain, blockMs, tempo }: Pick<ServerOptions, 'chain' | 'blockMs' | 'tempo'>): number {
  return HALF_LIFE_TEMPOS * (chain ? SUBTENSOR_TEMPO * SUBTENSOR_BLOCK_MS : tempo * blockMs);
}

/** Throws `CONFIG_INVALID`, or what the store throws; a chain that cannot be reached is no reason. */
export async function openPaymaster({ options, identity, server, ledger, report }: ChainParts): Promise<Paymaster> {
  const { chain: endpoint, dataDir, netuid, tempo, hotkeyFile } = options;
  const keys = houseKeys(identity);
  const validators = options.validators.map(validatorOf);
  const hotkey = hotkeyFile === undefined ? null : await readHotkey(hotkeyFile);
  const blockMs = endpoint ? SUBTENSOR_BLOCK_MS : options.blockMs;
  const open: LinePorts['open'] = endpoint
    ? (onTrouble) => openSubtensor(options, endpoint, onTrouble)
    : (onTrouble) => openEmbedded({ dataDir, name: identity.serverName, netuid, blockMs, tempo, validators }, keys, onTrouble);
  const line = new ChainLine({ open, after, tell: tellAbout('The chain', report) });
  const accounts = await Accounts.open(
    await openStore(join(dataDir, 'identity.sqlite')),
    new Challenges((bytes) => crypto.getRandomValues(new Uint8Array(bytes))),
  );
  const validator: Signer | null = endpoint ? hotkey : (hotkey ?? keys.validator);
  const paymaster = new Paymaster({
    kind: endpoint ? 'subtensor' : 'embedded',
    line,
    accounts,
    server,
    netuid,
    validator,
    commits: new CommitsFile(dataDir, (validator ?? keys.validator).address),
    // Elsewhere, who mines registers by the coldkey that pays for it.
    prepare: async (chain, scores) => {
      if (!endpoint) await registerAll(chain, [...scores.keys()], keys.bank);
    },
    blockMs,
    roundSteps: options.roundSteps,
    halfLife: halfLifeOf(options),
    ledger,
    tell: tellAbout('Weights', report),
  });
  // A chain of its own is there at once; a node may take its time, and training does not wait.
  const opened = line.open();
  if (!endpoint) await opened;
  return paymaster;
}

const after: LinePorts['after'] = (ms, task) => {
  const timer = setTimeout(task, ms);
  return () => clearTimeout(timer);
};

async function openSubtensor(
  { netuid, genesis }: ServerOptions,
  endpoint: string,
  onTrouble: (error: SwarmError | null) => void,
): Promise<SubtensorChain> {
  const chain = await SubtensorChain.open({ endpoint, netuid, genesis: genesis?.replace(/^0x/, '') ?? null, after, onTrouble });
  void chain.run();
  return chain;
}

async function readHotkey(path: string): Promise<Signer> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new SwarmError('CONFIG_INVALID', `--hotkey-file ${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  });
  return hotkeyFrom(text);
}

/** `5F…=1000`: a hotkey, and its stake in TAO. Throws `CONFIG_INVALID`. */
function validatorOf(text: string): { hotkey: string; stake: number } {
  const [, hotkey, stake = '1000'] = /^(\w+)(?:=([1-9]\d{0,8}))?$/.exec(text) ?? [];
  try {
    decodeAddress(hotkey ?? '');
  } catch (error) {
    throw new SwarmError('CONFIG_INVALID', `--validator needs an SS58 address, or ADDRESS=TAO, not "${text}".`, { cause: error });
  }
  return { hotkey: hotkey!, stake: Number(stake) };
}

const tellAbout =
  (what: string, report: ChainParts['report']) =>
  (trouble: SwarmError | null): void => {
    if (trouble) report('warning', trouble.code, `${what}: ${trouble.message} ${trouble.hint}`);
    else report('info', 'CHAIN_WELL', `${what}: all is well.`);
  };
