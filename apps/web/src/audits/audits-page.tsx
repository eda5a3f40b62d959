import '../styles/audits.css';
import type { AuditEntry, ValidatorView } from '@starling/protocol';
import { useCallback, useState } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { count, plural } from '../format.ts';
import { Pager } from '../history/pager.tsx';
import { ASKED_FOR, NEWEST, type Page, type Place, pageOf } from '../history/paging.ts';
import { useLive } from '../live.ts';
import { ErrorText, Notice } from '../parts.tsx';
import { TablePanel } from '../table.tsx';
import { AgreementPanel } from './agreement.tsx';
import { AttributionPanel } from './attribution.tsx';
import { AuditRow, COLUMNS } from './audit-row.tsx';
import { ValidatorsPanel } from './validators.tsx';

/** What `GET /v1/audits` answers. Numbers that are not finite come as null. */
interface AuditFeed {
  audits: AuditEntry[];
  /** The server's own first; none where nothing is audited. */
  validators: ValidatorView[];
}

/** What was computed again, how far it was from what miners said, and what else tells about them. */
export default function AuditsPage() {
  const [place, setPlace] = useState<Place>(NEWEST);
  const load = useCallback(
    async (signal: AbortSignal) => {
      const before = place.length > 0 ? `&before=${place.at(-1)}` : '';
      const { audits, validators } = await getJson<AuditFeed>(`/v1/audits?limit=${ASKED_FOR}${before}`, signal);
      return { page: pageOf(audits), validators };
    },
    [place],
  );
  const { value, error, pending } = usePolled(load, REFRESH_MS);
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
      {value ? (
        <Feed page={value.page} place={place} pending={pending} onPlace={setPlace} nameOf={nameOf} />
      ) : (
        !error && <p className="muted chain-loading">Asking for the audits…</p>
      )}
      {value && value.validators.length > 0 && <ValidatorsPanel validators={value.validators} />}
      {/* Below what may still come: nothing moves when it does. */}
      {(value || error) && <AttributionPanel nameOf={nameOf} />}
      {(value || error) && run && <AgreementPanel runId={run.config.runId} nameOf={nameOf} />}
    </div>
  );
}

function Feed(props: {
  page: Page<AuditEntry>;
  place: Place;
  pending: boolean;
  onPlace: (place: Place) => void;
  nameOf: (id: string) => string;
}) {
  const { page, place, pending, onPlace, nameOf } = props;
  const failed = page.entries.filter(({ verdict }) => verdict.outcome === 'failed').length;
  return (
    <TablePanel
      id="feed"
      title="Newest audits"
      note={page.entries.length === 0 ? 'None yet' : `${plural(page.entries.length, 'audit')}, ${failed} failed`}
      caption="Audits, the newest first"
      columns={COLUMNS}
      empty="No audit is done yet. A newcomer is drawn in a fifth of its steps."
      className="audits"
      after={
        (page.next !== null || place.length > 0) && (
          <Pager
            label="Pages of the audits"
            status={
              pending ? 'Asking…' : place.length === 0 ? 'The newest, refreshed every few seconds.' : `Page ${count(place.length + 1)}.`
            }
            place={place}
            page={page}
            pending={pending}
            onPlace={onPlace}
          />
        )
      }
    >
      {page.entries.map((audit) => (
        <AuditRow key={audit.id} audit={audit} name={nameOf(audit.minerId)} />
      ))}
    </TablePanel>
  );
}
