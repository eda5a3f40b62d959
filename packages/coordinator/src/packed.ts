/**
 * Flows and leases of a snapshot, as lists of values: a large step has hundreds of thousands of them, and whoever waits
 * for the snapshot waits for their text.
 */
import { LEASE_KINDS } from '@starling/protocol';
import { type Cell, type Flow, flowAt, type Slot, type Task } from './flow.ts';
import type { LeaseRecord, State } from './state.ts';

/** Most of a large step is tasks as they were made (null) and tasks done by somebody, whose id stands for all of it. */
type PackedTask = Task | Before | string | null;
/** Of snapshots that do not tell whose results were useless. */
type Before = Omit<Task, 'forfeits'> & { forfeits: number };
/** Null: as it was made. */
type PackedCell = [forward: PackedTask, backward: PackedTask, holder: string | null, contributed: 0 | 1] | null;
/** `marks`: abandoned 1, started 2, finished 4. */
export type PackedFlow = [index: number, lossSum: number | null, marks: number, cells: PackedCell[]];

function packTask(task: Task | null): PackedTask {
  if (!task || task.open.length > 0 || task.avoid !== null || task.forfeits.length > 0) return task;
  if (task.state === 'done' && task.minerId !== null) return task.minerId;
  return task.state === 'blocked' && task.minerId === null ? null : task;
}

function packCell({ forward, backward, holder, contributed }: Cell): PackedCell {
  const [up, down] = [packTask(forward), packTask(backward)];
  return up === null && down === null && holder === null && !contributed ? null : [up, down, holder, contributed ? 1 : 0];
}

/** Those of which something was granted, settled or left out. */
export function packFlows(flows: readonly Flow[]): PackedFlow[] {
  const packed: PackedFlow[] = [];
  for (const { index, lossSum, abandoned, started, finished, cells: all } of flows) {
    const cells = all.map(packCell);
    const marks = (abandoned ? 1 : 0) + (started ? 2 : 0) + (finished ? 4 : 0);
    if (marks > 0 || cells.some((cell) => cell !== null)) packed.push([index, lossSum, marks, cells]);
  }
  return packed;
}

/** Into flows as they are made. */
export function unpackFlows(packed: readonly PackedFlow[], flows: readonly Flow[]): void {
  for (const [index, lossSum, marks, cells] of packed) {
    const flow = flows[index]!;
    Object.assign(flow, { lossSum, abandoned: (marks & 1) > 0, started: (marks & 2) > 0, finished: (marks & 4) > 0 });
    for (const [stage, cell] of cells.entries()) if (cell) unpackCell(cell, flow.cells[stage]!);
  }
}

function unpackCell([forward, backward, holder, contributed]: NonNullable<PackedCell>, cell: Cell): void {
  Object.assign(cell, { holder, contributed: contributed === 1 } satisfies Partial<Cell>);
  const tasks: Record<Slot, PackedTask> = { forward, backward };
  for (const slot of ['forward', 'backward'] as const) {
    const task = tasks[slot];
    if (task === null) continue;
    if (typeof task === 'string') Object.assign(cell[slot]!, { state: 'done', minerId: task } satisfies Partial<Task>);
    else Object.assign(cell[slot]!, task, Array.isArray(task.forfeits) ? {} : { forfeits: new Array(task.forfeits).fill('') });
  }
}

const STATES: readonly LeaseRecord['state'][] = ['open', 'lost', 'forfeited', 'counted', 'surplus'];

/** Kinds and states by their places in the lists above and in the protocol's. */
export type PackedLease = [
  id: string,
  kind: number,
  stage: number,
  version: number,
  step: number,
  flow: number,
  minerId: string,
  round: number,
  sendInput: 0 | 1,
  grantedAt: number,
  deadline: number,
  state: number,
];

export const packLease = (lease: LeaseRecord): PackedLease => [
  lease.id,
  LEASE_KINDS.indexOf(lease.kind),
  lease.stage,
  lease.version,
  lease.flow.step,
  lease.flow.index,
  lease.minerId,
  lease.round,
  lease.sendInput ? 1 : 0,
  lease.grantedAt,
  lease.deadline,
  STATES.indexOf(lease.state),
];

export function unpackLease({ steps, config }: State, packed: PackedLease): LeaseRecord {
  const [id, kind, stage, version, step, index, minerId, round, sendInput, grantedAt, deadline, state] = packed;
  return {
    id,
    kind: LEASE_KINDS[kind]!,
    stage,
    version,
    // The flows of a closed step are gone; of its leases only the names are still of use.
    flow: steps.get(step)?.flows[index] ?? flowAt(step, index, config.microbatchesPerStep, config.stages),
    minerId,
    round,
    sendInput: sendInput === 1,
    grantedAt,
    deadline,
    state: STATES[state]!,
  };
}
