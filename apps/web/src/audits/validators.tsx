import type { ValidatorView } from '@starling/protocol';
import { count, moment } from '../format.ts';
import { TablePanel } from '../table.tsx';

/** As a table shows it; the server's own validator has none that matters here. */
export const shortHotkey = (hotkey: string | null): string => (hotkey === null ? 'the server' : `${hotkey.slice(0, 8)}…`);

const COLUMNS = ['Validator', 'State', { number: 'Audits' }, { number: 'Not borne out' }, { number: 'Secret' }, 'Its hash'];

/** Who draws, by which secret, and how that went. */
export function ValidatorsPanel({ validators }: { validators: readonly ValidatorView[] }) {
  return (
    <TablePanel
      id="validators"
      title="Validators"
      note="Each draws by a secret of its own, whose hash it told before; the server at the full rate, others on top. A verdict against a miner is computed once more by another."
      caption="Validators"
      columns={COLUMNS}
      empty="Nobody audits this run."
    >
      {validators.map(({ hotkey, connected, backend, audits, disputes, dismissedUntil, epoch, secretHash }) => (
        <tr key={hotkey ?? ''}>
          <th scope="row" title={hotkey ?? undefined}>
            {shortHotkey(hotkey)}
          </th>
          <td>
            {dismissedUntil !== null
              ? `not asked until ${moment(dismissedUntil, Date.now())}`
              : connected
                ? `audits on ${backend}`
                : 'not connected'}
          </td>
          <td className="number">{count(audits)}</td>
          <td className="number">{count(disputes)}</td>
          <td className="number">{count(epoch)}</td>
          <td>{secretHash ? <code title={secretHash}>{secretHash.slice(0, 12)}…</code> : '–'}</td>
        </tr>
      ))}
    </TablePanel>
  );
}
