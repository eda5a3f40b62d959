import '../styles/dashboard.css';
import '../styles/replay.css';
import type { Moment, MomentRange } from '@starling/protocol';
import { useCallback, useEffect, useRef, useState } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { Curves } from '../charts/curves.tsx';
import { RunLog } from '../dashboard/run-log.tsx';
import { Stages } from '../dashboard/stages.tsx';
import { compact, count, moment as momentText } from '../format.ts';
import { Network } from '../network/network.tsx';
import { ErrorText, Notice } from '../parts.tsx';
import { replayPath } from '../paths.ts';
import { readdress, useSearch } from '../router.tsx';
import { CopyLink } from './copy-link.tsx';
import { movesSince, placeAt, placesIn, seqAt, seqIn, strideIn } from './place.ts';

const loadRange = (signal: AbortSignal) => getJson<MomentRange>('/v1/moments', signal);
const seek = (seq: number) => readdress(replayPath(seq));
/** Between two moments while it plays. */
const PLAY_MS = 700;

/** The run at any moment of its log: what the pages showed then. The address says which, so that it can be shared. */
export default function ReplayPage() {
  // The run may go on meanwhile.
  const { value: range, error: rangeError } = usePolled(loadRange, REFRESH_MS);
  const wanted = seqIn(useSearch());
  /** The last entry when Play was pressed, up to which it plays; null while it does not. A run that goes on would never end. */
  const [until, setUntil] = useState<number | null>(null);
  const seq = range ? Math.min(Math.max(wanted ?? range.last.seq, range.first.seq), range.last.seq) : null;
  const stride = range ? strideIn(range) : 1;
  /** The entry that was shown before. */
  const before = useRef(0);
  const load = useCallback(
    async (signal: AbortSignal) => {
      if (seq === null) return null;
      const moment = await getJson<Moment>(`/v1/moments/${seq}`, signal);
      if (signal.aborted) return null;
      const moves = movesSince(moment, before.current, stride);
      before.current = seq;
      return { ...moment, moves };
    },
    [seq],
  );
  const { value: shown, error, pending } = usePolled(load, null);

  useEffect(() => {
    // What is shown stays, though the log grows; the address says which entry it is, also where it named one that is not there.
    if (seq !== null && wanted !== seq) seek(seq);
  }, [wanted, seq]);

  useEffect(() => {
    if (until === null || !range || pending || seq === null) return;
    if (seq >= until) {
      setUntil(null);
      return;
    }
    const timer = setTimeout(() => seek(Math.min(until, seq + stride)), PLAY_MS);
    return () => clearTimeout(timer);
  }, [until, range, pending, seq]);

  const isReading = pending && !error;
  if (!range || seq === null)
    return rangeError ? (
      <Notice tone="wait" title="There is nothing to replay yet.">
        <ErrorText error={rangeError} />
      </Notice>
    ) : (
      <p className="empty">Asking for the log…</p>
    );
  return (
    <div className="dashboard replay" aria-busy={isReading}>
      <section className="panel replay-bar" aria-labelledby="replay">
        <div className="panel-head">
          <h1 id="replay">Replay</h1>
          <p className="muted" aria-live="off">
            {shown ? `${momentText(shown.at, Date.now())} · entry ${count(shown.seq)} of ${count(range.last.seq)}` : 'Reading the log…'}
            {shown && ` · step ${count(shown.run.step)} · ${compact(shown.run.tokens)} tokens`}
            {shown && isReading && ` · reading entry ${count(seq)}…`}
          </p>
        </div>
        <div className="replay-controls">
          <button
            type="button"
            className="quiet"
            onClick={() => {
              if (seq >= range.last.seq && until === null) seek(range.first.seq);
              setUntil(until === null ? range.last.seq : null);
            }}
          >
            {until === null ? 'Play' : 'Pause'}
          </button>
          <input
            type="range"
            min={0}
            max={placesIn(range)}
            step={1}
            aria-label="Moment of the run"
            aria-valuetext={shown ? `entry ${shown.seq}` : undefined}
            value={placeAt(range, seq)}
            onChange={(event) => {
              setUntil(null);
              seek(seqAt(range, event.target.valueAsNumber));
            }}
          />
          <CopyLink address={new URL(replayPath(seq), location.href).href} />
        </div>
        {shown?.otherRules && (
          <p className="muted">
            A server of another release wrote this part of the log, under rules {shown.otherRules.written}. It is shown by rules{' '}
            {shown.otherRules.shown}, so this moment may not have been quite so.
          </p>
        )}
        {error && <ErrorText error={error} />}
      </section>
      {shown && (
        <>
          <Network run={shown.run} moves={shown.moves} />
          <Curves run={shown.run} points={shown.points} />
          <RunLog events={shown.events} replay={false} />
          <Stages run={shown.run} />
        </>
      )}
    </div>
  );
}
