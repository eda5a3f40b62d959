/** All microbatches of one step, and what of it each stage can do now: kept up to date, so that nothing is searched for. */
import { type Flow, type Slot, type Task, taskOf } from './flow.ts';

/** What became of a task that was offered: granted, not possible now, or nothing of this kind is possible now. */
export type Offer = 'granted' | 'later' | 'stop';

/** The order of `Step.flows`: training first, each by number. */
const comesBefore = (a: Flow, b: Flow) => (a.purpose === b.purpose ? a.microbatch < b.microbatch : a.purpose === 'train');

export class Step {
  readonly flows: readonly Flow[];
  /** Tasks not done, by stage. */
  private readonly open: number[];
  /** Tasks that were made ready, by stage, in the order to grant them; some may be taken or done already. */
  private readonly ready: Record<Slot, Flow[]>[];

  constructor(flows: readonly Flow[], stages: number) {
    this.flows = flows;
    const tasks = ({ forward, backward }: Flow['cells'][number]) => Number(forward !== null) + Number(backward !== null);
    this.open = Array.from({ length: stages }, (_, stage) => flows.reduce((sum, flow) => sum + tasks(flow.cells[stage]!), 0));
    this.ready = Array.from({ length: stages }, () => ({ forward: [], backward: [] }));
    for (const flow of flows) this.unblock(flow, 0, flow.cells[0]!.forward ? 'forward' : 'backward');
  }

  /** True when nothing is left to do at `stage` but the merge. */
  settledAt(stage: number): boolean {
    return this.open[stage] === 0;
  }

  /** Its input is there. */
  unblock(flow: Flow, stage: number, slot: Slot): void {
    const task = taskOf(flow, stage, slot);
    if (task.state !== 'blocked') return;
    task.state = 'ready';
    this.ready[stage]![slot].push(flow);
  }

  settle(flow: Flow, stage: number, slot: Slot, by: Pick<Task, 'leaseId' | 'minerId'>): void {
    const task = taskOf(flow, stage, slot);
    if (task.state !== 'done') this.open[stage]! -= 1;
    Object.assign(task, { state: 'done', ...by } satisfies Partial<Task>);
  }

  /** Makes a task runnable again after its miner was lost, at its old place in the order. */
  reopen(flow: Flow, stage: number, slot: Slot, avoid: string | null = null): void {
    const task = taskOf(flow, stage, slot);
    if (task.state === 'done') this.open[stage]! += 1;
    Object.assign(task, { state: 'ready', avoid, leaseId: null, minerId: null } satisfies Task);
    const list = this.ready[stage]![slot];
    const later = list.findIndex((other) => comesBefore(flow, other));
    list.splice(later < 0 ? list.length : later, 0, flow);
  }

  /** Offers what is ready, one after the other. */
  offer(stage: number, slot: Slot, grant: (flow: Flow) => Offer): void {
    const list = this.ready[stage]![slot];
    let kept = 0;
    let seen = 0;
    for (let outcome: Offer = 'later'; seen < list.length && outcome !== 'stop'; seen++) {
      const flow = list[seen]!;
      if (taskOf(flow, stage, slot).state !== 'ready') continue;
      outcome = grant(flow);
      if (outcome !== 'granted') list[kept++] = flow;
    }
    if (kept < seen) list.splice(kept, seen - kept);
  }
}
