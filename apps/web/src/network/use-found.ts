import type { ChainView, MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { useCallback, useMemo } from 'react';
import { getJson, usePolled } from '../api.ts';

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
export function found(run: Pick<RunSnapshot, 'stages'>, text: string, pay: readonly PayView[]): MinerView[] {
  const meant = pay.filter(({ uid, address }) => String(uid) === text || address.toLowerCase().startsWith(text));
  const devices = new Set(meant.flatMap((account) => account.devices));
  return run.stages
    .flatMap(({ miners }) => miners)
    .filter(
      ({ id, name, device }) =>
        (device !== null && devices.has(device)) || name.toLowerCase().includes(text) || id.toLowerCase().startsWith(text),
    );
}
