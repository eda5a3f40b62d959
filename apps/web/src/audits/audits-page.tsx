import '../styles/chain.css';
import '../styles/audits.css';
import type { AuditEntry } from '@starling/protocol';
import { useCallback } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { count, moment, plural, small, took } from '../format.ts';
import { useLive } from '../live.ts';
import { ErrorText, Notice } from '../parts.tsx';
import { minerPath } from '../paths.ts';
import { Link } from '../router.tsx';
import { AgreementPanel } from './agreement.tsx';
import { AttributionPanel } from './attribution.tsx';

/** What `GET /v1/audits` answers. Numbers that are not finite come as null. */
interface AuditFeed {
  audits: AuditEntry[];
  epoch?: number;
  secretHash?: string;
}

const SHOWN = 100;
const load = (signal: AbortSignal) => getJson<AuditFeed>(`/v1/audits?limit=${SHOWN}`, signal);

/** What was computed again, how far it was from what miners said, and what else tells about them. */
export default function AuditsPage() {
  const { value, error } = usePolled(load, REFRESH_MS);
  const { run } = useLive();
  const nameOf = useCallback(
    (id: string) => run?.stages.flatMap(({ miners }) => miners).find((miner) => miner.id === id)?.name ?? id,
    [run],
  );
  return (
    <div className="chain-page">
      <div className="chain-title">
        <h1>Audits</h1>
        <p className="muted">Work is computed again, now and then, by a validator.</p>
      </div>
      {error && (
        <Notice tone="wait" title="Not up to date.">
          <ErrorText error={error} />
        </Notice>
      )}
      {value ? <Feed feed={value} nameOf={nameOf} /> : !error && <p className="muted chain-loading">Asking for the audits…</p>}
      <AttributionPanel nameOf={nameOf} />
      {run && <AgreementPanel runId={run.config.runId} nameOf={nameOf} />}
    </div>
  );
}

function Feed({ feed: { audits, epoch, secretHash }, nameOf }: { feed: AuditFeed; nameOf: (id: string) => string }) {
  const failed = audits.filter(({ verdict }) => verdict.outcome === 'failed').length;
  return (
    <section className="panel" aria-labelledby="feed">
      <div className="panel-head">
        <h2 id="feed">Newest audits</h2>
        <p className="muted">
          {audits.length === 0 ? 'None yet' : `${plural(audits.length, 'audit')}, ${failed} failed`}
          {secretHash && (
            <>
              {' '}
              · drawn by secret {epoch}, whose hash is <code title={secretHash}>{secretHash.slice(0, 12)}…</code>
            </>
          )}
        </p>
      </div>
      {audits.length === 0 ? (
        <p className="empty chain-empty">No audit is done yet. A newcomer is drawn in a fifth of its steps.</p>
      ) : (
        <div className="table-scroll">
          <table className="chain-table audits">
            <caption className="visually-hidden">Audits, the newest first</caption>
            <thead>
              <tr>
                <th scope="col">Miner</th>
                <th scope="col">When</th>
                <th scope="col" className="number">
                  Stage
                </th>
                <th scope="col" className="number">
                  Step
                </th>
                <th scope="col">Outcome</th>
                <th scope="col" className="number">
                  Compared
                </th>
                <th scope="col" className="number">
                  Nearest the limit
                </th>
                <th scope="col" className="number">
                  Took
                </th>
              </tr>
            </thead>
            <tbody>
              {audits.map((audit) => (
                <AuditRow key={audit.id} audit={audit} name={nameOf(audit.minerId)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** The check that is nearest its limit, or farthest beyond it. */
function closest({ verdict: { checks } }: AuditEntry): { quantity: string; off: number | null; limit: number; share: number } | null {
  const shares = checks.map(({ quantity, relativeL2, limit }) => {
    const off = relativeL2 as number | null;
    return { quantity, off, limit: limit.relativeL2, share: off === null ? Number.POSITIVE_INFINITY : off / limit.relativeL2 };
  });
  return shares.sort((a, b) => b.share - a.share)[0] ?? null;
}

const WORDS: Record<string, string> = { activations: 'output', inputGradient: 'input gradient', loss: 'loss', gradient: 'gradient sum' };

function AuditRow({ audit, name }: { audit: AuditEntry; name: string }) {
  const { minerId, time, stage, version, verdict } = audit;
  const worst = closest(audit);
  return (
    <tr>
      <th scope="row">
        <Link to={minerPath(minerId)}>{name}</Link>
      </th>
      <td>{moment(time, Date.now())}</td>
      <td className="number">{stage}</td>
      <td className="number">{count(version)}</td>
      <td>
        <span className={`outcome ${verdict.outcome}`} title={verdict.finding}>
          {verdict.outcome}
        </span>
      </td>
      <td className="number">{count(verdict.compared)}</td>
      <td className="number">
        {worst ? (
          <>
            {WORDS[worst.quantity] ?? worst.quantity} {worst.off === null ? 'unlike' : small(worst.off)}{' '}
            <small>of {small(worst.limit)}</small>
          </>
        ) : (
          '–'
        )}
      </td>
      <td className="number">{took(verdict.computeMs)}</td>
    </tr>
  );
}
