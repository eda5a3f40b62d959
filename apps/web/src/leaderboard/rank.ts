/** Miners in an order, joined with what their accounts earn. Pure. */
import type { MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { isWanted, wanted } from '../chain/wanted.ts';
import { csvOf } from '../csv.ts';

export interface Ranked {
  /** By score, from 1; those without any share the last place. */
  rank: number;
  miner: MinerView;
  /** Null: not in the ledger (yet). */
  account: PayView | null;
}

export type Key = 'rank' | 'name' | 'stage' | 'tokensPerSecond' | 'microbatches' | 'tokens' | 'rejected' | 'score' | 'emission';
export interface Order {
  key: Key;
  descending: boolean;
}

/** An account's miners are those that its devices sign for. */
export function ranked({ stages }: Pick<RunSnapshot, 'stages'>, pay: readonly PayView[]): Ranked[] {
  const accounts = new Map(pay.flatMap((account) => account.devices.map((device) => [device, account] as const)));
  const accountOf = ({ device }: MinerView) => (device === null ? null : (accounts.get(device) ?? null));
  const miners = stages.flatMap((stage) => stage.miners).map((miner) => ({ miner, account: accountOf(miner) }));
  const score = ({ account }: { account: PayView | null }) => account?.score ?? 0;
  miners.sort((a, b) => score(b) - score(a) || b.miner.tokens - a.miner.tokens);
  return miners.map((one, i) => ({ rank: i + 1, ...one }));
}

const VALUES: Record<Key, (line: Ranked) => number | string> = {
  rank: ({ rank }) => rank,
  name: ({ miner }) => (miner.name || miner.id).toLowerCase(),
  stage: ({ miner }) => miner.stage ?? -1,
  tokensPerSecond: ({ miner }) => miner.tokensPerSecond,
  microbatches: ({ miner }) => miner.microbatches,
  tokens: ({ miner }) => miner.tokens,
  rejected: ({ miner }) => miner.rejected,
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
    ({ miner, account }) =>
      (text !== null && [miner.name, miner.id, miner.adapter].some((field) => field.toLowerCase().includes(text))) ||
      (account !== null && isWanted(account, meant)),
  );
}

const HEAD = ['rank', 'name', 'id', 'stage', 'activity', 'tokens_per_second', 'microbatches', 'tokens', 'refused'];
const ACCOUNT_HEAD = ['uid', 'address', 'score_flop', 'emission_rao'];

export const csvOfRanks = (lines: readonly Ranked[]): string =>
  csvOf(
    [...HEAD, ...ACCOUNT_HEAD],
    lines.map(({ rank, miner, account }) => {
      const { name, id, stage, activity, tokensPerSecond, microbatches, tokens, rejected } = miner;
      const { uid = null, address = null, score = 0, emission = '0' } = account ?? {};
      return [rank, name, id, stage, activity, tokensPerSecond, microbatches, tokens, rejected, uid, address, score, emission];
    }),
  );
