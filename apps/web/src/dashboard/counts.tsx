import { count } from '../format.ts';

/** The run's counters in plain words, in the order in which they say most. */
const WORDS: Record<string, [word: string, meaning: string]> = {
  handedOver: ['Handed over', 'leases and gradients that went to another miner'],
  passedOn: ['Passed on', 'leases not begun that another miner took over'],
  hedged: ['Hedged', 'slow leases that a second miner was given too'],
  recomputed: ['Recomputed', 'backwards whose input went to another miner'],
  redone: ['Redone', 'late gradients that others computed again'],
  surplus: ['Surplus', 'receipts that came when others had been first'],
  rejected: ['Refused', 'messages not taken, each for a stated reason'],
  moved: ['Moved', 'miners sent to another stage'],
  bans: ['Bans', 'pauses of miners that were late too often'],
  resynchronised: ['Fetched again', 'stages of miners whose parameters differed'],
  abandoned: ['Left out', 'microbatches given up in their step'],
};

/** What faults cost: all of it should stay small. */
export function Counts({ counters }: { counters: Record<string, number> }) {
  const unknown = Object.keys(counters).filter((name) => !Object.hasOwn(WORDS, name));
  const shown = [...Object.keys(WORDS).filter((name) => Object.hasOwn(counters, name)), ...unknown];
  return (
    <section className="panel counts" aria-labelledby="counts">
      <div className="panel-head">
        <h2 id="counts">Moved, repeated, lost</h2>
        <p className="muted">What faults cost so far; all of it should stay small.</p>
      </div>
      <dl>
        {shown.map((name) => {
          const [word, meaning] = WORDS[name] ?? [inWords(name), ''];
          return (
            <div key={name} className={counters[name] === 0 ? 'none' : ''}>
              <dt>
                <b>{word}</b> <span>{meaning}</span>
              </dt>
              <dd>{count(counters[name])}</dd>
            </div>
          );
        })}
      </dl>
    </section>
  );
}

/** `handedOver` → `Handed over` */
const inWords = (name: string) =>
  name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).replace(/^./, (first) => first.toUpperCase());
