import type { ChainView, NeuronView } from '@starling/protocol';
import { useState } from 'react';
import { count } from '../format.ts';
import { ScrollBox } from '../table.tsx';
import { brief, coins, share } from './amounts.ts';
import { isWanted, wanted as meaningOf } from './wanted.ts';
import { useByDevice, Who } from './who.tsx';

/** Rows shown before somebody asks for all 256. */
const FIRST = 32;

type Key = 'uid' | 'hotkey' | 'stake' | 'incentive' | 'dividends' | 'validatorTrust' | 'weight' | 'emission' | 'lastUpdate';
const COLUMNS: { key: Key; head: string }[] = [
  { key: 'uid', head: 'UID' },
  { key: 'hotkey', head: 'Hotkey' },
  { key: 'stake', head: 'Stake' },
  { key: 'incentive', head: 'Incentive' },
  { key: 'dividends', head: 'Dividends' },
  { key: 'validatorTrust', head: 'Validator trust' },
  { key: 'weight', head: 'Weight set' },
  { key: 'emission', head: 'Emission' },
  { key: 'lastUpdate', head: 'Updated' },
];

/** All neurons, at first in the order of the chain; a column's head orders them by it. */
export function MetagraphTable({ chain: { neurons, weights, pay } }: { chain: ChainView }) {
  const [all, setAll] = useState(false);
  const [wanted, setWanted] = useState('');
  const [order, setOrder] = useState<{ key: Key; descending: boolean }>({ key: 'uid', descending: false });
  const sort = (key: Key) =>
    setOrder((before) => ({ key, descending: before.key === key ? !before.descending : key !== 'uid' && key !== 'hotkey' }));
  const weightOf = new Map(weights?.weights.map(({ uid, weight }) => [uid, weight]));
  const byDevice = useByDevice();
  const accounts = new Map(pay.map((account) => [account.address, account]));
  const meant = meaningOf(wanted);
  const found = neurons.filter(({ uid, hotkey, coldkey }) =>
    [hotkey, coldkey].some(
      (address) => isWanted({ uid, address }, meant) || (meant.uid === null && address.toLowerCase().includes(meant.text!)),
    ),
  );
  const sortedBy = (neuron: NeuronView): number | string => {
    if (order.key === 'weight') return weightOf.get(neuron.uid) ?? -1;
    // Amounts in rao are strings of digits.
    return order.key === 'hotkey' ? neuron.hotkey : Number(neuron[order.key]);
  };
  const ordered = found.toSorted((a, b) => {
    const [x, y] = [sortedBy(a), sortedBy(b)];
    return (x < y ? -1 : x > y ? 1 : a.uid - b.uid) * (order.descending ? -1 : 1);
  });
  const shown = all ? ordered : ordered.slice(0, FIRST);
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
                {COLUMNS.map(({ key, head }) => (
                  <th
                    key={key}
                    scope="col"
                    className={key === 'hotkey' ? '' : 'number'}
                    aria-sort={key === order.key ? (order.descending ? 'descending' : 'ascending') : undefined}
                  >
                    <button type="button" className="sort" onClick={() => sort(key)}>
                      {head}
                      <span aria-hidden="true">{key === order.key ? (order.descending ? ' ↓' : ' ↑') : ''}</span>
                    </button>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.map((neuron) => (
                <tr key={neuron.uid} className={neuron.active ? '' : 'inactive'}>
                  <td className="number">{count(neuron.uid)}</td>
                  <th scope="row">
                    <Who account={accounts.get(neuron.hotkey)} byDevice={byDevice} />{' '}
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
