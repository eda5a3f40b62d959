/** Who computes what: leases are granted, passed on, and hedged. */
import type { LeaseKind } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import type { Flow, Slot, Task } from './flow.ts';
import type { MinerRecord } from './miner.ts';
import type { StageRecord } from './stage.ts';
import { type LeaseRecord, type State, slotOf } from './state.ts';
import type { Step } from './step.ts';
import { deadlineOf, hedgeAfter } from './times.ts';

function grant(state: State, { stage, flow, slot, miner }: { stage: StageRecord; flow: Flow; slot: Slot; miner: MinerRecord }): void {
  const cell = flow.cells[stage.index]!;
  const kind: LeaseKind = flow.purpose === 'validate' ? 'evaluate' : slot;
  const held = slot === 'backward' && cell.holder === miner.id;
  if (slot === 'backward' && cell.forward && !held) state.counters.recomputed += 1;
  const lease: LeaseRecord = {
    id: `${state.config.leasePrefix}-${++state.leaseCount}`,
    kind,
    stage: stage.index,
    version: stage.version,
    flow,
    minerId: miner.id,
    round: miner.round,
    sendInput: !held,
    grantedAt: state.now,
    deadline: state.now + deadlineOf(stage.times[kind], miner.late),
    state: 'open',
  };
  state.leases.set(lease.id, lease);
  state.steps.get(flow.step)!.lease(flow, stage.index, slot, lease.id);
  miner.leases.add(lease.id);
  miner.waiting = null;
  // Charged at the grant, so that the next choice knows of it; settled at the receipt.
  miner.queueEnd = Math.max(state.now, miner.queueEnd) + state.expectedMs(miner, slot);
  state.refresh(miner);
  state.emitGrant(lease);
}

/** Microbatches that may be under way at once: as many as every stage can keep the inputs of. */
export function pipelineLimit(state: State): number {
  const { crews } = state;
  const room = crews.slice(0, -1).map((crew) => crew.size * LIMITS.keptInputs);
  return Math.max(crews.length, Math.min(...room));
}

/** Gives out what the stage can do now. Backward first (1F1B): it frees memory and lets the stage below go on. */
export function dispatch(state: State, crew: Crew): void {
  const { stage } = crew;
  const step = state.stepOf(stage);
  if (stage.phase !== 'training' || !step) return;
  for (const miner of state.awake) {
    if (miner.stage !== stage.index) continue;
    for (let flow = step.nextOf(miner.id); flow && hasRoom(crew, miner); flow = step.nextOf(miner.id)) {
      grant(state, { stage, flow, slot: 'backward', miner });
    }
    state.awake.delete(miner);
  }
  for (const slot of ['backward', 'forward'] as const) {
    const waiting = step.ready[stage.index]![slot];
    for (let i = 0; i < waiting.length; ) {
      const flow = waiting[i]!;
      const { avoid, forfeits } = flow.cells[stage.index]![slot]!;
      if (isHeldBack(state, step, stage, flow, slot)) break;
      const miner = pickFor(state, crew, flow, slot);
      if (miner) grant(state, { stage, flow, slot, miner });
      else if ((avoid === null && forfeits.length === 0) || crew.isFull) break;
      else i++;
    }
  }
}

/** Who is to compute this task; null when nobody can take it now. */
export function pickFor(state: State, crew: Crew, flow: Flow, slot: Slot): MinerRecord | null {
  const task = flow.cells[crew.stage.index]![slot]!;
  if (task.forfeits.length === 0) return crew.pick(slot, state.now, task.avoid);
  const better = task.avoid === null ? null : pickOther(state, crew, task, slot, task.avoid);
  const other = better ?? pickOther(state, crew, task, slot, null);
  if (other) return other;
  // Whoever tried gets it again only when nobody else is here, or to come: or one alone could make it useless as often as it takes.
  const isEarly = state.now - state.steps.get(flow.step)!.progressAt < LIMITS.longestWait;
  return isEarly && crew.hasOther(task.forfeits) ? null : crew.pick(slot, state.now, task.forfeits.at(-1));
}

