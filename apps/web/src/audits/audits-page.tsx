import '../styles/audits.css';
import type { AuditEntry, ValidatorView } from '@starling/protocol';
import { useCallback } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { count, moment, plural, small, took } from '../format.ts';
import { useLive } from '../live.ts';
import { ErrorText, Notice } from '../parts.tsx';
import { minerPath } from '../paths.ts';
import { Link } from '../router.tsx';
import { TablePanel } from '../table.tsx';
import { AgreementPanel } from './agreement.tsx';
import { AttributionPanel } from './attribution.tsx';
import { shortHotkey, ValidatorsPanel } from './validators.tsx';

/** What `GET /v1/audits` answers. Numbers that are not finite come as null. */
interface AuditFeed {
  audits: AuditEntry[];
  /** The server's own first; none where nothing is audited. */
  validators: ValidatorView[];
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
      {value && value.validators.length > 0 && <ValidatorsPanel validators={value.validators} />}
      {/* Below what may still come: nothing moves when it does. */}
      {(value || error) && <AttributionPanel nameOf={nameOf} />}
      {(value || error) && run && <AgreementPanel runId={run.config.runId} nameOf={nameOf} />}
    </div>
  );
}

const COLUMNS = [
  'Miner',
  'When',
  { number: 'Stage' },
  { number: 'Step' },
  'Outcome',
  'By',
  { number: 'Compared' },
  { number: 'Nearest the limit' },
  { number: 'Took' },
];

function Feed({ feed: { audits }, nameOf }: { feed: AuditFeed; nameOf: (id: string) => string }) {
  const failed = audits.filter(({ verdict }) => verdict.outcome === 'failed').length;
  return (
    <TablePanel
      id="feed"
      title="Newest audits"
      note={audits.length === 0 ? 'None yet' : `${plural(audits.length, 'audit')}, ${failed} failed`}
      caption="Audits, the newest first"
      columns={COLUMNS}
      empty="No audit is done yet. A newcomer is drawn in a fifth of its steps."
      className="audits"
    >
      {audits.map((audit) => (
        <AuditRow key={audit.id} audit={audit} name={nameOf(audit.minerId)} />
      ))}
    </TablePanel>
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
  const { minerId, time, stage, version, verdict, validator } = audit;
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
      <td>{shortHotkey(validator)}</td>
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
