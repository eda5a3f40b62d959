import '../styles/dashboard.css';
import '../styles/replay.css';
import type { Moment, MomentRange } from '@starling/protocol';
import { useCallback, useEffect, useState } from 'react';
import { getJson, usePolled } from '../api.ts';
import { Curves } from '../charts/curves.tsx';
import { RunLog } from '../dashboard/run-log.tsx';
import { Stages } from '../dashboard/stages.tsx';
import { compact, count, moment as momentText } from '../format.ts';
import { Network } from '../network/network.tsx';
import { ErrorText, Notice } from '../parts.tsx';
import { replayPath } from '../paths.ts';
import { readdress, useSearch } from '../router.tsx';
import { CopyLink } from './copy-link.tsx';
import { placeAt, seqIn } from './place.ts';

const loadRange = (signal: AbortSignal) => getJson<MomentRange>('/v1/moments', signal);
const seek = (seq: number) => readdress(replayPath(seq));
/** Places on the slider. */
const PLACES = 1_000;
/** Between two moments while it plays, and how many it takes from one end to the other. */
const PLAY_MS = 700;
const PLAY_STEPS = 120;

/** The run at any moment of its log: what the pages showed then. The address says which, so that it can be shared. */
export default function ReplayPage() {
  const { value: range, error: rangeError } = usePolled(loadRange, null);
  const wanted = seqIn(useSearch());
  const [playing, setPlaying] = useState(false);
  const seq = range ? Math.min(Math.max(wanted ?? range.last.seq, range.first.seq), range.last.seq) : null;
  const load = useCallback(
    async (signal: AbortSignal) => (seq === null ? null : await getJson<Moment>(`/v1/moments/${seq}`, signal)),
    [seq],
  );
  const { value: shown, error, pending } = usePolled(load, null);

  useEffect(() => {
    if (!playing || !range || pending || seq === null) return;
    if (seq >= range.last.seq) {
      setPlaying(false);
      return;
    }
    const stride = Math.max(1, Math.ceil((range.last.seq - range.first.seq) / PLAY_STEPS));
    const timer = setTimeout(() => seek(Math.min(range.last.seq, seq + stride)), PLAY_MS);
    return () => clearTimeout(timer);
  }, [playing, range, pending, seq]);

  if (!range || seq === null)
    return rangeError ? (
      <Notice tone="wait" title="There is nothing to replay yet.">
        <ErrorText error={rangeError} />
      </Notice>
    ) : (
      <p className="empty">Asking for the log…</p>
    );
  return (
    <div className="dashboard replay">
      <section className="panel replay-bar" aria-labelledby="replay">
        <div className="panel-head">
          <h1 id="replay">Replay</h1>
          <p className="muted" aria-live="off">
            {shown ? `${momentText(shown.at, Date.now())} · entry ${count(shown.seq)} of ${count(range.last.seq)}` : 'Reading the log…'}
            {shown && ` · step ${count(shown.run.step)} · ${compact(shown.run.tokens)} tokens`}
          </p>
        </div>
        <div className="replay-controls">
          <button
            type="button"
            className="quiet"
            onClick={() => {
              if (seq >= range.last.seq && !playing) seek(range.first.seq);
              setPlaying(!playing);
            }}
          >
            {playing ? 'Pause' : 'Play'}
          </button>
          <input
            type="range"
            min={0}
            max={PLACES}
            step={1}
            aria-label="Moment of the run"
            aria-valuetext={shown ? `entry ${shown.seq}` : undefined}
            value={placeAt(range, seq, PLACES)}
            onChange={(event) => {
              setPlaying(false);
              seek(Math.round(range.first.seq + (event.target.valueAsNumber / PLACES) * (range.last.seq - range.first.seq)));
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
          <Network run={shown.run} live={false} />
          <Curves run={shown.run} points={shown.points} />
          <RunLog events={shown.events} replay={false} />
          <Stages run={shown.run} />
        </>
      )}
    </div>
  );
}
