import type { ChainView, NeuronView } from '@starling/protocol';
import { useState } from 'react';
import { count } from '../format.ts';
import { ScrollBox } from '../table.tsx';
import { brief, coins, share } from './amounts.ts';

/** Rows shown before somebody asks for all 256. */
const FIRST = 32;

/** All neurons, the owner's first, as the chain keeps them. */
export function MetagraphTable({ neurons, weights }: { neurons: readonly NeuronView[]; weights: ChainView['weights'] }) {
  const [all, setAll] = useState(false);
  const [wanted, setWanted] = useState('');
  const weightOf = new Map(weights?.weights.map(({ uid, weight }) => [uid, weight]));
  const found = neurons.filter(({ uid, hotkey, coldkey }) => {
    const text = wanted.trim();
    return text === '' || String(uid) === text || hotkey.includes(text) || coldkey.includes(text);
  });
  const shown = all ? found : found.slice(0, FIRST);
  return (
    <section className="panel" aria-labelledby="metagraph">
      <div className="panel-head">
        <h2 id="metagraph">Metagraph</h2>
        <label className="find">
          <span className="visually-hidden">Find a uid, hotkey or coldkey</span>
          <input type="search" value={wanted} placeholder="UID or address" onChange={(event) => setWanted(event.target.value)} />
        </label>
      </div>
      {shown.length === 0 ? (
        <p className="empty chain-empty">{neurons.length === 0 ? 'The chain has not told its neurons yet.' : 'No neuron like that.'}</p>
      ) : (
        <ScrollBox label="Neurons of the subnet">
          <table className="chain-table">
            <caption className="visually-hidden">Neurons of the subnet</caption>
            <thead>
              <tr>
                <th scope="col" className="number">
                  UID
                </th>
                <th scope="col">Hotkey</th>
                <th scope="col" className="number">
                  Stake
                </th>
                <th scope="col" className="number">
                  Incentive
                </th>
                <th scope="col" className="number">
                  Dividends
                </th>
                <th scope="col" className="number">
                  Trust
                </th>
                <th scope="col" className="number">
                  Weight set
                </th>
                <th scope="col" className="number">
                  Emission
                </th>
                <th scope="col" className="number">
                  Updated
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((neuron) => (
                <tr key={neuron.uid} className={neuron.active ? '' : 'inactive'}>
                  <td className="number">{count(neuron.uid)}</td>
                  <th scope="row">
                    <code title={`${neuron.hotkey}, of the coldkey ${neuron.coldkey}`}>{brief(neuron.hotkey)}</code>{' '}
                    {neuron.validatorTrust > 0 && <span className="badge">validator</span>}
                  </th>
                  <td className="number">{coins(neuron.stake)}</td>
                  <td className="number">{share(neuron.incentive)}</td>
                  <td className="number">{share(neuron.dividends)}</td>
                  <td className="number">{share(neuron.validatorTrust)}</td>
                  <td className="number">{weightOf.has(neuron.uid) ? count(weightOf.get(neuron.uid)!) : '–'}</td>
                  <td className="number">{coins(neuron.emission)}</td>
                  <td className="number">{neuron.lastUpdate === 0 ? '–' : `block ${count(neuron.lastUpdate)}`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollBox>
      )}
      {found.length > shown.length && (
        <button type="button" className="quiet" onClick={() => setAll(true)}>
          Show all {count(found.length)}
        </button>
      )}
    </section>
  );
}
