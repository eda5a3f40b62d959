/** What miners and accounts are called, wherever they are named. */
import { MINERS_AT_ONCE, type MinerView, type PayView, type RunSnapshot } from '@starling/protocol';
import { useCallback, useMemo } from 'react';
import { getJson, usePolled } from './api.ts';
import { brief } from './chain/amounts.ts';
import { useLive } from './live.ts';

/** The name that it gave itself; it need not have one. */
export const nameOf = ({ id, name }: Pick<MinerView, 'id' | 'name'>): string => name || id;

/** One of the names of its miners, which need none. */
export const nameOfAccount = ({ names, address }: Pick<PayView, 'names' | 'address'>): string => names.find(Boolean) ?? brief(address);

/** By id, of those who are no part of the run, as the server remembered them when they were asked for. */
const left = new Map<string, string>();

/** Names by id: those who are here as the live feed says, those who left as the server remembers them. Of nobody else: the id itself. */
export function useNames(ids: readonly string[]): (id: string) => string {
  const { run } = useLive();
  const here = useMemo(() => run && namesIn(run), [run]);
  const missing = here ? missingOf(ids, here, left).join() : '';
  const load = useCallback(
    async (signal: AbortSignal) => {
      if (missing === '') return missing;
      const { miners } = await getJson<{ miners: MinerView[] }>(`/v1/miners?ids=${encodeURIComponent(missing)}`, signal);
      for (const id of missing.split(',')) left.set(id, nameOf(miners.find((miner) => miner.id === id) ?? { id, name: '' }));
      return missing;
    },
    [missing],
  );
  usePolled(load, null);
  return (id) => here?.get(id) ?? left.get(id) ?? id;
}

export const namesIn = ({ stages }: Pick<RunSnapshot, 'stages'>): ReadonlyMap<string, string> =>
  new Map(stages.flatMap(({ miners }) => miners).map((miner) => [miner.id, nameOf(miner)]));

/** Who has to be asked for, each once, and no more than the server takes at once. */
export function missingOf(ids: readonly string[], ...known: readonly ReadonlyMap<string, string>[]): string[] {
  return [...new Set(ids)].filter((id) => known.every((names) => !names.has(id))).slice(0, MINERS_AT_ONCE);
}
