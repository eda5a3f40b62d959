/** How leases end: by a receipt, in other hands, or with their microbatch. */
import { type Reason, SwarmError } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import { type Flow, isSettled, nextTask } from './flow.ts';
import { learnPace, type MinerRecord } from './miner.ts';
import { couldStaff } from './policy.ts';
import { endRest, remove, uncontributed } from './roster.ts';
import { type StageRecord, unitsOf } from './stage.ts';
import { type LeaseRecord, type State, slotOf } from './state.ts';
import { addTime } from './times.ts';
import type { Of } from './types.ts';

/** The miner's own lease, whose receipt was not taken yet. Throws the code that tells why not. */
export function ownLease(state: State, minerId: string, leaseId: string): { miner: MinerRecord; lease: LeaseRecord } {
  const miner = state.known(minerId);
  const lease = state.leases.get(leaseId);
  if (!lease) throw new SwarmError('LEASE_UNKNOWN', `Lease ${leaseId} is not known (any more).`);
  if (lease.minerId !== minerId) throw new SwarmError('LEASE_NOT_YOURS', `Lease ${leaseId} was granted to another miner.`);
  if (lease.state === 'counted') throw new SwarmError('RECEIPT_DUPLICATE', `Lease ${leaseId} was already settled.`);
  if (lease.state === 'surplus') throw new SwarmError('LEASE_EXPIRED', `Lease ${leaseId} came when it was not needed any more.`);
  if (lease.state === 'forfeited') throw new SwarmError('LEASE_EXPIRED', `Lease ${leaseId} was taken away: its result was useless.`);
  return { miner, lease };
}

/** Its step is open, nobody has settled its task, and (backward) its gradient would be handed in with the next round. */
function isNeeded(state: State, lease: LeaseRecord, miner: MinerRecord): boolean {
  if (lease.version !== state.stages[lease.stage]!.version || isSettled(state.taskOf(lease))) return false;
  return lease.kind !== 'backward' || lease.round === miner.round;
}

export function receipt(state: State, { minerId, leaseId, lossSum }: Of<'receipt'>): void {
  const { miner, lease } = ownLease(state, minerId, leaseId);
  const { kind, flow, grantedAt } = lease;
  const stage = state.stages[lease.stage]!;
  const counted = isNeeded(state, lease, miner);
  const wasOpen = lease.state === 'open';
  if (wasOpen && !counted) state.lose(lease);
  lease.state = counted ? 'counted' : 'surplus';
  state.emit({ type: 'settled', minerId, leaseId, work: state.workOf(lease), outcome: lease.state });
  if (!counted) {
    state.creditOf(miner).surplus += 1;
    state.counters.surplus += 1;
    return;
  }
  const credit = state.creditOf(miner);
  credit.receipts += 1;
  if (kind === 'backward') credit.backwards += 1;
  addTime(stage.times[kind], state.now - grantedAt);
  stage.attendedAt = state.now;
  // Even one that came late and counts: who delivers is slow, and not gone.
  miner.late = 0;
  Object.assign(miner, { restingSince: null, absent: false } satisfies Partial<MinerRecord>);
  learnWork(state, miner, stage, lease);
  settle(state, lease, miner);
  if (stage.isLast) flow.lossSum = lossSum;
  const next = nextTask(flow, stage.index, slotOf(lease));
  if (next) state.unblock(flow, next.stage, next.slot);
}

/** From when its miner can have begun it to now: what the miner says of itself decides nothing. */
function learnWork(state: State, miner: MinerRecord, stage: StageRecord, lease: LeaseRecord): void {
  // Of a stay before, or of another stage, it says nothing about what it does here now.
  if (lease.grantedAt < miner.joinedAt || lease.stage !== miner.stage) return;
  const ms = state.now - Math.max(lease.grantedAt, miner.settledAt);
  miner.settledAt = state.now;
  const slot = slotOf(lease);
  learnPace(miner, ms / unitsOf(stage, slot));
  if (lease.kind !== 'evaluate') addTime(stage.work[slot], ms);
}

function settle(state: State, lease: LeaseRecord, miner: MinerRecord): void {
  const { flow, stage: index } = lease;
  const stage = state.stages[index]!;
  const slot = slotOf(lease);
  const cell = flow.cells[index]!;
  const task = cell[slot]!;
  const own = task.open.indexOf(lease.id);
  if (own >= 0) task.open.splice(own, 1);
  miner.leases.delete(lease.id);
  state.cancel(task);
  state.steps.get(flow.step)!.settle(flow, index, slot, 'done', miner.id, state.now);
  // Leases it had lost may have been many: no more is counted on than it was to keep. Of another round it keeps nothing.
  const keeps = lease.round === miner.round && (own >= 0 || miner.kept < LIMITS.keptInputs);
  if (lease.kind === 'forward' && keeps) state.setHolder(cell, miner.id);
  if (slot === 'backward') {
    state.setHolder(cell, null);
    voidClaim(state, stage, flow.microbatch);
  }
  state.settleQueue(miner);
}

