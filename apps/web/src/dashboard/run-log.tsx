import type { RunEvent } from '@starling/protocol';
import { useState } from 'react';
import { clock } from '../format.ts';
import { Choice, type Option } from '../parts.tsx';
import { minerPath, splitAtMiners } from '../paths.ts';
import { Link } from '../router.tsx';

type Shown = 'all' | 'problems';
const SHOWN: Option<Shown>[] = [
  { value: 'all', label: 'All' },
  { value: 'problems', label: 'Problems' },
];
const TONES = { info: 'idle', warning: 'wait', error: 'bad' } as const;

/** What happened, the newest first. */
export function RunLog({ events }: { events: RunEvent[] }) {
  const [shown, setShown] = useState<Shown>('all');
  const listed = events.filter((event) => shown === 'all' || event.level !== 'info').reverse();
  return (
    <section className="panel log" aria-labelledby="log">
      <div className="panel-head">
        <h2 id="log">Run log</h2>
        <Choice name="log" legend="Events" options={SHOWN} value={shown} onChange={setShown} />
      </div>
      {listed.length === 0 ? (
        <p className="empty">{shown === 'all' ? 'Nothing happened yet.' : 'No problems so far.'}</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a list that scrolls must be reachable by keyboard.
        <ol tabIndex={0} className="log-list">
          {listed.map((event) => (
            <li key={`${event.time}${event.code}${event.message}`} className={TONES[event.level]}>
              <time>{clock(event.time)}</time>
              <p>
                {event.level !== 'info' && <b>{event.level === 'error' ? 'Error: ' : 'Warning: '}</b>}
                <Named sentence={event.message} /> <code className="code">{event.code}</code>
              </p>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

/** A sentence whose miners can be followed. */
function Named({ sentence }: { sentence: string }) {
  return splitAtMiners(sentence).map((piece, i) =>
    i % 2 === 1 ? (
      <Link key={i} to={minerPath(piece)} className="named">
        {piece}
      </Link>
    ) : (
      piece
    ),
  );
}
