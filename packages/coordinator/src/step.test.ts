import { describe, expect, it } from 'vitest';
import { type Flow, newFlow, nextTask, type Slot, taskOf } from './flow.ts';
import { Step } from './step.ts';

/** A step of training flows and then validating ones. */
function newStep(train = 3, validate = 0, stages = 2): Step {
  const flows = [
    ...Array.from({ length: train }, (_, i) => newFlow(0, i, 'train', i, stages)),
    ...Array.from({ length: validate }, (_, i) => newFlow(0, train + i, 'validate', i, stages)),
  ];
  return new Step(0, flows, stages, 100);
}
const indices = (flows: readonly Flow[] | undefined) => flows?.map((flow) => flow.index);
const ready = (step: Step, stage: number, slot: Slot) => indices(step.ready[stage]![slot]);

/** The forward of `flow` at `stage` is done by `holder`, who keeps its input. */
function forwardDone(step: Step, flow: Flow, stage: number, holder: string): void {
  step.unblock(flow, stage, 'forward', null);
  step.lease(flow, stage, 'forward', 'f');
  step.settle(flow, stage, 'forward', 'done', holder, 0);
  flow.cells[stage]!.holder = holder;
}

describe('a new step', () => {
  it('has every task open, and none ready', () => {
    const step = newStep(3, 2, 3);
    // Training: forward and backward, at the last stage a backward only. Validation: a forward everywhere.
    expect(step.open).toEqual([8, 8, 5]);
    expect(step.ready).toEqual(Array.from({ length: 3 }, () => ({ forward: [], backward: [] })));
    expect([step.underWay, step.progressAt, step.next(0, 'forward')]).toEqual([0, 100, undefined]);
  });

  it('that is read from a snapshot counts what is settled and what is under way', () => {
    const before = newStep();
    const [a, b, c] = before.flows as [Flow, Flow, Flow];
    for (const flow of before.flows) before.unblock(flow, 0, 'forward', null);
    before.lease(a, 0, 'forward', 'l1');
    before.settle(a, 0, 'forward', 'done', 'm', 5);
    before.lease(b, 0, 'forward', 'l2');
    before.settle(c, 1, 'backward', 'dropped', null, 6);
    const again = new Step(0, before.flows, 2, before.progressAt);
    expect([again.open, again.underWay]).toEqual([before.open, before.underWay]);
    expect([again.open, again.underWay]).toEqual([[5, 2], 2]);
  });
});

describe('unblocking', () => {
  it('lists what is ready in the order of the step, whatever the order it got ready in', () => {
    const step = newStep(4);
    for (const i of [2, 0, 3, 1]) step.unblock(step.flows[i]!, 0, 'forward', null);
    expect(ready(step, 0, 'forward')).toEqual([0, 1, 2, 3]);
    expect(step.next(0, 'forward')).toBe(step.flows[0]);
  });

  it('changes nothing the second time, nor when the task is leased or settled', () => {
    const step = newStep(2);
    const [flow] = step.flows as [Flow];
    step.unblock(flow, 0, 'forward', null);
    step.unblock(flow, 0, 'forward', null);
    expect(ready(step, 0, 'forward')).toEqual([0]);
    step.lease(flow, 0, 'forward', 'l');
    step.unblock(flow, 0, 'forward', null);
    expect(ready(step, 0, 'forward')).toEqual([]);
    step.settle(flow, 0, 'forward', 'done', 'm', 0);
    step.unblock(flow, 0, 'forward', null);
    expect([ready(step, 0, 'forward'), taskOf(flow, 0, 'forward').state]).toEqual([[], 'done']);
  });

  it('puts a backward that waits for its holder into that miner’s list, in order', () => {
    const step = newStep(3);
    for (const flow of step.flows) forwardDone(step, flow, 0, 'm');
    for (const i of [2, 0, 1]) step.unblock(step.flows[i]!, 0, 'backward', 'm');
    expect(ready(step, 0, 'backward')).toEqual([]);
    expect(indices(step.pinned.get('m'))).toEqual([0, 1, 2]);
    expect(step.nextOf('m')).toBe(step.flows[0]);
    expect([step.nextOf('n'), step.next(0, 'backward')]).toEqual([undefined, undefined]);
  });
});

