import '../styles/leaderboard.css';
import type { ChainView, MinerView } from '@starling/protocol';
import { useMemo, useRef, useState } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { brief, coins, work } from '../chain/amounts.ts';
import { compact, count, plural } from '../format.ts';
import { Trouble } from '../history/history.tsx';
import { useLive } from '../live.ts';
import { situation } from '../mine/activity.ts';
import { useMiner } from '../mine/mining.ts';
import { useNow } from '../now.ts';
import { Notice } from '../parts.tsx';
import { minerPath, stagePath } from '../paths.ts';
import { Link } from '../router.tsx';
import { save } from '../save.ts';
import { csvOfRanks, filtered, firstOfAccounts, type Key, type Order, ordered, type Ranked, ranked } from './rank.ts';

const load = (signal: AbortSignal) => getJson<ChainView>('/v1/chain', signal);
const loadGone = (signal: AbortSignal) => getJson<{ miners: MinerView[] }>('/v1/miners', signal);
/** Who left does nothing new; until this is asked again, it stands there by what its account earned. */
const GONE_MS = 15_000;
/** Of a line, px: as in the stylesheet. */
const LINE = 40;
/** Lines drawn above and below what is seen. */
const MARGIN = 8;

const COLUMNS: { key: Key | null; head: string; number?: boolean }[] = [
  { key: 'rank', head: '#', number: true },
  { key: 'name', head: 'Miner' },
  { key: 'tokensPerSecond', head: 'Tokens/s', number: true },
  { key: 'stage', head: 'Stage', number: true },
  { key: null, head: 'Does' },
  { key: 'microbatches', head: 'Counted', number: true },
  { key: 'tokens', head: 'Tokens', number: true },
  { key: 'rejected', head: 'Refused', number: true },
  { key: 'score', head: 'Score', number: true },
  { key: 'emission', head: 'Emission', number: true },
];

/** All who mine in the run and all who did, in any order, however many there are. */
export default function LeaderboardPage() {
  const { run } = useLive();
  const { value: chain, error: chainError } = usePolled(load, REFRESH_MS);
  const [order, setOrder] = useState<Order>({ key: 'rank', descending: false });
  const [query, setQuery] = useState('');
  const { value: gone, error: goneError } = usePolled(loadGone, GONE_MS);
  const error = chainError ?? goneError;
  const all = useMemo(() => (run ? ranked(run, chain?.pay ?? [], gone?.miners ?? []) : []), [run, chain, gone]);
  const here = all.filter((line) => line.here).length;
  const lines = useMemo(() => ordered(filtered(all, query), order), [all, query, order]);
  const sort = (key: Key) =>
    setOrder((before) => ({ key, descending: before.key === key ? !before.descending : key !== 'rank' && key !== 'name' }));
  return (
    <div className="leaderboard-page">
      {error && (
        <Notice tone="wait" title="Not up to date.">
          <Trouble error={error} />
        </Notice>
      )}
      <section className="panel" aria-labelledby="miners">
        <div className="panel-head">
          <h1 id="miners">Miners</h1>
          <div className="leaderboard-tools">
            <input
              type="search"
              placeholder="Name, UID, hotkey, GPU"
              aria-label="Filter miners"
              value={query}
              onChange={(event) => setQuery(event.target.value)}
            />
            <button
              type="button"
              className="quiet"
              disabled={lines.length === 0}
              onClick={() => save(new Blob([csvOfRanks(lines)], { type: 'text/csv' }), 'miners.csv')}
            >
              CSV
            </button>
          </div>
        </div>
        <p className="muted" role="status">
          {query.trim() && `${count(lines.length)} found of `}
          {plural(here, 'miner')} in the run{all.length > here && ` and ${count(all.length - here)} not here now`}
        </p>
        {!run || (!chain && !chainError) || (!gone && !goneError) ? (
          <p className="empty page-loading">Asking for the scores…</p> // The order is by them.
        ) : all.length === 0 ? (
          <p className="empty">Nobody has mined in this run yet. Open the first page in a tab, and you are the first.</p>
        ) : (
          <Lines lines={lines} order={order} onSort={sort} />
        )}
      </section>
    </div>
  );
}