/** A microbatch was computed again: the gradient of whoever did it first is not wanted any more. */
function voidClaim(state: State, stage: StageRecord, microbatch: number): void {
  for (const [minerId, claim] of stage.merge.collecting) {
    if (!claim.redone || !claim.microbatches.includes(microbatch)) continue;
    stage.merge.collecting.delete(minerId);
    stage.merge.voided.set(minerId, claim.round);
    // Of microbatches that were given up nobody computes anything again: they go with the gradient.
    // What this miner has done again itself belongs to its next gradient, and stays.
    for (const { flow } of uncontributed(state, stage, minerId))
      if (flow.abandoned && claim.microbatches.includes(flow.microbatch)) state.reopen(flow, stage.index, 'backward', minerId);
    state.lapse(
      minerId,
      'CONTRIBUTION_LATE',
      `Others had computed the microbatches of step ${stage.version} again before the gradient came.`,
    );
    state.inform(
      'CONTRIBUTION_LATE',
      `The gradient of miner ${minerId} did not come in time; its microbatches were computed again.`,
      'warning',
    );
  }
}

export function busy(state: State, { minerId, leaseId, pauseMs }: Of<'busy'>): void {
  const { miner, lease } = leaseId === null ? { miner: state.known(minerId), lease: null } : ownLease(state, minerId, leaseId);
  // A pause of 0 ends a rest.
  rest(state, miner, Math.max(leaseId === null ? 0 : LIMITS.shortestRest, Math.min(LIMITS.longestRest, pauseMs)));
  if (lease?.state === 'open') state.lose(lease, minerId, 'passedOn'); // a miner rests between leases
}

/** It gets nothing for so long, in ms. */
export function rest(state: State, miner: MinerRecord, pause: number): void {
  // A rest that began soon after the last one ended goes on with it.
  if (miner.restingSince === null || state.now - miner.restedUntil > LIMITS.restGap) miner.restingSince = state.now;
  miner.restUntil = state.now + pause;
  miner.restedUntil = miner.restUntil;
  endRest(state, miner);
}

/**
 * The deadline passed, or the result was useless: it goes to another, and its miner is blamed, if for anything. Returns the
 * length in ms of the ban that follows, or 0.
 */
export function handOver(state: State, lease: LeaseRecord, miner: MinerRecord, why: string, fault: Reason | null): number {
  state.lose(lease, miner.id);
  const ban = fault ? state.blame(miner, fault) : 0;
  const { microbatch } = lease.flow;
  state.inform('LEASE_HANDED_OVER', `Microbatch ${microbatch} at stage ${lease.stage} was taken from miner ${miner.id}: ${why}`);
  const crew = state.crewOf(miner);
  // Alone on its stage, it would be given the same again and again. Who cannot be replaced may just be slow.
  if (miner.late >= LIMITS.lateBeforeRemoval && crew.fit === 0 && couldStaff(state.crews, crew))
    remove(state, miner.id, 'MINER_REMOVED', `was late or useless ${miner.late} times in a row`);
  return ban;
}

/** Leaves a microbatch out of its step: what was not settled of it never will be. */
export function abandon(state: State, flow: Flow, why: string): void {
  const step = state.steps.get(flow.step)!;
  flow.abandoned = true;
  state.counters.abandoned += 1;
  flow.cells.forEach((cell, index) => {
    for (const slot of ['forward', 'backward'] as const) {
      const task = cell[slot];
      if (!task || isSettled(task)) continue;
      state.cancel(task);
      step.settle(flow, index, slot, 'dropped', null, state.now);
      if (slot === 'backward') voidClaim(state, state.stages[index]!, flow.microbatch);
    }
    if (cell.holder !== null) state.setHolder(cell, null);
    state.touched.add(index);
  });
  step.finish(flow);
  const what = flow.purpose === 'train' ? 'Microbatch' : 'Validation microbatch';
  state.inform('MICROBATCH_ABANDONED', `${what} ${flow.microbatch} is left out of step ${flow.step}: ${why}.`, 'warning');
}

/** Opens the microbatches of a gradient that does not come, for others; it still counts if it comes before theirs. */
export function redo(state: State, stage: StageRecord, minerId: string): void {
  const claim = stage.merge.collecting.get(minerId)!;
  const lost = uncontributed(state, stage, minerId).filter(({ flow }) => !flow.abandoned);
  if (lost.length === 0) return;
  claim.redone = true;
  state.counters.redone += 1;
  stage.merge.redos += 1;
  for (const { flow } of lost) state.reopen(flow, stage.index, 'backward', minerId);
  state.backToTraining(stage);
  state.inform(
    'CONTRIBUTION_REDONE',
    `Stage ${stage.index} does not wait for the gradient of miner ${minerId}: others compute its microbatches again.`,
  );
}
