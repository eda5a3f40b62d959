import { useState } from 'react';
import { NEWEST, type Place } from '../history/paging.ts';
import { AuditFeed, useAudits } from './feed.tsx';

const EMPTY = 'None of its work was computed again yet. Of every newcomer the first step is.';

/** What validators found when they computed this miner's work again. */
export default function MinerAudits({ id }: { id: string }) {
  const [place, setPlace] = useState<Place>(NEWEST);
  const { value, pending } = useAudits(place, id);
  if (!value) return null;
  return <AuditFeed id="audits" title="Audits" empty={EMPTY} ofOne page={value.page} place={place} pending={pending} onPlace={setPlace} />;
}
