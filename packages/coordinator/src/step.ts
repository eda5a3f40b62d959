/**
 * All microbatches of one step, and what of it each stage can do now: kept up to date, so that nothing is searched for.
 * A ready backward whose stage input one miner still keeps waits in that miner's own list; everything else that is
 * ready waits in its stage's.
 */
import { type Flow, isSettled, type Slot, type Task, taskOf } from './flow.ts';

/** The order of `Step.flows`: training first, each by number. */
const place = (list: Flow[], flow: Flow) => {
  if (list.length === 0 || list.at(-1)!.index < flow.index) list.push(flow);
  else
    list.splice(
      list.findIndex((other) => other.index > flow.index),
      0,
      flow,
    );
};
const takeOut = (list: Flow[], flow: Flow) => {
  if (list[0] === flow) list.shift();
  else list.splice(list.indexOf(flow), 1);
};

export class Step {
  readonly number: number;
  readonly flows: readonly Flow[];
  /** Training microbatches that were begun and have not come back. */
  underWay = 0;
  /** When a task was settled last, or the step opened. */
  progressAt: number;
  /** Tasks not settled, by stage. */
  readonly open: number[];
  /** Ready tasks nobody has a claim to, by stage, in the order to grant them. */
  readonly ready: Record<Slot, Flow[]>[];
  /** Ready backwards that wait for the miner that keeps their input. A miner is on one stage, so one list each. */
  readonly pinned = new Map<string, Flow[]>();

  constructor(number: number, flows: readonly Flow[], stages: number, now: number) {
    this.number = number;
    this.flows = flows;
    this.progressAt = now;
    const unsettled = (task: Task | null) => Number(task !== null && !isSettled(task));
    this.open = Array.from({ length: stages }, (_, stage) =>
      flows.reduce((sum, { cells }) => sum + unsettled(cells[stage]!.forward) + unsettled(cells[stage]!.backward), 0),
    );
    this.ready = Array.from({ length: stages }, () => ({ forward: [], backward: [] }));
    this.underWay = flows.filter((flow) => flow.purpose === 'train' && flow.started && !flow.finished).length;
  }

  /** True when nothing is left to do at `stage` but the merge. */
  settledAt(stage: number): boolean {
    return this.open[stage] === 0;
  }

  /** Its input is there. `pinTo`: the miner it waits for, or null. */
  unblock(flow: Flow, stage: number, slot: Slot, pinTo: string | null): void {
    if (taskOf(flow, stage, slot).state === 'blocked') this.list(flow, stage, slot, pinTo);
  }

  /** Makes a task runnable again after its result was lost, at its old place in the order. */
  reopen(flow: Flow, stage: number, slot: Slot, avoid: string | null): void {
    const task = taskOf(flow, stage, slot);
    if (isSettled(task)) this.open[stage]! += 1;
    Object.assign(task, { open: [], minerId: null, avoid } satisfies Partial<Task>);
    this.list(flow, stage, slot, null);
  }

  /** A lease for it was granted. */
  lease(flow: Flow, stage: number, slot: Slot, leaseId: string): void {
    const task = taskOf(flow, stage, slot);
    this.unlist(flow, stage, slot);
    task.state = 'leased';
    task.open.push(leaseId);
    if (!flow.started) {
      flow.started = true;
      if (flow.purpose === 'train') this.underWay += 1;
    }
  }

  /** `done` by a miner, or `dropped`. */
  settle(flow: Flow, stage: number, slot: Slot, state: 'done' | 'dropped', minerId: string | null, now: number): void {
    const task = taskOf(flow, stage, slot);
    this.unlist(flow, stage, slot);
    if (!isSettled(task)) this.open[stage]! -= 1;
    Object.assign(task, { state, minerId, open: [] } satisfies Partial<Task>);
    if (state === 'done') this.progressAt = now;
    if (stage === 0 && slot === 'backward') this.finish(flow);
  }

  /** Nothing more will come of it, or nothing more is needed. */
  finish(flow: Flow): void {
    if (flow.purpose === 'train' && flow.started && !flow.finished) this.underWay -= 1;
    flow.finished = true;
  }

  /** The next ready task of a stage that waits for nobody in particular. */
  next(stage: number, slot: Slot): Flow | undefined {
    return this.ready[stage]![slot][0];
  }

  /** The next backward that waits for this miner. */
  nextOf(minerId: string): Flow | undefined {
    return this.pinned.get(minerId)?.[0];
  }

  /** The miner cannot do them now: anybody may. */
  unpin(minerId: string, stage: number): void {
    for (const flow of this.pinned.get(minerId) ?? []) place(this.ready[stage]!.backward, flow);
    this.pinned.delete(minerId);
  }

  private list(flow: Flow, stage: number, slot: Slot, pinTo: string | null): void {
    this.unlist(flow, stage, slot);
    taskOf(flow, stage, slot).state = 'ready';
    if (pinTo === null) {
      place(this.ready[stage]![slot], flow);
    } else {
      const own = this.pinned.get(pinTo) ?? [];
      place(own, flow);
      this.pinned.set(pinTo, own);
    }
  }

  private unlist(flow: Flow, stage: number, slot: Slot): void {
    if (taskOf(flow, stage, slot).state !== 'ready') return;
    const holder = slot === 'backward' ? flow.cells[stage]!.holder : null;
    const own = holder === null ? undefined : this.pinned.get(holder);
    if (own?.includes(flow)) {
      takeOut(own, flow);
      if (own.length === 0) this.pinned.delete(holder!);
    } else {
      takeOut(this.ready[stage]![slot], flow);
    }
  }
}