describe('leasing', () => {
  it('takes a task off its list and counts the microbatch as under way, once', () => {
    const step = newStep(3);
    for (const flow of step.flows) step.unblock(flow, 0, 'forward', null);
    const [, second] = step.flows as [Flow, Flow];
    step.lease(second, 0, 'forward', 'l1');
    expect([ready(step, 0, 'forward'), step.underWay]).toEqual([[0, 2], 1]);
    step.lease(second, 0, 'forward', 'l2');
    expect([ready(step, 0, 'forward'), step.underWay, taskOf(second, 0, 'forward').open]).toEqual([[0, 2], 1, ['l1', 'l2']]);
    expect(step.open).toEqual([6, 3]);
  });

  it('does not count what validates as under way', () => {
    const step = newStep(1, 1);
    step.unblock(step.flows[1]!, 0, 'forward', null);
    step.lease(step.flows[1]!, 0, 'forward', 'l');
    expect([step.flows[1]!.started, step.underWay]).toEqual([true, 0]);
  });

  it('takes a pinned task off its miner’s list, and the last one the list with it', () => {
    const step = newStep(2);
    for (const flow of step.flows) {
      forwardDone(step, flow, 0, 'm');
      step.unblock(flow, 0, 'backward', 'm');
    }
    step.lease(step.flows[1]!, 0, 'backward', 'l1');
    expect(indices(step.pinned.get('m'))).toEqual([0]);
    step.lease(step.flows[0]!, 0, 'backward', 'l2');
    expect(step.pinned.size).toBe(0);
  });

  it('takes a task that waits for anybody although somebody keeps its input', () => {
    const step = newStep(2);
    for (const flow of step.flows) forwardDone(step, flow, 0, 'm');
    step.unblock(step.flows[0]!, 0, 'backward', 'm');
    step.unblock(step.flows[1]!, 0, 'backward', null);
    step.lease(step.flows[1]!, 0, 'backward', 'l');
    expect([ready(step, 0, 'backward'), indices(step.pinned.get('m'))]).toEqual([[], [0]]);
  });
});

describe('settling', () => {
  it('closes the task once: a second receipt changes no count', () => {
    const step = newStep(1);
    const [flow] = step.flows as [Flow];
    step.unblock(flow, 0, 'forward', null);
    step.lease(flow, 0, 'forward', 'l');
    step.settle(flow, 0, 'forward', 'done', 'm', 500);
    expect(taskOf(flow, 0, 'forward')).toMatchObject({ state: 'done', minerId: 'm', open: [] });
    expect([step.open, step.progressAt]).toEqual([[1, 1], 500]);
    step.settle(flow, 0, 'forward', 'done', 'n', 600);
    expect(step.open).toEqual([1, 1]);
  });

  it('takes a task that is listed off its list: its late receipt came after all', () => {
    const step = newStep(3);
    for (const flow of step.flows) step.unblock(flow, 0, 'forward', null);
    step.settle(step.flows[1]!, 0, 'forward', 'done', 'm', 0);
    expect(ready(step, 0, 'forward')).toEqual([0, 2]);
    forwardDone(step, step.flows[0]!, 0, 'm');
    step.unblock(step.flows[0]!, 0, 'backward', 'm');
    step.settle(step.flows[0]!, 0, 'backward', 'done', 'n', 0);
    expect(step.pinned.size).toBe(0);
  });

  it('ends what was under way with the backward of the first stage', () => {
    const step = newStep(2);
    for (const flow of step.flows) forwardDone(step, flow, 0, 'm');
    expect(step.underWay).toBe(2);
    step.settle(step.flows[0]!, 1, 'backward', 'done', 'n', 0);
    expect([step.underWay, step.flows[0]!.finished]).toEqual([2, false]);
    step.settle(step.flows[0]!, 0, 'backward', 'done', 'm', 0);
    expect([step.underWay, step.flows[0]!.finished]).toEqual([1, true]);
    // Its gradient is lost and computed again: it is not under way a second time.
    step.reopen(step.flows[0]!, 0, 'backward', null);
    step.lease(step.flows[0]!, 0, 'backward', 'l');
    expect(step.underWay).toBe(1);
  });

  it('of a dropped task is no progress', () => {
    const step = newStep(1);
    step.settle(step.flows[0]!, 1, 'backward', 'dropped', null, 900);
    expect([step.progressAt, step.open]).toEqual([100, [2, 0]]);
    expect([step.settledAt(0), step.settledAt(1)]).toEqual([false, true]);
  });
});

