import { eventKind, type RunEvent } from '@starling/protocol';
import { memo, useMemo, useState } from 'react';
import { moment, traffic } from '../format.ts';
import { useNames } from '../names.ts';
import { Choice, type Option } from '../parts.tsx';
import { minerPath, minersIn, replayPath, splitAtMiners } from '../paths.ts';
import { Link } from '../router.tsx';
import { onThisClock } from '../server-clock.ts';
import { type LogLine, linesOf } from './log-lines.ts';
import { LogWindow } from './log-window.tsx';

type Shown = 'all' | 'merges' | 'miners' | 'problems';
const SHOWN: Option<Shown>[] = [
  { value: 'all', label: 'All' },
  { value: 'merges', label: 'Merges' },
  { value: 'miners', label: 'Miners' },
  { value: 'problems', label: 'Problems' },
];
const BELONGS: Record<Shown, (event: RunEvent) => boolean> = {
  all: () => true,
  merges: (event) => eventKind(event) === 'merge',
  miners: ({ code }) => code.startsWith('MINER_'),
  problems: (event) => eventKind(event) === 'problem',
};
const EMPTY: Record<Shown, string> = {
  all: 'Nothing happened yet.',
  merges: 'No step is merged yet.',
  miners: 'No miner came or went yet.',
  problems: 'No problems so far.',
};
const TONES = { info: 'idle', warning: 'wait', error: 'bad' } as const;

/** What happened, the newest first. `replay`: whether it is a way to the replay, or on its page already. */
export const RunLog = memo(function RunLog({ events, replay = true }: { events: RunEvent[]; replay?: boolean }) {
  const [shown, setShown] = useState<Shown>('all');
  const lines = useMemo(() => linesOf(events.filter(BELONGS[shown])), [events, shown]);
  const named = useMemo(() => lines.flatMap(({ text }) => minersIn(text)), [lines]);
  const nameOf = useNames(named);
  return (
    <section className="panel log" aria-labelledby="log">
      <div className="panel-head">
        <h2 id="log">Run log</h2>
        {replay && <Link to="/replay">Replay</Link>}
        <Choice name="log" legend="Events" options={SHOWN} value={shown} onChange={setShown} />
      </div>
      {lines.length === 0 ? (
        <p className="empty">{EMPTY[shown]}</p>
      ) : (
        <LogWindow key={shown} lines={lines}>
          {(line) => <Line line={line} nameOf={nameOf} />}
        </LogWindow>
      )}
    </section>
  );
});

function Line({ line: { event, text, bytes }, nameOf }: { line: LogLine; nameOf: (id: string) => string }) {
  return (
    <div className={`log-line ${TONES[event.level]}`}>
      <div className="log-when">
        <span>
          <When event={event} />
          {bytes && <span className="log-bytes"> · {traffic(bytes)}</span>}
        </span>{' '}
        <code className="code">{event.code}</code>
      </div>
      <p className="log-text">
        {event.level !== 'info' && <b>{event.level === 'error' ? 'Error: ' : 'Warning: '}</b>}
        <Named sentence={text} nameOf={nameOf} />
      </p>
    </div>
  );
}

/** A way to what the run was like then, where an entry of its log caused the event. */
function When({ event: { time, entry } }: { event: RunEvent }) {
  const shown = onThisClock(time);
  const text = <time dateTime={new Date(shown).toISOString()}>{moment(shown, Date.now())}</time>;
  if (entry === undefined) return text;
  return (
    <Link to={replayPath(entry)} className="named" title="The run at this moment">
      {text}
    </Link>
  );
}

/** A sentence whose miners can be followed. */
function Named({ sentence, nameOf }: { sentence: string; nameOf: (id: string) => string }) {
  return splitAtMiners(sentence).map((piece, i) =>
    i % 2 === 1 ? (
      <Link key={i} to={minerPath(piece)} className="named" title={piece}>
        {nameOf(piece)}
      </Link>
    ) : (
      piece
    ),
  );
}
