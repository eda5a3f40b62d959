import { count, plural } from '../format.ts';
import { History } from '../history/history.tsx';
import { useMinerView } from '../history/use-miner-view.ts';
import { useIsComplete } from '../live.ts';
import { minerPath } from '../paths.ts';
import { Link } from '../router.tsx';
import { hopeless } from './device.ts';
import { otherMiners, useOwnId } from './mining.ts';

/** What the server says of this tab's miner, over every reload and restart, and after the tab was closed. */
export function OwnHistory() {
  const id = useOwnId();
  const isComplete = useIsComplete();
  return (
    <section className="panel history" aria-labelledby="history">
      <div className="panel-head">
        <h2 id="history">History</h2>
        {id !== null && <Link to={minerPath(id)}>This miner’s page, for anybody to read</Link>}
      </div>
      {id === null ? (
        <p className="empty history-empty">
          {hopeless()
            ? 'This page cannot mine, so there is nothing to list.'
            : isComplete
              ? 'The run is complete, and nothing of it was mined here.'
              : 'Press Start: every receipt of this tab, and what became of it, is then listed here, as the server has written it down.'}
        </p>
      ) : (
        <>
          <Totals key={id} id={id} />
          <Others />
          <History
            key={`${id} receipts`}
            id={id}
            empty="No receipts yet. The first ones come when this miner has work; the top says what it waits for."
          />
        </>
      )}
    </section>
  );
}

/** Each tab that mines at the same time is a miner of its own. */
function Others() {
  const others = otherMiners();
  if (others.length === 0) return null;
  return (
    <p className="history-totals">
      Other tabs of this browser mined as{' '}
      {others.map((id, i) => (
        <span key={id}>
          {i > 0 && ', '}
          <Link to={minerPath(id)}>{id}</Link>
        </span>
      ))}
      .
    </p>
  );
}

/** Since it first joined; the numbers above are since Start. */
function Totals({ id }: { id: string }) {
  const { value } = useMinerView(id);
  const miner = value?.miner;
  const isComplete = useIsComplete();
  return (
    <p className="history-totals">
      {miner && (
        <>
          In all sessions: <b>{count(miner.microbatches)}</b> counted, <b>{count(miner.surplus)}</b> surplus, <b>{count(miner.tokens)}</b>{' '}
          tokens{miner.stage !== null && `; now on stage ${miner.stage}, ${plural(miner.leases, 'lease')} under way`}.
        </>
      )}
      {value && !miner && `This miner is not in the run now${isComplete ? ';' : '. Start brings it back;'} what it sent is kept.`}
    </p>
  );
}
