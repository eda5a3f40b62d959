import type { MinerState } from '@starling/miner';
import { clock } from '../format.ts';

/** What was refused, why, and what to do: an answer is owed for every one of them. */
export function Refusals({ miner }: { miner: MinerState | null }) {
  const refusals = miner?.refusals ?? [];
  const rejected = miner?.rejected ?? 0;
  return (
    <div className="refusals">
      <h3>Refused lately</h3>
      {refusals.length === 0 ? (
        <p className="muted">{rejected === 0 ? 'Nothing was refused.' : 'Nothing was refused lately.'}</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a list that scrolls must be reachable by keyboard.
        <ul tabIndex={0}>
          {refusals.map(({ time, error }) => (
            <li key={`${time}${error.code}${error.message}`}>
              <time>{clock(time)}</time>
              <div>
                <p>{error.message}</p>
                <p className="hint">
                  {error.hint} <code className="code">{error.code}</code>
                </p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
