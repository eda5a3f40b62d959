import { useCallback } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { count, plural } from '../format.ts';
import { useNames } from '../names.ts';
import { ScrollBox } from '../table.tsx';
import { type Agreement, byDisagreement } from './by-disagreement.ts';

/** Miners in one heat map, at most: a page is no place for more. */
const SHOWN = 24;

/** How often two miners that reduced the same shard came to the same bytes. Whoever lies alone is a red row. */
export function AgreementPanel({ runId }: { runId: string }) {
  const load = useCallback(
    (signal: AbortSignal) => getJson<{ stages: Agreement[][] }>(`/v1/runs/${encodeURIComponent(runId)}/agreement`, signal),
    [runId],
  );
  const { value } = usePolled(load, REFRESH_MS);
  const stages = value?.stages ?? [];
  return (
    <section className="panel" aria-labelledby="agreement">
      <div className="panel-head">
        <h2 id="agreement">Agreement</h2>
        <p className="muted">Every shard of a merge is added up by two miners. Their bytes must be the same.</p>
      </div>
      {stages.every((pairs) => pairs.length === 0) ? (
        <p className="empty chain-empty">No stage has merged with two miners yet.</p>
      ) : (
        <div className="heat-maps">
          {stages.map((pairs, stage) => pairs.length > 0 && <HeatMap key={stage} stage={stage} pairs={pairs} />)}
        </div>
      )}
    </section>
  );
}

function HeatMap({ stage, pairs }: { stage: number; pairs: readonly Agreement[] }) {
  const all = byDisagreement(pairs);
  const miners = all.slice(0, SHOWN);
  const nameOf = useNames(miners);
  const of = (a: string, b: string) => pairs.find(({ pair }) => pair.includes(a) && pair.includes(b));
  return (
    <ScrollBox label={`Agreement at stage ${stage}`}>
      <table className="heat-map">
        <caption>
          Stage {stage}
          {all.length > SHOWN && `: ${SHOWN} of ${count(all.length)} miners, those that disagree most`}
        </caption>
        <thead>
          <tr>
            <td />
            {miners.map((id) => (
              <th key={id} scope="col">
                <span>{nameOf(id)}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {miners.map((row) => (
            <tr key={row}>
              <th scope="row">{nameOf(row)}</th>
              {miners.map((column) => (
                <Cell key={column} agreement={row === column ? undefined : of(row, column)} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

function Cell({ agreement }: { agreement: Agreement | undefined }) {
  if (!agreement) return <td className="heat none" />;
  const { compared, agreed, disagreed } = agreement;
  const said = `${agreed} of ${plural(compared, 'shard')} alike`;
  return (
    <td className={`heat ${disagreed > 0 ? 'bad' : 'good'}`} title={said}>
      <span className="visually-hidden">{said}</span>
      <span aria-hidden="true">{disagreed > 0 ? disagreed : compared}</span>
    </td>
  );
}
