import type { MinerView, RunSnapshot, StageView } from '@starling/protocol';
import { compact, count, layers, plural } from '../format.ts';
import { ACTIVITY_WORDS, TONES } from '../mine/activity.ts';
import { useMiner } from '../mine/mining.ts';
import { Progress } from '../parts.tsx';
import { Link } from '../router.tsx';

const PHASES = { training: 'work', merging: 'busy', waiting: 'wait', complete: 'work' } as const;

/** The pipeline from left to right: each stage with the miners that hold it. */
export function Stages({ run }: { run: RunSnapshot }) {
  const own = useMiner()?.minerId ?? null;
  return (
    <section className="stages" aria-labelledby="stages">
      <h2 id="stages">
        Stages <span className="muted">each holds some layers; a microbatch runs through all of them and back</span>
      </h2>
      <ol>
        {run.stages.map((stage) => (
          <Stage key={stage.index} stage={stage} own={own} />
        ))}
      </ol>
    </section>
  );
}

function Stage({ stage, own }: { stage: StageView; own: string | null }) {
  return (
    <li className="panel stage">
      <div className="stage-head">
        <h3>Stage {stage.index}</h3>
        <span className={`pill ${PHASES[stage.phase]}`}>{stage.phase}</span>
      </div>
      <p className="stage-facts">
        {layers(stage.layers)} · {compact(stage.parameters)} params ·{' '}
        <span title={`SHA-256 of the parameters: ${stage.parameterHash}`}>v{count(stage.version)}</span>{' '}
        <code className="code">{stage.parameterHash.slice(0, 7)}</code>
      </p>
      <div className="stage-progress">
        <Progress done={stage.done} total={stage.total} label={`Microbatches of this step, stage ${stage.index}`} />
        <span>
          {stage.done}/{stage.total}
        </span>
      </div>
      <p className={`stage-reason ${PHASES[stage.phase]}`}>{stage.miners.length > 0 && stage.reason}</p>
      {stage.miners.length === 0 ? (
        <p className="stage-empty">
          <b>{stage.reason ?? 'No miner holds this stage.'}</b> Training needs one on every stage. <Link to="/">Mine in this tab</Link> or
          open this page elsewhere.
        </p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a list that scrolls must be reachable by keyboard.
        <ul tabIndex={0} aria-label={plural(stage.miners.length, 'miner')}>
          {stage.miners.map((miner) => (
            <Miner key={miner.id} miner={miner} own={miner.id === own} behind={miner.version !== null && miner.version < stage.version} />
          ))}
        </ul>
      )}
    </li>
  );
}

const BACKENDS = { webgpu: 'GPU', wasm: 'CPU', cpu: 'CPU' };

function Miner({ miner, own, behind }: { miner: MinerView; own: boolean; behind: boolean }) {
  const tone = miner.connected ? TONES[miner.activity] : 'idle';
  return (
    <li className={`miner ${tone} ${own ? 'own' : ''}`} title={`${miner.id} · ${miner.adapter}`}>
      <div className="miner-line">
        <span className="lamp" />
        <b className="miner-name">{miner.name || miner.id.slice(0, 8)}</b>
        {own && <span className="badge">you</span>}
        <span className="badge">{BACKENDS[miner.backend]}</span>
        <span className="miner-rate">{compact(miner.tokensPerSecond)} tok/s</span>
      </div>
      <div className="miner-line miner-detail">
        <span className="miner-does">{miner.connected ? miner.reason || ACTIVITY_WORDS[miner.activity] : 'disconnected'}</span>
        {miner.rejected > 0 && <span className="miner-rejected">{miner.rejected} refused</span>}
        <span className={behind ? 'behind' : ''}>v{count(miner.version)}</span>
      </div>
    </li>
  );
}
