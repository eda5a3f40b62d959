import type { ChainView, MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { useCallback, useMemo } from 'react';
import { getJson, usePolled } from '../api.ts';
import { isWanted, wanted } from '../chain/wanted.ts';

/** Accounts change slowly; they are asked for only when somebody looks for one. */
const ACCOUNTS_MS = 30_000;
const NONE: readonly MinerView[] = [];

/** Miners that a query means: by name, id, UID or hotkey. */
export function useFound(run: RunSnapshot, query: string): readonly MinerView[] {
  const text = query.trim().toLowerCase();
  const asked = text !== '';
  const load = useCallback(async (signal: AbortSignal) => (asked ? (await getJson<ChainView>('/v1/chain', signal)).pay : []), [asked]);
  const { value: pay } = usePolled(load, asked ? ACCOUNTS_MS : null);
  return useMemo(() => (asked ? found(run, text, pay ?? []) : NONE), [run, text, asked, pay]);
}

/** Pure: an account’s miners are those that its devices sign for. */
export function found(run: Pick<RunSnapshot, 'stages'>, query: string, pay: readonly PayView[]): MinerView[] {
  const meant = wanted(query);
  const devices = new Set(pay.filter((account) => isWanted(account, meant)).flatMap((account) => account.devices));
  const isNamed = ({ id, name }: MinerView) =>
    meant.text !== null && (name.toLowerCase().includes(meant.text) || id.toLowerCase().startsWith(meant.text));
  return run.stages
    .flatMap(({ miners }) => miners)
    .filter((miner) => (miner.device !== null && devices.has(miner.device)) || isNamed(miner));
}
