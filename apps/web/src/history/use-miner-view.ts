import { type MinerView, SwarmError } from '@starling/protocol';
import { useCallback } from 'react';
import { getJson, type Polled, REFRESH_MS, usePolled } from '../api.ts';
import { useLive } from '../live.ts';
import type { Live } from '../live-state.ts';

/** Of whoever is in the live feed too, the answer is not needed until it leaves; then it is asked for at once. */
const IN_FEED_MS = 60_000;

/** The miner in the live feed: only those who are in the run. */
export const inFeed = ({ run }: Live, id: string | null | undefined): MinerView | undefined =>
  run?.stages.flatMap((stage) => stage.miners).find((miner) => miner.id === id);

/** How any miner stands. `miner` is null when the server knows none of that name (any more); null before the first answer. */
export function useMinerView(id: string): Polled<{ miner: MinerView | null }> {
  const live = useLive();
  const seen = live.connection === 'open' ? inFeed(live, id) : undefined;
  const load = useCallback(
    async (signal: AbortSignal) => {
      try {
        return { miner: await getJson<MinerView>(`/v1/miners/${encodeURIComponent(id)}`, signal) };
      } catch (error) {
        if (error instanceof SwarmError && error.code === 'NOT_FOUND') return { miner: null };
        throw error;
      }
    },
    [id],
  );
  const asked = usePolled(load, seen ? IN_FEED_MS : REFRESH_MS);
  return seen ? { value: { miner: seen }, error: null, pending: false } : asked;
}