function Lines({ lines, order, onSort }: { lines: readonly Ranked[]; order: Order; onSort: (key: Key) => void }) {
  const box = useRef<HTMLElement>(null);
  const [top, setTop] = useState(0);
  const own = useMiner()?.minerId;
  const now = useNow();
  const visible = Math.ceil((box.current?.clientHeight ?? 640) / LINE);
  const first = Math.max(0, Math.min(Math.floor(top / LINE) - MARGIN, lines.length - 1));
  const shown = lines.slice(first, first + visible + 2 * MARGIN);
  const firsts = useMemo(() => firstOfAccounts(lines), [lines]);
  return (
    <section
      className="leaderboard"
      ref={box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
      tabIndex={0}
      aria-label="Miners, a table"
      onScroll={({ currentTarget }) => setTop(currentTarget.scrollTop)}
    >
      <table aria-rowcount={lines.length + 1}>
        <thead>
          <tr>
            {COLUMNS.map(({ key, head, number }) => (
              <th
                key={head}
                scope="col"
                className={number ? 'number' : ''}
                aria-sort={key === order.key ? (order.descending ? 'descending' : 'ascending') : undefined}
              >
                {key ? (
                  <button type="button" onClick={() => onSort(key)}>
                    {head}
                    <span aria-hidden="true">{key === order.key ? (order.descending ? ' ↓' : ' ↑') : ''}</span>
                  </button>
                ) : (
                  head
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <Gap lines={first} />}
          {shown.map((line, i) => (
            <Line
              key={line.miner?.id ?? line.account!.address}
              line={line}
              index={first + i}
              isFirst={firsts.get(line.account) === line}
              own={line.miner?.id !== undefined && line.miner.id === own}
              now={now}
            />
          ))}
          {first + shown.length < lines.length && <Gap lines={lines.length - first - shown.length} />}
        </tbody>
      </table>
    </section>
  );
}

/** Of one that is not here only what it did is told. `isFirst`: of its account's lines. */
function Line({ line, index, isFirst, own, now }: { line: Ranked; index: number; isFirst: boolean; own: boolean; now: number }) {
  const { rank, here, name, miner, account } = line;
  return (
    <tr aria-rowindex={index + 2} className={own ? 'own' : here ? '' : 'gone'}>
      <td className="number">{rank}</td>
      <th scope="row">
        {miner ? <Link to={minerPath(miner.id)}>{name}</Link> : name}{' '}
        <small title={account?.address}>
          {account ? `${account.uid === null ? '' : `UID ${account.uid} · `}${brief(account.address)}` : ''}
        </small>
      </th>
      {here && miner ? (
        <>
          <td className="number">{compact(miner.tokensPerSecond)}</td>
          <td className="number">{miner.stage === null ? '–' : <Link to={stagePath(miner.stage)}>{miner.stage}</Link>}</td>
          <td>{situation(miner, now).title}</td>
        </>
      ) : (
        // In place of all that it does: seen on a telephone, too.
        <td colSpan={3}>Not here now</td>
      )}
      <td className="number">{count(miner?.microbatches ?? null)}</td>
      <td className="number">{miner ? compact(miner.tokens) : '–'}</td>
      <td className="number">{count(miner?.rejected ?? null)}</td>
      {account && !isFirst ? (
        <td colSpan={2} className="number above">
          the account’s, above
        </td>
      ) : (
        <>
          <td className="number">{account ? work(account.score) : '–'}</td>
          <td className="number">{account ? coins(account.emission) : '–'}</td>
        </>
      )}
    </tr>
  );
}

/** Of lines that are not drawn. */
function Gap({ lines }: { lines: number }) {
  return (
    <tr>
      <td colSpan={COLUMNS.length} style={{ height: lines * LINE }} />
    </tr>
  );
}
