import { getJson, type Polled, REFRESH_MS, usePolled } from '../api.ts';
import { count } from '../format.ts';
import { useNames } from '../names.ts';
import { minerPath } from '../paths.ts';
import { Link } from '../router.tsx';
import { TablePanel } from '../table.tsx';

/** As `GET /v1/attribution` says it. */
interface Line {
  stage: number;
  minerId: string;
  samples: number;
  excess: number;
  zScore: number;
}

const load = (signal: AbortSignal) => getJson<{ attribution: Line[] }>('/v1/attribution', signal);
/** From here on a miner is audited more often. */
const SUSPICIOUS = 3.5;
const signed = (x: number, digits: number) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(digits)}`;

export const useAttribution = (): Polled<{ attribution: Line[] }> => usePolled(load, REFRESH_MS);

/** Whose paths lose more than they should. */
export function AttributionPanel({ lines }: { lines: readonly Line[] }) {
  const nameOf = useNames(lines.map(({ minerId }) => minerId));
  return (
    <TablePanel
      id="attribution"
      title="Loss attribution"
      note={`Loss of the paths through a miner, against those through the others of its stage. Over ${SUSPICIOUS} it is audited more often.`}
      caption="Loss attribution by miner"
      columns={['Miner', { number: 'Stage' }, { number: 'Microbatches' }, { number: 'Nats per token' }, { number: 'z-score' }]}
      empty="A miner needs eight microbatches that went all the way, and others at its stage to be compared with."
    >
      {lines.map(({ stage, minerId, samples, excess, zScore }) => (
        <tr key={`${stage} ${minerId}`}>
          <th scope="row">
            <Link className="who" to={minerPath(minerId)} title={nameOf(minerId)}>
              {nameOf(minerId)}
            </Link>
          </th>
          <td className="number">{stage}</td>
          <td className="number">{count(samples)}</td>
          <td className="number">{signed(excess, 4)}</td>
          <td className="number">
            {zScore > SUSPICIOUS ? <span className="outcome failed">{signed(zScore, 1)}</span> : signed(zScore, 1)}
          </td>
        </tr>
      ))}
    </TablePanel>
  );
}
