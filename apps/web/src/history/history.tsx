import type { ReceiptEntry, WireError } from '@starling/protocol';
import { useCallback, useEffect, useEffectEvent, useState } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { clock, count } from '../format.ts';
import { useNow } from '../now.ts';
import { ErrorText } from '../parts.tsx';
import { onThisClock } from '../server-clock.ts';
import { Pager } from './pager.tsx';
import { ASKED_FOR, NEWEST, type Page, type Place, pageOf } from './paging.ts';
import { Receipts } from './receipts.tsx';

/** What became of everything a miner sent, page by page. Give it the id as its `key`. `onShown`: there is something to see. */
export function History({ id, empty, onShown }: { id: string; empty: string; onShown?: () => void }) {
  const [place, setPlace] = useState<Place>(NEWEST);
  const now = useNow();
  const load = useCallback(
    async (signal: AbortSignal): Promise<Page<ReceiptEntry>> => {
      const before = place.length > 0 ? `&before=${place.at(-1)}` : '';
      const path = `/v1/miners/${encodeURIComponent(id)}/receipts?limit=${ASKED_FOR}${before}`;
      return pageOf((await getJson<{ receipts: ReceiptEntry[] }>(path, signal)).receipts);
    },
    [id, place],
  );
  // Older pages never change.
  const { value: page, error, pending } = usePolled(load, place === NEWEST ? REFRESH_MS : null);
  const isShown = page !== null || error !== null;
  const shows = useEffectEvent(() => onShown?.());
  useEffect(() => {
    if (isShown) shows();
  }, [isShown]);
  if (!page) return error ? <Trouble error={error} /> : <p className="empty history-empty">Asking for the receipts…</p>;
  const { entries: receipts } = page;
  const onNewest = place.length === 0;
  return (
    <>
      {error && error.code !== 'CONNECTION_LOST' && <ErrorText error={error} />}
      {receipts.length === 0 ? (
        <p className="empty history-empty">{empty}</p>
      ) : (
        <div className={pending ? 'pending' : ''} aria-busy={pending}>
          <Receipts receipts={receipts} now={now} label={`Receipts, ${onNewest ? 'the newest' : 'older ones'}; the newest first`} />
        </div>
      )}
      {(receipts.length > 0 || !onNewest) && (
        <Pager
          label="Pages of the history"
          status={pending ? 'Asking…' : error ? OLD : onNewest ? 'The newest, refreshed every few seconds.' : span(place, receipts)}
          place={place}
          page={page}
          pending={pending}
          onPlace={setPlace}
        />
      )}
    </>
  );
}

const OLD = 'Not up to date: the server cannot be reached. This page tries again by itself.';

/** Which part of the history an older page is. */
function span(place: Place, receipts: ReceiptEntry[]): string {
  const times = receipts.map(({ time }) => clock(onThisClock(time)));
  return `Page ${count(place.length + 1)}: from ${times[0]} back to ${times.at(-1)}.`;
}

/** What is shown is old, or nothing is. */
export function Trouble({ error }: { error: WireError }) {
  if (error.code !== 'CONNECTION_LOST') return <ErrorText error={error} />;
  return (
    <p className="trouble">
      The server cannot be reached; what you see is its last word. <span className="hint">This page tries again by itself.</span>{' '}
      <code className="code">{error.code}</code>
    </p>
  );
}
