import type { ChainView, PayView } from '@starling/protocol';
import { count } from '../format.ts';
import { ScrollBox } from '../table.tsx';
import { brief, coins, percent, share, work } from './amounts.ts';
import { useByDevice, Who } from './who.tsx';

/** Accounts that worked: what they did, what it is worth, and what it was paid. */
export function PayTable({ chain: { pay, weights } }: { chain: ChainView }) {
  const byDevice = useByDevice();
  const sum = (of: (line: PayView) => number) => pay.reduce((all, line) => all + of(line), 0);
  const totals = { score: sum(({ score }) => score), work: sum((line) => line.work), emission: sum(({ emission }) => Number(emission)) };
  return (
    <section className="panel" aria-labelledby="pay">
      <div className="panel-head">
        <h2 id="pay">Accounts</h2>
        <p className="muted">The same share all the way: of work, of score, of emission.</p>
      </div>
      {pay.length === 0 ? (
        <p className="empty chain-empty">No round is over yet. The first ones who mined stand here then.</p>
      ) : (
        <ScrollBox label="Accounts, their work, and their pay">
          <table className="chain-table">
            <caption className="visually-hidden">Accounts, their work, and their pay</caption>
            <thead>
              <tr>
                <th scope="col">Account</th>
                <th scope="col" className="number">
                  UID
                </th>
                <th scope="col" className="number">
                  Last round
                </th>
                <th scope="col" className="number">
                  All work
                </th>
                <th scope="col" className="number">
                  Score
                </th>
                <th scope="col" className="number">
                  Weight set
                </th>
                <th scope="col" className="number">
                  Incentive
                </th>
                <th scope="col" className="number">
                  Last epoch
                </th>
                <th scope="col" className="number">
                  Emission
                </th>
              </tr>
            </thead>
            <tbody>
              {pay.map((line) => (
                <tr key={line.address}>
                  <th scope="row">
                    <Who account={line} byDevice={byDevice} /> <code title={line.address}>{brief(line.address)}</code>{' '}
                    {line.guest && <span className="badge">guest</span>}
                  </th>
                  <td className="number">{line.uid === null ? <span className="muted">none</span> : count(line.uid)}</td>
                  <td className="number">{work(line.roundWork)}</td>
                  <td className="number">
                    {work(line.work)} <small>{percent(line.work, totals.work)}</small>
                  </td>
                  <td className="number">{percent(line.score, totals.score)}</td>
                  <td className="number">{line.weight === null ? (weights ? '–' : 'not yet') : count(line.weight)}</td>
                  <td className="number">{share(line.incentive)}</td>
                  <td className="number">{coins(line.lastEmission)}</td>
                  <td className="number">
                    {coins(line.emission)} <small>{percent(Number(line.emission), totals.emission)}</small>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollBox>
      )}
    </section>
  );
}
