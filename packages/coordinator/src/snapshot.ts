/** The state as plain data and back. Whatever follows from the rest is left out and made again. */
import { type Cell, type Flow, newFlow, newFlows, type Slot, type Task } from './flow.ts';
import type { Credit, MinerRecord } from './miner.ts';
import type { Claim, StageRecord } from './stage.ts';
import { type LeaseRecord, State } from './state.ts';
import { Step } from './step.ts';
import type { CoordinatorConfig } from './types.ts';

type Plain<T, K extends keyof T, With> = Omit<T, K> & With;

export interface Snapshot {
  /** Changes when a state of before cannot be read any more. */
  format: 2;
  config: CoordinatorConfig;
  counters: State['counters'];
  now: number;
  rebalancedAt: number;
  leaseCount: number;
  minerCount: number;
  roundCount: number;
  stages: Plain<StageRecord, 'collecting' | 'voided', { collecting: [string, Claim][]; voided: [string, number][]; crew: string[] }>[];
  miners: Plain<MinerRecord, 'leases', { leases: string[] }>[];
  steps: {
    number: number;
    train: number;
    validate: number;
    /** Those of which something was granted, settled or left out; the rest is as it was made. */
    flows: [index: number, flow: PlainFlow][];
    progressAt: number;
    /** Indices into `flows`. */
    ready: Record<Slot, number[]>[];
    pinned: [string, number[]][];
  }[];
  credits: [string, Credit][];
  leases: Plain<LeaseRecord, 'flow', { flow: Pick<Flow, 'step' | 'index' | 'purpose' | 'microbatch'> }>[];
}

type PlainFlow = Pick<Flow, 'lossSum' | 'abandoned' | 'started' | 'finished'> & { cells: (PlainCell | null)[] };
/** Null: as it was made. */
type PlainCell = Omit<Cell, Slot> & Record<Slot, PlainTask>;
/** Most of a large step is tasks as they were made (null) and tasks done by somebody (whose id stands for all of it). */
type PlainTask = Task | string | null;

function plainTask(task: Task | null): PlainTask {
  if (!task || task.open.length > 0 || task.avoid !== null || task.forfeits > 0) return task;
  if (task.state === 'done' && task.minerId !== null) return task.minerId;
  return task.state === 'blocked' && task.minerId === null ? null : task;
}

function plainCell({ forward, backward, holder, contributed }: Cell): PlainCell | null {
  const cell = { forward: plainTask(forward), backward: plainTask(backward), holder, contributed };
  return cell.forward === null && cell.backward === null && holder === null && !contributed ? null : cell;
}

function plainFlows(flows: readonly Flow[]): [number, PlainFlow][] {
  const touched: [number, PlainFlow][] = [];
  for (const { index, lossSum, abandoned, started, finished, cells: all } of flows) {
    const cells = all.map(plainCell);
    if (started || finished || abandoned || cells.some((cell) => cell !== null))
      touched.push([index, { lossSum, abandoned, started, finished, cells }]);
  }
  return touched;
}

function fillFlow(flow: Flow, { cells, ...rest }: PlainFlow): void {
  Object.assign(flow, rest);
  cells.forEach((plain, stage) => {
    if (!plain) return;
    const cell = flow.cells[stage]!;
    Object.assign(cell, { holder: plain.holder, contributed: plain.contributed } satisfies Partial<Cell>);
    for (const slot of ['forward', 'backward'] as const) {
      const task = plain[slot];
      if (task === null) continue;
      Object.assign(cell[slot]!, typeof task === 'string' ? ({ state: 'done', minerId: task } satisfies Partial<Task>) : task);
    }
  });
}

const indices = (flows: readonly Flow[]) => flows.map((flow) => flow.index);

export function toSnapshot(state: State): Snapshot {
  const { config, counters, now, rebalancedAt, leaseCount, minerCount, roundCount } = state;
  return {
    format: 2,
    config,
    counters,
    now,
    rebalancedAt,
    leaseCount,
    minerCount,
    roundCount,
    stages: state.stages.map((stage) => ({
      ...stage,
      collecting: [...stage.collecting],
      voided: [...stage.voided],
      crew: [...state.crews[stage.index]!.members.keys()],
    })),
    miners: [...state.miners.values()].map((miner) => ({ ...miner, leases: [...miner.leases] })),
    steps: [...state.steps.values()].map(({ number, flows, progressAt, ready, pinned }) => ({
      number,
      train: flows.filter((flow) => flow.purpose === 'train').length,
      validate: flows.filter((flow) => flow.purpose === 'validate').length,
      flows: plainFlows(flows),
      progressAt,
      ready: ready.map(({ forward, backward }) => ({ forward: indices(forward), backward: indices(backward) })),
      // An order of its own: which miner got its first task first bears on nothing.
      pinned: [...pinned].map(([id, own]): [string, number[]] => [id, indices(own)]).sort(([a], [b]) => (a < b ? -1 : 1)),
    })),
    credits: [...state.credits],
    leases: [...state.leases.values()].map(({ flow: { step, index, purpose, microbatch }, ...lease }) => ({
      ...lease,
      flow: { step, index, purpose, microbatch },
    })),
  };
}

/** Takes the snapshot over: it must not be used afterwards. */
export function fromSnapshot(snapshot: Snapshot): State {
  const { config, counters, now, rebalancedAt, leaseCount, minerCount, roundCount } = snapshot;
  const state = new State(config, now);
  Object.assign(state.counters, counters);
  Object.assign(state, { rebalancedAt, leaseCount, minerCount, roundCount });
  // Overwriting a field keeps its place, and so the text of the next snapshot.
  for (const miner of snapshot.miners) state.miners.set(miner.id, { ...miner, leases: new Set(miner.leases) });
  snapshot.stages.forEach(({ collecting, voided, crew: _, ...stage }, index) => {
    Object.assign(state.stages[index]!, { ...stage, collecting: new Map(collecting), voided: new Map(voided) });
  });
  for (const { number, train, validate, flows: touched, progressAt, ready, pinned } of snapshot.steps) {
    const flows = newFlows(number, train, validate, config.stages);
    for (const [index, plain] of touched) fillFlow(flows[index]!, plain);
    const step = new Step(number, flows, config.stages, progressAt);
    const pick = (list: number[]) => list.map((index) => flows[index]!);
    ready.forEach(({ forward, backward }, stage) => {
      step.ready[stage] = { forward: pick(forward), backward: pick(backward) };
    });
    for (const [id, own] of pinned) step.pinned.set(id, pick(own));
    state.steps.set(number, step);
  }
  for (const [id, credit] of snapshot.credits) state.credits.set(id, credit);
  for (const { flow: of, ...lease } of snapshot.leases) {
    // The flows of a closed step are gone; of its leases only the names are still of use.
    const flow = state.steps.get(of.step)?.flows[of.index] ?? newFlow(of.step, of.index, of.purpose, of.microbatch, config.stages);
    state.leases.set(lease.id, { ...lease, flow });
  }
  // After the leases: where a miner stands follows from all of the above.
  snapshot.stages.forEach(({ crew }, index) => {
    for (const id of crew) state.crews[index]!.add(state.miners.get(id)!);
  });
  return state;
}