const pickOther = (state: State, crew: Crew, { forfeits }: Task, slot: Slot, avoid: string | null) =>
  crew.pickOther(slot, state.now, avoid === null ? forfeits : [...forfeits, avoid], ({ id }) => state.trustIn(id));

/** It would be one microbatch more under way than the miners can keep the inputs of. */
export function isHeldBack(state: State, step: Step, stage: StageRecord, flow: Flow, slot: Slot): boolean {
  const begins = stage.index === 0 && !stage.isLast && slot === 'forward' && flow.purpose === 'train' && !flow.started;
  return begins && step.underWay >= pipelineLimit(state);
}

/** Something is granted here, or could be if somebody here took it. */
export function hasWork(state: State, { stage, members, isComputing }: Crew): boolean {
  const step = state.stepOf(stage);
  if (stage.phase !== 'training' || !step) return false;
  const { forward, backward } = step.ready[stage.index]!;
  const next = forward[0];
  if (isComputing || backward.length > 0 || (next && !isHeldBack(state, step, stage, next, 'forward'))) return true;
  return [...step.pinned.keys()].some((minerId) => members.has(minerId));
}

function hasRoom(crew: Crew, miner: MinerRecord): boolean {
  const place = crew.placeOf(miner);
  return place === 'idle' || place === 'half' || place === 'full';
}

/**
 * Leases that only wait in a miner's queue go to miners that have nothing to do and would finish them sooner: whoever is the
 * first to be ready in a step must not draw all of it. What its miner keeps the input of stays.
 */
export function passOn(state: State, crew: Crew): void {
  const { stage, members } = crew;
  if (stage.phase !== 'training' || !state.stepOf(stage)) return;
  const queues = [...members.values()].filter(({ leases }) => leases.size > 1).sort((a, b) => b.queueEnd - a.queueEnd);
  for (const miner of queues) {
    const lease = state.leases.get([...miner.leases].at(-1)!)!;
    const { flow } = lease;
    const slot = slotOf(lease);
    const idle = crew.pickIdle(miner);
    if (!idle) return;
    const task = state.taskOf(lease);
    const { avoid, forfeits } = task;
    const isChosen = flow.cells[stage.index]!.holder === miner.id || forfeits.length > 0;
    if (isChosen || task.open.length > 1 || avoid === idle.id) continue;
    if (state.now + state.expectedMs(idle, slot) >= miner.queueEnd) continue;
    state.cancel(task);
    state.reopen(flow, stage.index, slot, avoid);
    grant(state, { stage, flow, slot, miner: idle });
    state.counters.passedOn += 1;
    // Who has a hand free now may have backwards of its own waiting.
    dispatch(state, crew);
  }
}

/**
 * Leases that take unusually long, or whose miner's socket is gone, are given to idle miners too: whoever is first
 * counts, and nobody is blamed. Only where nothing else is left to do, oldest first.
 */
export function hedge(state: State, crew: Crew): void {
  const { stage } = crew;
  const step = state.stepOf(stage);
  if (stage.phase !== 'training' || !step || crew.fit === 0) return;
  const overdue: LeaseRecord[] = [];
  for (const miner of crew.members.values()) {
    for (const id of miner.leases) {
      const lease = state.leases.get(id)!;
      if (state.taskOf(lease).open.length > 1) continue;
      if (!miner.connected || state.now - lease.grantedAt >= hedgeAfter(stage.times[lease.kind])) overdue.push(lease);
    }
  }
  overdue.sort((a, b) => a.grantedAt - b.grantedAt || a.flow.index - b.flow.index);
  for (const lease of overdue) {
    const miner = pickSecond(state, crew, lease);
    if (!miner) continue;
    grant(state, { stage, flow: lease.flow, slot: slotOf(lease), miner });
    state.counters.hedged += 1;
  }
}

/** Who is to compute it, too. What was useless in some hands never goes to these. */
function pickSecond(state: State, crew: Crew, lease: LeaseRecord): MinerRecord | null {
  const task = state.taskOf(lease);
  if (task.forfeits.length === 0) return crew.pickIdle(state.miners.get(lease.minerId)!);
  return pickOther(state, crew, task, slotOf(lease), lease.minerId);
}
