import '../styles/audits.css';
import type { AuditEntry, ValidatorView } from '@starling/protocol';
import { useCallback } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { count, plural } from '../format.ts';
import { Pager } from '../history/pager.tsx';
import { ASKED_FOR, type Page, type Place, pageOf } from '../history/paging.ts';
import { useNames } from '../names.ts';
import { TablePanel } from '../table.tsx';
import { AuditRow, columns } from './audit-row.tsx';

/** What `GET /v1/audits` answers. Numbers that are not finite come as null. */
interface Audits {
  audits: AuditEntry[];
  /** The server's own first; none where nothing is audited. */
  validators: ValidatorView[];
}

/** A page of audits: of all miners, or of one. */
export function useAudits(place: Place, minerId?: string) {
  const load = useCallback(
    async (signal: AbortSignal) => {
      const before = place.length > 0 ? `&before=${place.at(-1)}` : '';
      const of = minerId === undefined ? '' : `&miner=${encodeURIComponent(minerId)}`;
      const { audits, validators } = await getJson<Audits>(`/v1/audits?limit=${ASKED_FOR}${before}${of}`, signal);
      return { page: pageOf(audits), validators };
    },
    [place, minerId],
  );
  return usePolled(load, REFRESH_MS);
}

/** Audits, page by page; a row is opened for all that was compared. `ofOne`: those of one miner. */
export function AuditFeed(props: {
  id: string;
  title: string;
  empty: string;
  ofOne?: boolean;
  page: Page<AuditEntry>;
  place: Place;
  pending: boolean;
  onPlace: (place: Place) => void;
}) {
  const { id, title, empty, ofOne = false, page, place, pending, onPlace } = props;
  const nameOf = useNames(page.entries.map(({ minerId }) => minerId));
  const failed = page.entries.filter(({ verdict }) => verdict.outcome === 'failed').length;
  return (
    <TablePanel
      id={id}
      title={title}
      note={page.entries.length === 0 ? 'None yet' : `Of these ${plural(page.entries.length, 'audit')} ${failed} failed`}
      caption="Audits, the newest first"
      columns={columns({ ofOne })}
      empty={empty}
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
        <AuditRow key={audit.id} audit={audit} name={nameOf(audit.minerId)} ofOne={ofOne} />
      ))}
    </TablePanel>
  );
}