describe('reopening', () => {
  it('puts a task back at its old place, for anybody but who was late with it', () => {
    const step = newStep(4);
    for (const flow of step.flows) step.unblock(flow, 0, 'forward', null);
    for (const flow of step.flows.slice(0, 3)) step.lease(flow, 0, 'forward', `l${flow.index}`);
    step.reopen(step.flows[2]!, 0, 'forward', null);
    step.reopen(step.flows[1]!, 0, 'forward', 'slow');
    expect(ready(step, 0, 'forward')).toEqual([1, 2, 3]);
    expect(taskOf(step.flows[1]!, 0, 'forward')).toEqual({ state: 'ready', open: [], minerId: null, avoid: 'slow', forfeits: [] });
    expect(step.open).toEqual([8, 4]);
  });

  it('opens what was settled again, in the counts too', () => {
    const step = newStep(2);
    step.settle(step.flows[0]!, 1, 'backward', 'done', 'm', 0);
    expect(step.open).toEqual([4, 1]);
    step.reopen(step.flows[0]!, 1, 'backward', 'm');
    expect([step.open, step.settledAt(1), ready(step, 1, 'backward')]).toEqual([[4, 2], false, [0]]);
  });

  it('remembers how often its result was useless', () => {
    const step = newStep(1);
    step.unblock(step.flows[0]!, 0, 'forward', null);
    taskOf(step.flows[0]!, 0, 'forward').forfeits = ['a', 'b'];
    step.lease(step.flows[0]!, 0, 'forward', 'l');
    step.reopen(step.flows[0]!, 0, 'forward', 'm');
    expect(taskOf(step.flows[0]!, 0, 'forward').forfeits).toEqual(['a', 'b']);
  });

  it('lists a task once that is listed already, pinned or not', () => {
    const step = newStep(2);
    step.unblock(step.flows[0]!, 0, 'forward', null);
    step.reopen(step.flows[0]!, 0, 'forward', 'm');
    expect(ready(step, 0, 'forward')).toEqual([0]);
    forwardDone(step, step.flows[1]!, 0, 'm');
    step.unblock(step.flows[1]!, 0, 'backward', 'm');
    step.reopen(step.flows[1]!, 0, 'backward', null);
    expect([ready(step, 0, 'backward'), step.pinned.size]).toEqual([[1], 0]);
  });
});

describe('unpinning', () => {
  it('gives a miner’s backwards to anybody, in the order of the step', () => {
    const step = newStep(4);
    for (const flow of step.flows) forwardDone(step, flow, 0, flow.index === 2 ? 'n' : 'm');
    step.unblock(step.flows[3]!, 0, 'backward', 'm');
    step.unblock(step.flows[0]!, 0, 'backward', 'm');
    step.unblock(step.flows[1]!, 0, 'backward', null);
    step.unblock(step.flows[2]!, 0, 'backward', 'n');
    step.unpin('m', 0);
    expect(ready(step, 0, 'backward')).toEqual([0, 1, 3]);
    expect([...step.pinned.keys()]).toEqual(['n']);
    step.unpin('nobody', 0);
    expect(ready(step, 0, 'backward')).toEqual([0, 1, 3]);
  });

  it('leaves tasks that can be leased, settled and reopened as any other', () => {
    const step = newStep(3);
    for (const flow of step.flows) {
      forwardDone(step, flow, 0, 'm');
      step.unblock(flow, 0, 'backward', 'm');
    }
    step.unpin('m', 0);
    const [a, b, c] = step.flows as [Flow, Flow, Flow];
    step.lease(a, 0, 'backward', 'l');
    step.settle(b, 0, 'backward', 'done', 'm', 0);
    step.reopen(c, 0, 'backward', 'm');
    expect(ready(step, 0, 'backward')).toEqual([2]);
    step.reopen(a, 0, 'backward', null);
    expect(ready(step, 0, 'backward')).toEqual([0, 2]);
  });
});

describe('the way of a microbatch', () => {
  it('goes up by forwards, turns at the last stage, and comes down by backwards', () => {
    const train = newFlow(0, 0, 'train', 0, 3);
    const way: string[] = [];
    for (let at: ReturnType<typeof nextTask> = { stage: 0, slot: 'forward' }; at; at = nextTask(train, at.stage, at.slot))
      way.push(`${at.slot} ${at.stage}`);
    expect(way).toEqual(['forward 0', 'forward 1', 'backward 2', 'backward 1', 'backward 0']);
  });

  it('ends at the last stage when it validates, and is one backward where there is one stage', () => {
    const validate = newFlow(0, 0, 'validate', 0, 2);
    expect(nextTask(validate, 0, 'forward')).toEqual({ stage: 1, slot: 'forward' });
    expect(nextTask(validate, 1, 'forward')).toBeNull();
    const alone = newFlow(0, 0, 'train', 0, 1);
    expect([alone.cells[0]!.forward, nextTask(alone, 0, 'backward')]).toEqual([null, null]);
  });
});
