/** What accounts are called where they stand beside their pay. Pure. */
import type { MinerView, PayView } from '@starling/protocol';
import { nameOf } from '../names.ts';

/** Names of one account that are shown; the server tells as many. */
const SHOWN = 5;

export type ByDevice = ReadonlyMap<string | null, readonly MinerView[]>;

export interface Called {
  name: string;
  /** Of the miner, which has a page; null: it is no part of the run, and only its name is known. */
  id: string | null;
}

/** Miners of an account that are in the run, and the names of those that were, each once. `byDevice`: who is in the run. */
export function called({ devices, names }: Pick<PayView, 'devices' | 'names'>, byDevice: ByDevice): Called[] {
  const miners = devices.flatMap((device) => byDevice.get(device) ?? []).map((miner) => ({ name: nameOf(miner), id: miner.id }));
  const known = new Set(miners.map(({ name }) => name));
  const others = names.filter((name) => name !== '' && !known.has(name)).map((name) => ({ name, id: null }));
  return [...miners, ...others].slice(0, SHOWN);
}
