/** Miners in an order, joined with what their accounts earn. Pure. */
import type { MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { isWanted, wanted } from '../chain/wanted.ts';
import { csvOf } from '../csv.ts';
import { nameOf, nameOfAccount } from '../names.ts';

export interface Ranked {
  /** Its account's place by score, as the server ranks accounts, shared by all who mine for it; who has no account is alone. From 1. */
  rank: number;
  /** Whether it is part of the run now. */
  here: boolean;
  name: string;
  /** Null: nothing is remembered of it but what its account earned. */
  miner: MinerView | null;
  /** Null: not in the ledger (yet). */
  account: PayView | null;
}

type Line = Omit<Ranked, 'rank'>;

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
  const lines: Line[] = stages.flatMap((stage) => stage.miners).map((miner) => lineOf(miner, true));
  for (const miner of gone) if (!shown.has(miner.id) && !shown.has(miner.device ?? '')) lines.push(lineOf(miner, false));
  for (const account of pay)
    if (!account.devices.some((device) => shown.has(device)))
      lines.push({ here: false, name: nameOfAccount(account), miner: null, account });
  const score = ({ account }: Line) => account?.score ?? 0;
  const work = ({ account }: Line) => account?.work ?? 0;
  const tokens = ({ miner }: Line) => miner?.tokens ?? 0;
  lines.sort((a, b) => tokens(b) - tokens(a));
  const places = [...Map.groupBy(lines, (line) => line.account ?? line).values()];
  places.sort(([a], [b]) => score(b!) - score(a!) || work(b!) - work(a!));
  return places.flatMap((place, i) => place.map((line) => ({ rank: i + 1, ...line })));
}

/** Of each account the first of these lines: what it earned stands there and on no other, so that a column adds up to what was paid. */
export const firstOfAccounts = (lines: readonly Ranked[]): ReadonlyMap<PayView | null, Ranked> =>
  new Map(lines.toReversed().map((line) => [line.account, line]));

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

/** By part of a name or of a GPU's, the beginning of an id, either end of a hotkey, or a UID. */
export function filtered(lines: readonly Ranked[], query: string): readonly Ranked[] {
  const meant = wanted(query);
  const { text } = meant;
  if (text === '') return lines;
  return lines.filter(
    ({ name, miner, account }) =>
      (text !== null && ([name, miner?.adapter ?? ''].some((field) => field.toLowerCase().includes(text)) || miner?.id.startsWith(text))) ||
      (account !== null && isWanted(account, meant)),
  );
}

const HEAD = ['rank', 'name', 'id', 'here', 'stage', 'activity', 'tokens_per_second', 'microbatches', 'tokens', 'refused'];
const ACCOUNT_HEAD = ['uid', 'address', 'score_flop', 'emission_rao'];

export function csvOfRanks(lines: readonly Ranked[]): string {
  const first = firstOfAccounts(lines);
  return csvOf(
    [...HEAD, ...ACCOUNT_HEAD],
    lines.map((line) => {
      const { rank, here, name, miner, account } = line;
      const work = miner ? [miner.tokensPerSecond, miner.microbatches, miner.tokens, miner.rejected] : [null, null, null, null];
      const { uid = null, address = null, score = 0, emission = '0' } = account ?? {};
      const who = [rank, name, miner?.id ?? null, here ? 'yes' : 'no', miner?.stage ?? null, here ? (miner?.activity ?? null) : null];
      const earned = account === null || first.get(account) === line ? [score, emission] : [null, null];
      return [...who, ...work, uid, address, ...earned];
    }),
  );
}
