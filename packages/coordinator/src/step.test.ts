import { describe, expect, it } from 'vitest';
import { newFlow, type Slot } from './flow.ts';
import { type Offer, Step } from './step.ts';

const step = (train = 3, validate = 0, stages = 2) =>
  new Step(
    [
      ...Array.from({ length: train }, (_, i) => newFlow(0, 'train', i, stages)),
      ...Array.from({ length: validate }, (_, i) => newFlow(0, 'validate', i, stages)),
    ],
    stages,
  );
const by = { leaseId: 'l', minerId: 'm' };
/** What is offered, in order, when every offer ends like this. */
function offered(of: Step, stage: number, slot: Slot, outcome: Offer = 'later'): string[] {
  const seen: string[] = [];
  of.offer(stage, slot, (flow) => {
    seen.push(`${flow.purpose} ${flow.microbatch}`);
    if (outcome === 'granted') flow.cells[stage]![slot]!.state = 'leased';
    return outcome;
  });
  return seen;
}

describe('a step', () => {
  it('begins with the first stage’s forwards, or its backwards where it is the last as well', () => {
    expect(offered(step(2, 1), 0, 'forward')).toEqual(['train 0', 'train 1', 'validate 0']);
    expect(offered(step(2, 1), 1, 'backward')).toEqual([]);
    const single = step(2, 1, 1);
    expect(offered(single, 0, 'backward')).toEqual(['train 0', 'train 1']);
    expect(offered(single, 0, 'forward')).toEqual(['validate 0']);
  });

  it('offers what was not granted again, in the same order, and what was granted no more', () => {
    const work = step();
    expect(offered(work, 0, 'forward', 'stop')).toEqual(['train 0']);
    let count = 0;
    work.offer(0, 'forward', (flow) => {
      if (count++ !== 1) return 'later';
      flow.cells[0]!.forward!.state = 'leased';
      return 'granted';
    });
    expect(offered(work, 0, 'forward')).toEqual(['train 0', 'train 2']);
    expect(offered(work, 0, 'forward', 'granted')).toEqual(['train 0', 'train 2']);
    expect(offered(work, 0, 'forward')).toEqual([]);
  });

  it('offers a reopened task at its old place, and not twice', () => {
    const work = step(3, 1);
    const [, second] = work.flows;
    offered(work, 0, 'forward', 'granted');
    work.reopen(work.flows[3]!, 0, 'forward');
    work.reopen(work.flows[2]!, 0, 'forward');
    work.reopen(second!, 0, 'forward', 'slow');
    expect(second!.cells[0]!.forward).toEqual({ state: 'ready', leaseId: null, minerId: null, avoid: 'slow' });
    expect(offered(work, 0, 'forward')).toEqual(['train 1', 'train 2', 'validate 0']);
    // A late receipt settles it while it is offered to others.
    work.settle(second!, 0, 'forward', by);
    expect(offered(work, 0, 'forward')).toEqual(['train 2', 'validate 0']);
  });

  it('is settled at a stage when every task there is done, and not after one was reopened', () => {
    const work = step(2);
    for (const flow of work.flows) {
      expect(work.settledAt(1)).toBe(false);
      work.unblock(flow, 1, 'backward');
      work.settle(flow, 1, 'backward', by);
      work.settle(flow, 1, 'backward', by);
    }
    expect(work.settledAt(1)).toBe(true);
    expect(work.settledAt(0)).toBe(false);
    work.reopen(work.flows[0]!, 1, 'backward');
    work.reopen(work.flows[0]!, 1, 'backward');
    expect(work.settledAt(1)).toBe(false);
    work.settle(work.flows[0]!, 1, 'backward', by);
    expect(work.settledAt(1)).toBe(true);
  });

  it('unblocks a task once', () => {
    const work = step(1);
    work.unblock(work.flows[0]!, 1, 'backward');
    work.unblock(work.flows[0]!, 1, 'backward');
    expect(offered(work, 1, 'backward', 'granted')).toEqual(['train 0']);
    work.unblock(work.flows[0]!, 1, 'backward');
    expect(offered(work, 1, 'backward')).toEqual([]);
  });
});
