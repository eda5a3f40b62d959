/** Miners in an order, joined with what their accounts earn. Pure. */
import type { MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { isWanted, wanted } from '../chain/wanted.ts';
import { csvOf } from '../csv.ts';
import { nameOf, nameOfAccount } from '../names.ts';

export interface Ranked {
  /** By score, from 1; those without any share the last place. */
  rank: number;
  /** Whether it is part of the run now. */
  here: boolean;
  name: string;
  /** Null: nothing is remembered of it but what its account earned. */
  miner: MinerView | null;
  /** Null: not in the ledger (yet). */
  account: PayView | null;
}

export type Key = 'rank' | 'name' | 'stage' | 'tokensPerSecond' | 'microbatches' | 'tokens' | 'rejected' | 'score' | 'emission';
export interface Order {
  key: Key;
  descending: boolean;
}

/**
 * All who are here and all who did something: an account's miners are those that its devices sign for. Whoever came back as another is
 * here and did not leave. `gone`: those that did most first.
 */
export function ranked({ stages }: Pick<RunSnapshot, 'stages'>, pay: readonly PayView[], gone: readonly MinerView[]): Ranked[] {
  const accounts = new Map(pay.flatMap((account) => account.devices.map((device) => [device, account] as const)));
  const shown = new Set<string>();
  const lineOf = (miner: MinerView, here: boolean) => {
    shown.add(miner.id);
    if (miner.device !== null) shown.add(miner.device);
    return { here, name: nameOf(miner), miner, account: miner.device === null ? null : (accounts.get(miner.device) ?? null) };
  };
  const lines: Omit<Ranked, 'rank'>[] = stages.flatMap((stage) => stage.miners).map((miner) => lineOf(miner, true));
  for (const miner of gone) if (!shown.has(miner.id) && !shown.has(miner.device ?? '')) lines.push(lineOf(miner, false));
  for (const account of pay)
    if (!account.devices.some((device) => shown.has(device)))
      lines.push({ here: false, name: nameOfAccount(account), miner: null, account });
  const score = ({ account }: Omit<Ranked, 'rank'>) => account?.score ?? 0;
  const tokens = ({ miner }: Omit<Ranked, 'rank'>) => miner?.tokens ?? 0;
  lines.sort((a, b) => score(b) - score(a) || tokens(b) - tokens(a));
  return lines.map((line, i) => ({ rank: i + 1, ...line }));
}

const VALUES: Record<Key, (line: Ranked) => number | string> = {
  rank: ({ rank }) => rank,
  name: ({ name }) => name.toLowerCase(),
  stage: ({ miner }) => miner?.stage ?? -1,
  tokensPerSecond: ({ miner }) => miner?.tokensPerSecond ?? 0,
  microbatches: ({ miner }) => miner?.microbatches ?? 0,
  tokens: ({ miner }) => miner?.tokens ?? 0,
  rejected: ({ miner }) => miner?.rejected ?? 0,
  score: ({ account }) => account?.score ?? 0,
  emission: ({ account }) => Number(account?.emission ?? 0),
};

export function ordered(lines: readonly Ranked[], { key, descending }: Order): Ranked[] {
  const value = VALUES[key];
  const direction = descending ? -1 : 1;
  return lines.toSorted((a, b) => {
    const [x, y] = [value(a), value(b)];
    return (x < y ? -1 : x > y ? 1 : 0) * direction || a.rank - b.rank;
  });
}

/** By name, id, device, hotkey or UID. */
export function filtered(lines: readonly Ranked[], query: string): readonly Ranked[] {
  const meant = wanted(query);
  const { text } = meant;
  if (text === '') return lines;
  return lines.filter(
    ({ name, miner, account }) =>
      (text !== null && [name, miner?.id ?? '', miner?.adapter ?? ''].some((field) => field.toLowerCase().includes(text))) ||
      (account !== null && isWanted(account, meant)),
  );
}

const HEAD = ['rank', 'name', 'id', 'here', 'stage', 'activity', 'tokens_per_second', 'microbatches', 'tokens', 'refused'];
const ACCOUNT_HEAD = ['uid', 'address', 'score_flop', 'emission_rao'];

export const csvOfRanks = (lines: readonly Ranked[]): string =>
  csvOf(
    [...HEAD, ...ACCOUNT_HEAD],
    lines.map(({ rank, here, name, miner, account }) => {
      const work = miner ? [miner.tokensPerSecond, miner.microbatches, miner.tokens, miner.rejected] : [null, null, null, null];
      const { uid = null, address = null, score = 0, emission = '0' } = account ?? {};
      const who = [rank, name, miner?.id ?? null, here ? 'yes' : 'no', miner?.stage ?? null, here ? (miner?.activity ?? null) : null];
      return [...who, ...work, uid, address, score, emission];
    }),
  );
