import type { MinerView, RunSnapshot, StageView } from '@starling/protocol';
import { compact, count, layers, plural } from '../format.ts';
import { ACTIVITY_WORDS, situation, times } from '../mine/activity.ts';
import { useMiner } from '../mine/mining.ts';
import { nameOf } from '../names.ts';
import { useNow } from '../now.ts';
import { Progress } from '../parts.tsx';
import { minerPath, stagePath } from '../paths.ts';
import { Link } from '../router.tsx';
import { drawnOf } from './drawn.ts';
import { doneIn } from './under-way.ts';

const PHASES = { training: 'work', merging: 'busy', waiting: 'wait', complete: 'work' } as const;

/** The pipeline from left to right: each stage with the miners that hold it. */
export function Stages({ run }: { run: RunSnapshot }) {
  const own = useMiner()?.minerId ?? null;
  const now = useNow();
  return (
    <section className="stages" aria-labelledby="stages">
      <h2 id="stages">
        Stages <span className="muted">each holds some layers; a microbatch runs through all of them and back</span>
      </h2>
      <ol>
        {run.stages.map((stage) => (
          <Stage key={stage.index} stage={stage} own={own} now={now} />
        ))}
      </ol>
    </section>
  );
}

function Stage({ stage, own, now }: { stage: StageView; own: string | null; now: number }) {
  const drawn = drawnOf(stage.miners, own);
  const done = doneIn(stage);
  return (
    <li className="panel stage">
      <div className="stage-head">
        <h3>
          <Link to={stagePath(stage.index)}>Stage {stage.index}</Link>
        </h3>
        <span className={`pill ${PHASES[stage.phase]}`}>{stage.phase}</span>
      </div>
      <p className="stage-facts">
        {layers(stage.layers)} · {compact(stage.parameters)} params ·{' '}
        <span title={`SHA-256 of the parameters: ${stage.parameterHash}`}>v{count(stage.version)}</span>{' '}
        <code className="code">{stage.parameterHash.slice(0, 7)}</code>
      </p>
      <div className="stage-progress">
        <Progress done={done} total={stage.total} label={`Microbatches of this step, stage ${stage.index}`} />
        <span>
          {done}/{stage.total}
        </span>
      </div>
      <p className={`stage-reason ${PHASES[stage.phase]}`}>{stage.miners.length > 0 && stage.reason?.message}</p>
      {stage.miners.length === 0 ? (
        <p className="stage-empty">
          <b>{stage.reason?.message ?? 'No miner holds this stage.'}</b>{' '}
          {stage.phase === 'complete' ? (
            'Nobody has to hold this stage any more.'
          ) : (
            <>
              Training needs one on every stage. <Link to="/">Mine in this tab</Link> or open this page elsewhere.
            </>
          )}
        </p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a list that scrolls must be reachable by keyboard.
        <ul tabIndex={0} aria-label={plural(stage.miners.length, 'miner')}>
          {drawn.map((miner) => (
            <Miner
              key={miner.id}
              miner={miner}
              own={miner.id === own}
              behind={miner.version !== null && miner.version < stage.version}
              ofStage={stage.reason?.message ?? null}
              now={now}
            />
          ))}
          {drawn.length < stage.miners.length && (
            <li className="miner">
              <Link to={stagePath(stage.index)}>All {count(stage.miners.length)} on the stage’s page</Link>
            </li>
          )}
        </ul>
      )}
    </li>
  );
}

const BACKENDS = { webgpu: 'GPU', wasm: 'CPU', cpu: 'CPU' };

interface MinerProps {
  miner: MinerView;
  own: boolean;
  /** It holds an older version than its stage. */
  behind: boolean;
  /** What the whole stage waits for, as said above the miners. */
  ofStage: string | null;
  now: number;
}

function Miner({ miner, own, behind, ofStage, now }: MinerProps) {
  const head = situation(miner, now);
  const word = head.tone === 'work' && miner.activity !== 'waiting' ? ACTIVITY_WORDS[miner.activity] : head.title.toLowerCase();
  return (
    <li className={`miner ${head.tone} ${own ? 'own' : ''}`}>
      <div className="miner-line">
        <span className="lamp" />
        <Link to={minerPath(miner.id)} className="miner-name" title={miner.id}>
          {nameOf(miner)}
        </Link>
        {own && <span className="badge">you</span>}
        <span className="badge">{BACKENDS[miner.backend]}</span>
        <span className="miner-rate">{compact(miner.tokensPerSecond)} tok/s</span>
      </div>
      <div className="miner-line miner-detail">
        <span className="miner-does">
          {word} <span className="miner-since">{times(head, now)}</span>
        </span>
        {miner.rejected > 0 && <span className="miner-rejected">{miner.rejected} refused</span>}
        <span className={behind ? 'behind' : ''}>{miner.version === null ? 'no version yet' : `v${count(miner.version)}`}</span>
      </div>
      {head.tone === 'work' ? (
        <p className="miner-on">{miner.adapter}</p>
      ) : (
        <p className="miner-why">{head.sentence === ofStage ? 'As the whole stage, see above.' : head.sentence}</p>
      )}
    </li>
  );
}
