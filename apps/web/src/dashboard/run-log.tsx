import type { RunEvent } from '@starling/protocol';
import { useState } from 'react';
import { clock, count } from '../format.ts';
import { Choice, type Option } from '../parts.tsx';

type Shown = 'all' | 'problems';
const SHOWN: Option<Shown>[] = [
  { value: 'all', label: 'All' },
  { value: 'problems', label: 'Problems' },
];
const TONES = { info: 'idle', warning: 'wait', error: 'bad' } as const;

/** What happened, newest first, under the counts that should stay small. */
export function RunLog({ events, counters }: { events: RunEvent[]; counters: Record<string, number> }) {
  const [shown, setShown] = useState<Shown>('all');
  const listed = events.filter((event) => shown === 'all' || event.level !== 'info').reverse();
  return (
    <section className="panel log" aria-labelledby="log">
      <div className="panel-head">
        <h2 id="log">Run log</h2>
        <Choice name="log" legend="Events" options={SHOWN} value={shown} onChange={setShown} />
      </div>
      <dl className="counters">
        {Object.entries(counters).map(([name, value]) => (
          <div key={name}>
            <dt>{inWords(name)}</dt>
            <dd>{count(value)}</dd>
          </div>
        ))}
      </dl>
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
                {event.message} <code className="code">{event.code}</code>
              </p>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

/** `handedOver` → `handed over` */
const inWords = (name: string) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
