import '../styles/chain.css';
import type { ChainView } from '@starling/protocol';
import { useMemo } from 'react';
import { getJson, REFRESH_MS, usePolled } from '../api.ts';
import { count, every, plural, roughly } from '../format.ts';
import { nameOfAccount } from '../names.ts';
import { onDemand, Part } from '../part.tsx';
import { ErrorText, Notice, Progress, Stat } from '../parts.tsx';
import { brief, coins } from './amounts.ts';
import { MetagraphTable } from './metagraph-table.tsx';
import { PayTable } from './pay-table.tsx';

const Bars = onDemand(() => import('../charts/bars.tsx'));

const load = (signal: AbortSignal) => getJson<ChainView>('/v1/chain', signal);

/** The chain behind the run: who is paid how much, and how that follows from receipts. */
export default function ChainPage() {
  const { value, error } = usePolled(load, REFRESH_MS);
  return (
    <div className="chain-page">
      <div className="chain-title">
        <h1>Chain</h1>
        {value && <p className="muted">{value.kind === 'embedded' ? 'The server’s own chain' : 'Bittensor’s subtensor'}</p>}
      </div>
      {error && (
        <Notice tone="wait" title="Not up to date.">
          <ErrorText error={error} />
        </Notice>
      )}
      {value?.trouble && (
        <Notice tone="wait" title="Training goes on; the chain has trouble.">
          <ErrorText error={value.trouble} />
        </Notice>
      )}
      {value ? <Contents chain={value} /> : !error && <p className="muted chain-loading">Asking for the chain…</p>}
    </div>
  );
}

function Contents({ chain }: { chain: ChainView }) {
  const { neurons, block, epoch, nextEpoch, tempo, blockMs, burn, network, netuid, server } = chain;
  const left = Math.max(0, nextEpoch - block);
  return (
    <>
      <section className="panel" aria-label="The chain now">
        <dl className="stats">
          <Stat label="Block" value={count(block)} note={`every ${blockMs < 1_000 ? `${blockMs} ms` : `${blockMs / 1_000} s`}`} />
          <Stat label="Epoch" value={count(epoch)} note={tempo > 0 ? `next in ${plural(left, 'block')}, ${roughly(left * blockMs)}` : ''} />
          <Stat
            label="Neurons"
            value={count(neurons.length)}
            note={`${count(neurons.filter(({ validatorTrust }) => validatorTrust > 0).length)} set weights`}
          />
          <Stat label="Registration" value={coins(burn)} note="burned, in TAO" />
        </dl>
        <div className="epoch-progress">
          <Progress done={tempo - left} total={tempo} label="Blocks of this epoch" />
        </div>
        <dl className="facts chain-facts">
          <div>
            <dt>Network</dt>
            <dd>
              <code title={network}>{network ? `${network.slice(0, 12)}…` : 'not reached yet'}</code>, subnet {netuid}
            </dd>
          </div>
          <div>
            <dt>Server</dt>
            <dd>
              <code>{server}</code>
            </dd>
          </div>
        </dl>
      </section>
      <Way chain={chain} />
      <Shares chain={chain} />
      <PayTable chain={chain} />
      <MetagraphTable chain={chain} />
    </>
  );
}

const SERIES = [
  { name: 'share of all work', color: 'var(--violet)' },
  { name: 'share of all emission', color: 'var(--green)' },
];
/** Accounts that are drawn: those that did most. */
const DRAWN = 12;
const percents = (value: number) => `${value.toFixed(0)} %`;

/** That pay follows work, at a glance. */
function Shares({ chain: { pay } }: { chain: ChainView }) {
  const shares = useMemo(() => {
    const work = pay.reduce((sum, line) => sum + line.work, 0);
    const emission = pay.reduce((sum, line) => sum + Number(line.emission), 0);
    return pay
      .toSorted((a, b) => b.work - a.work)
      .slice(0, DRAWN)
      .map((line) => ({
        name: nameOfAccount(line),
        values: [(100 * line.work) / (work || 1), (100 * Number(line.emission)) / (emission || 1)],
      }));
  }, [pay]);
  return (
    <section className="panel" aria-labelledby="shares">
      <div className="panel-head">
        <h2 id="shares">Work and pay</h2>
        <p className="muted">Of all accounts, {shares.length < pay.length ? `the ${DRAWN} that did most` : 'each'}.</p>
      </div>
      <Part name="The chart" wait={<div className="bars" />}>
        <Bars label="Share of work and of emission by account" rows={shares} series={SERIES} format={percents} />
      </Part>
    </section>
  );
}

/** How a receipt becomes money, with the newest of each. */
function Way({ chain: { rounds, weights, pay, epoch, correlation } }: { chain: ChainView }) {
  const { newest, steps, halfLife } = rounds;
  const last = pay.reduce((all, { lastEmission }) => all + BigInt(lastEmission), 0n);
  return (
    <section className="panel" aria-labelledby="way">
      <div className="panel-head">
        <h2 id="way">From receipts to emission</h2>
        <p className="muted">
          {correlation === null
            ? 'Correlation of emission with work: when the scores of three accounts have settled'
            : `Correlation of emission with work, since scores settled: ${correlation.toFixed(4)}`}
        </p>
      </div>
      <ol className="way">
        <Station name="Receipts" now={newest ? `round ${count(newest.round)}, step ${count(newest.step)}` : 'no round is over yet'}>
          Accepted leases, in floating-point operations, summed over {count(steps)} {steps === 1 ? 'step' : 'steps'}.
        </Station>
        <Station name="Scores" now={plural(pay.filter(({ score }) => score > 0).length, 'account')}>
          All work that counts; it halves {every(halfLife)}. Who does nothing has nothing.
        </Station>
        <Station name="Weights" now={weights ? `round ${count(weights.round)}, block ${count(weights.block)}` : 'none set yet'}>
          {weights ? (
            <>
              Linear in the scores, set by <code title={weights.hotkey}>{brief(weights.hotkey)}</code>.
            </>
          ) : (
            'Linear in the scores, set by the server’s validator.'
          )}
        </Station>
        <Station name="Incentive" now={`epoch ${count(epoch)}`}>
          Yuma Consensus over all validators’ weights, by stake.
        </Station>
        <Station name="Emission" now={last > 0n ? `${coins(String(last))} alpha in the last epoch` : 'nothing paid yet'}>
          41 % of what an epoch makes, by incentive.
        </Station>
      </ol>
    </section>
  );
}

function Station({ name, now, children }: { name: string; now: string; children: React.ReactNode }) {
  return (
    <li>
      <h3>{name}</h3>
      <b>{now}</b>
      <p>{children}</p>
    </li>
  );
}
