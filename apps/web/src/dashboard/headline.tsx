import type { RunSnapshot, StepPoint } from '@starling/protocol';
import { remaining, tokenGoal } from '../chart-data.ts';
import { compact, count, loss, plural, roughly } from '../format.ts';
import { situation } from '../mine/activity.ts';
import { useNow } from '../now.ts';
import { Progress, Stat } from '../parts.tsx';
import { Dial } from './dial.tsx';

/** The run in six numbers. */
export function Headline({ run, points }: { run: RunSnapshot; points: StepPoint[] }) {
  const { config, step, stages } = run;
  const now = useNow();
  const goal = tokenGoal(config);
  const left = remaining(points, step, config.steps);
  const miners = stages.flatMap((stage) => stage.miners).filter((miner) => miner.connected);
  const working = miners.filter((miner) => situation(miner, now).tone === 'work').length;
  const validated = points.findLast((point) => point.validationLoss !== null);
  return (
    <section className="panel headline" aria-label="The run now">
      <div className="headline-step">
        <p className="headline-run">
          <b>{config.preset}</b> <span className="muted">{compact(run.parameters)} parameters</span>{' '}
          <code className="code">{config.runId}</code>
        </p>
        <p className="headline-count">
          <span className="stat-value">Step {count(step)}</span>
          <span className="muted">
            {goal === null
              ? ' · the run has no token goal'
              : ` of ${count(config.steps)} · ${compact(run.tokens)} of ${compact(goal)} tokens`}
            {left !== null && ` · about ${roughly(left)} left`}
          </span>
        </p>
        {goal !== null && <Progress done={run.tokens} total={goal} label="Tokens of the goal" />}
      </div>
      <Dial run={run} points={points} now={now} />
      <dl className="stats">
        <Stat label="Loss" value={loss(run.loss)} note="nats per token" />
        <Stat
          label="Validation loss"
          value={loss(run.validationLoss)}
          note={validated ? `at step ${count(validated.step)}` : `every ${count(config.validateEvery)} steps`}
        />
        <Stat label="Tokens" value={compact(run.tokens)} note="trained on" />
        <Stat label="Tokens per second" value={compact(run.tokensPerSecond)} note="all miners" />
        <Stat label="Miners" value={count(miners.length)} note={`${count(working)} at work, ${plural(stages.length, 'stage')}`} />
      </dl>
    </section>
  );
}
