import { useState } from 'react';
import { NEWEST, type Place } from '../history/paging.ts';
import { useLive } from '../live.ts';
import { ErrorText, Notice } from '../parts.tsx';
import { AgreementPanel } from './agreement.tsx';
import { AttributionPanel, useAttribution } from './attribution.tsx';
import { AuditFeed, useAudits } from './feed.tsx';
import { ValidatorsPanel } from './validators.tsx';

const EMPTY = 'No audit is done yet. Of every newcomer the first step is.';

/** What was computed again, how far it was from what miners said, and what else tells about them. */
export default function AuditsPage() {
  const [place, setPlace] = useState<Place>(NEWEST);
  const { value, error, pending } = useAudits(place);
  const attribution = useAttribution();
  const { run } = useLive();
  const isAnswered = Boolean((value || error) && (attribution.value || attribution.error));
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
        <AuditFeed id="feed" title="Newest audits" empty={EMPTY} page={value.page} place={place} pending={pending} onPlace={setPlace} />
      ) : (
        !error && <p className="muted chain-loading">Asking for the audits…</p>
      )}
      {value && value.validators.length > 0 && <ValidatorsPanel validators={value.validators} />}
      {/* Below what may still come: nothing moves when it does. */}
      {isAnswered && <AttributionPanel lines={attribution.value?.attribution ?? []} />}
      {isAnswered && run && <AgreementPanel runId={run.config.runId} />}
    </div>
  );
}
