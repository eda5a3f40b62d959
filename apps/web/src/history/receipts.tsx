import type { LeaseKind, ReceiptEntry } from '@starling/protocol';
import { count, moment, took } from '../format.ts';
import { onThisClock } from '../server-clock.ts';

/** What becomes of a receipt, and what that means. */
export const OUTCOMES = {
  counted: { tone: 'work', label: 'Counted', meaning: 'receipts that went into a step' },
  surplus: { tone: 'idle', label: 'Surplus', meaning: 'others were first: nobody is blamed, nothing is earned' },
  refused: { tone: 'bad', label: 'Refused', meaning: 'not taken, for a reason stated below' },
  lost: { tone: 'wait', label: 'Lost', meaning: 'nothing came of it in time' },
} as const satisfies Record<ReceiptEntry['outcome'], { tone: string; label: string; meaning: string }>;

const KINDS: Record<LeaseKind, string> = { forward: 'forward', backward: 'backward', evaluate: 'evaluation' };

/** One page of a miner's history; a refusal is followed by why, and what helps. */
export function Receipts({ receipts, now, label }: { receipts: readonly ReceiptEntry[]; now: number; label: string }) {
  return (
    <table className="receipts">
      <caption className="visually-hidden">{label}</caption>
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">Work</th>
          <th scope="col" className="number">
            Took
          </th>
          <th scope="col">Outcome</th>
        </tr>
      </thead>
      {receipts.map((receipt, place) => (
        // By place, not by id: when new ones come, texts change and nothing moves.
        <tbody key={place}>
          <Receipt receipt={receipt} now={now} />
        </tbody>
      ))}
    </table>
  );
}

function Receipt({ receipt: { time, work, leaseId, outcome, error }, now }: { receipt: ReceiptEntry; now: number }) {
  const shown = onThisClock(time);
  const { tone, label } = OUTCOMES[outcome];
  return (
    <>
      <tr>
        <td className="when">
          <time dateTime={new Date(shown).toISOString()}>{moment(shown, now)}</time>
        </td>
        <td>
          {work ? (
            <>
              <span className="work-kind">{KINDS[work.kind] ?? work.kind}</span>{' '}
              <span className="work-at">
                <span>stage {work.stage}</span> <span>step {count(work.version)}</span> <span>microbatch {count(work.microbatch)}</span>
              </span>
            </>
          ) : (
            <span className="muted">{leaseId === null ? 'no lease' : 'a lease'}</span>
          )}
        </td>
        <td className="number">{work ? took(work.tookMs) : '–'}</td>
        <td className={`outcome ${tone}`}>
          <span className="lamp" />
          {label.toLowerCase()}
        </td>
      </tr>
      {error && (
        <tr className="why">
          <td colSpan={4}>
            {error.message} <span className="hint">{error.hint}</span> <code className="code">{error.code}</code>
          </td>
        </tr>
      )}
    </>
  );
}
