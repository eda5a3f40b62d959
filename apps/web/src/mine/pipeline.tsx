import type { MinerState } from '@starling/miner';
import type { MinerView, StageView } from '@starling/protocol';
import { doneIn } from '../dashboard/under-way.ts';
import { compact, count, layers, plural } from '../format.ts';
import { useIsComplete } from '../live.ts';
import { Bird } from '../marks.tsx';
import { hopeless } from './device.ts';

/** More birds than this on one stretch of wire are only counted below it. */
const MAX_BIRDS = 12;

/** All stages as one wire; every miner is a bird on it, and yours has the colours. */
export function Pipeline({ stages, miner }: { stages: StageView[]; miner: MinerState | null }) {
  const offered = !useIsComplete() && !hopeless();
  const own = miner && miner.activity !== 'stopped' ? miner : null;
  return (
    <section className="panel wire-panel" aria-labelledby="wire">
      <div className="panel-head">
        <h2 id="wire">The pipeline</h2>
        <p className="muted">{place(own, stages, offered)}</p>
      </div>
      {stages.length === 0 ? (
        <p className="empty wire-empty">The stages appear as soon as the server answers.</p>
      ) : (
        <ol className="wire">
          {stages.map((stage) => (
            <Stretch key={stage.index} stage={stage} own={own} />
          ))}
        </ol>
      )}
    </section>
  );
}

/** `offered`: this tab may mine. */
function place(own: MinerState | null, stages: StageView[], offered: boolean) {
  if (own?.layers && own.stage !== null) {
    const proof = own.parameterHash ? ` (${own.parameterHash.slice(0, 7)})` : '';
    return `You hold stage ${own.stage}: ${layers(own.layers)}, ${compact(own.parameters)} parameters, version ${count(own.version)}${proof}.`;
  }
  // A page that lacks its code asks for none.
  if (own) return own.error?.code === 'CODE_MISSING' ? '' : 'The server is choosing a stage for you.';
  if (stages.length === 0) return '';
  return `Each stage holds some layers; each bird is a miner.${offered ? ' Start, and one is yours.' : ''}`;
}

function Stretch({ stage, own }: { stage: StageView; own: MinerState | null }) {
  const here = own?.stage === stage.index;
  const others = stage.miners.filter((other) => other.connected && other.id !== own?.minerId);
  const miners = others.length + (here ? 1 : 0);
  const share = stage.total > 0 ? Math.min(1, doneIn(stage) / stage.total) : 0;
  return (
    <li className={here ? 'stretch here' : 'stretch'}>
      <div className="perch" aria-hidden="true">
        {here && (
          <span className="you">
            <Bird className="bird own" />
          </span>
        )}
        {others.slice(0, MAX_BIRDS).map((other) => (
          <span key={other.id} title={`${other.name || other.id}: ${other.activity}`}>
            <Bird className={`bird ${working(other) ? 'awake' : ''}`} />
          </span>
        ))}
      </div>
      <div className="line" aria-hidden="true">
        <div style={{ transform: `scaleX(${share})` }} />
      </div>
      <p className="stretch-name">
        Stage {stage.index}
        {here && <em> you are here</em>}
      </p>
      <p className="stretch-note">
        {layers(stage.layers)} ·{' '}
        {miners === 0 ? <span className={stage.phase === 'complete' ? '' : 'lacking'}>no miner</span> : plural(miners, 'miner')}
      </p>
    </li>
  );
}

const working = (miner: MinerView) => miner.activity !== 'waiting' && miner.activity !== 'stopped';
