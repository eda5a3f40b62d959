import type { MinerView, RunSnapshot } from '@starling/protocol';
import { type ReactNode, useState } from 'react';
import { count, layers } from '../format.ts';
import { useLive } from '../live.ts';
import { situation } from '../mine/activity.ts';
import { useMiner } from '../mine/mining.ts';
import { nameOf } from '../names.ts';
import { useNow } from '../now.ts';
import { onDemand, Part } from '../part.tsx';
import { Announce, Notice, Stat, State } from '../parts.tsx';
import { Link } from '../router.tsx';
import { AccountPanel, useAccountOf } from './account.tsx';
import { History, Trouble } from './history.tsx';
import { OUTCOMES } from './receipts.tsx';
import { useMinerView } from './use-miner-view.ts';

const MinerAudits = onDemand(() => import('../audits/miner-audits.tsx'));

/** Any miner, for anybody: how it stands, what it earns, what became of everything it sent, and what audits found. */
export function MinerPage({ id }: { id: string }) {
  const { value, error } = useMinerView(id);
  const own = useMiner()?.minerId === id;
  const device = value?.miner?.device ?? null;
  const account = useAccountOf(device);
  const [hasReceipts, setHasReceipts] = useState(false);
  return (
    <div className="miner-page">
      <div className="miner-title">
        <h1>{value?.miner ? nameOf(value.miner) : 'Miner'}</h1>
        <code className="code">{id}</code>
        {own && <span className="badge">this tab</span>}
      </div>
      {error && (
        <Notice tone="wait" title="Not up to date.">
          <Trouble error={error} />
        </Notice>
      )}
      {value ? value.miner ? <Standing miner={value.miner} /> : <Unknown id={id} /> : !error && <Asking />}
      {device !== null && !account.pending && <AccountPanel account={account.value} error={account.error} />}
      {/* Below what may still come: nothing moves when it does. */}
      {(value || error) && !account.pending && (
        <section className="panel history" aria-labelledby="receipts">
          <div className="panel-head">
            <h2 id="receipts">Receipts</h2>
            <p className="muted">Everything this miner sent, and what became of it.</p>
          </div>
          <History
            key={id}
            id={id}
            empty="No receipts. The first ones come when a miner has work; they are kept when it leaves."
            onShown={() => setHasReceipts(true)}
          />
        </section>
      )}
      {hasReceipts && (
        <Part name="What audits found">
          <MinerAudits id={id} />
        </Part>
      )}
    </div>
  );
}

const Asking = () => <p className="empty page-loading">Asking for the miner…</p>;

function Unknown({ id }: { id: string }) {
  return (
    <section className="panel standing idle" aria-label="The miner now">
      <div className="unknown">
        <h2 className="state-title">No such miner now</h2>
        <p>
          The server knows no miner {id}: the address may be mistyped, or the miner left before the server was started anew. Receipts
          outlast both: if it ever had one, it stands below.
        </p>
        <p className="hint">
          The <Link to="/dashboard">dashboard</Link> lists the miners of the run. <code className="code">NOT_FOUND</code>
        </p>
      </div>
    </section>
  );
}

function Standing({ miner }: { miner: MinerView }) {
  const { run } = useLive();
  const now = useNow();
  const head = situation(miner, now);
  return (
    <section className={`panel standing ${head.tone}`} aria-label="The miner now">
      <State head={head} now={now} />
      <Announce head={head} />
      <dl className="facts">
        <Fact name="Stage">{miner.stage === null ? 'none' : stageOf(miner, run)}</Fact>
        <Fact name="Parameters">{miner.version === null ? 'none proved' : `version ${count(miner.version)}`}</Fact>
        <Fact name="Leases">{miner.leases === 0 ? 'none' : `${count(miner.leases)} under way`}</Fact>
        <Fact name="Computes on">
          {miner.backend === 'webgpu' && 'WebGPU '}
          <b>{miner.adapter}</b>
        </Fact>
      </dl>
      <dl className="stats">
        <Stat label={OUTCOMES.counted.label} value={count(miner.microbatches)} note={OUTCOMES.counted.meaning} />
        <Stat label={OUTCOMES.surplus.label} value={count(miner.surplus)} note={OUTCOMES.surplus.meaning} />
        <Stat label={OUTCOMES.refused.label} value={count(miner.rejected)} note={OUTCOMES.refused.meaning} />
        <Stat label="Tokens" value={count(miner.tokens)} note="trained on, ever" />
        <Stat label="Tokens per second" value={miner.tokensPerSecond.toFixed(1)} note="last 30 s" />
      </dl>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function stageOf({ stage }: MinerView, run: RunSnapshot | null): string {
  const held = run?.stages[stage!];
  return held ? `${stage} of ${run.stages.length}, ${layers(held.layers)}` : String(stage);
}
