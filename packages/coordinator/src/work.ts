/** Leases: granted, settled by receipts, hedged, handed over, given back. */
import { type LeaseKind, type Reason, SwarmError } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import { type Flow, isSettled, nextTask, type Slot, type Task } from './flow.ts';
import { learnPace, type MinerRecord } from './miner.ts';
import { couldStaff } from './policy.ts';
import { endRest, remove, uncontributed } from './roster.ts';
import { type StageRecord, unitsOf } from './stage.ts';
import { type LeaseRecord, type State, slotOf } from './state.ts';
import type { Step } from './step.ts';
import { addTime, applyWithin, deadlineOf, hedgeAfter } from './times.ts';
import type { Of } from './types.ts';

// ── granting ────────────────────────────────────────────────────────────────────────────────────

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
      else if (avoid === null && forfeits.length === 0) break;
      else i++;
    }
  }
}

/** Who is to compute this task; null when nobody can take it now. */
export function pickFor(state: State, crew: Crew, flow: Flow, slot: Slot): MinerRecord | null {
  const task = flow.cells[crew.stage.index]![slot]!;
  if (task.forfeits.length === 0) return crew.pick(slot, state.now, task.avoid);
  return crew.pickTrusted(slot, state.now, triedBy(task), precedenceIn(state));
}

const triedBy = ({ avoid, forfeits }: Task) => (avoid === null ? forfeits : [...forfeits, avoid]);
const precedenceIn =
  (state: State) =>
  ({ id }: MinerRecord) =>
    state.owesAmends(id) ? 0 : state.trustIn(id);

/** It would be one microbatch more under way than the miners can keep the inputs of. */
export function isHeldBack(state: State, step: Step, stage: StageRecord, flow: Flow, slot: Slot): boolean {
  const begins = stage.index === 0 && !stage.isLast && slot === 'forward' && flow.purpose === 'train' && !flow.started;
  return begins && step.underWay >= pipelineLimit(state);
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
      const { open, forfeits } = state.taskOf(lease);
      if (open.length > 1) continue;
      if (!miner.connected || isOverdue(state, stage, lease, forfeits.length > 0 ? miner : null)) overdue.push(lease);
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

/** Who is to compute it, too. What was useless in some hands goes to one that is trusted, and never to who tried. */
function pickSecond(state: State, crew: Crew, lease: LeaseRecord): MinerRecord | null {
  const task = state.taskOf(lease);
  if (task.forfeits.length === 0) return crew.pickIdle(state.miners.get(lease.minerId)!);
  const tried = [...triedBy(task), lease.minerId];
  return crew.hasOther(slotOf(lease), tried) ? crew.pickTrusted(slotOf(lease), state.now, tried, precedenceIn(state)) : null;
}

/**
 * What was useless in some hands waits for those that are trusted, and its last word for whoever still computes it. Of these, one that takes
 * longer than is usual loses its precedence: it costs the others one such wait, and many receipts before it can cost them another.
 */
export function stopWaiting(state: State, crew: Crew): void {
  const { stage, members } = crew;
  const step = state.stepOf(stage);
  if (stage.phase !== 'training' || !step) return;
  for (const slot of ['backward', 'forward'] as const) {
    for (const flow of step.ready[stage.index]![slot]) {
      const task = flow.cells[stage.index]![slot]!;
      if (task.forfeits.length === 0) continue;
      for (const miner of crew.trusted(slot, triedBy(task), precedenceIn(state)))
        if (!crew.isAble(miner, slot) && isTardy(state, stage, miner)) losePrecedence(state, miner);
    }
  }
  for (const miner of members.values()) {
    for (const id of [...miner.leases]) {
      const lease = state.leases.get(id)!;
      const task = state.taskOf(lease);
      // It may have been left out just now.
      if (lease.state !== 'open' || task.forfeits.length === 0 || !isOverdue(state, stage, lease, miner)) continue;
      const wasAwaited = isAwaited(state, task);
      losePrecedence(state, miner);
      if (wasAwaited) leaveOutUseless(state, lease);
    }
  }
}

function losePrecedence(state: State, miner: MinerRecord): void {
  Object.assign(miner, { useful: Math.min(0, miner.useful), tardy: true } satisfies Partial<MinerRecord>);
  state.setAmends(miner.id, LIMITS.trustedReceipts);
  state.refresh(miner);
}

function isTardy(state: State, stage: StageRecord, miner: MinerRecord): boolean {
  // Since the merge, not since it began: who fetches the stage again in between would begin anew without end.
  if (miner.phase === 'applying') return state.now - stage.versionSince >= applyWithin(stage.times.apply);
  return [...miner.leases].some((id) => isOverdue(state, stage, state.leases.get(id)!, miner));
}

/** `used`: longer, too, than this miner is used to, since quick strangers can make everybody else look slow. It may have another to finish before. */
function isOverdue(state: State, stage: StageRecord, lease: LeaseRecord, used: MinerRecord | null): boolean {
  const own = used ? 2 * LIMITS.leasesPerMiner * state.expectedMs(used, slotOf(lease)) : 0;
  return state.now - lease.grantedAt >= Math.max(hedgeAfter(stage.times[lease.kind]), Math.min(LIMITS.longestWait, own));
}

// ── settling ────────────────────────────────────────────────────────────────────────────────────

/** The miner's own lease, whose receipt was not taken yet. Throws the code that tells why not. */
function ownLease(state: State, minerId: string, leaseId: string): { miner: MinerRecord; lease: LeaseRecord } {
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
  // Even one that came late and counts: who delivers is slow, and not gone.
  miner.late = 0;
  miner.useful = Math.min(LIMITS.trustedReceipts, Math.max(0, miner.useful) + 1);
  miner.tardy = false;
  if (state.owesAmends(minerId)) state.setAmends(minerId, state.reputationOf(minerId).amends - 1);
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
  blameForfeits(state, lease, task);
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

// ── giving back ─────────────────────────────────────────────────────────────────────────────────

export function forfeit(state: State, { minerId, leaseId, code, message }: Of<'forfeit'>): void {
  const { miner, lease } = ownLease(state, minerId, leaseId);
  state.refuse(minerId, code, message, leaseId);
  if (lease.state !== 'open') return;
  miner.useful = Math.min(0, miner.useful) - 1;
  const task = state.taskOf(lease);
  // On what another miner sent, or when it was useless so often, nobody is at fault, as far as is known: poison would have all honest ones banned.
  const blamed = !takesFromOthers(state, lease) && task.forfeits.length < LIMITS.forfeitsPerTask;
  handOver(state, lease, miner, message, blamed ? WRONG : null);
  lease.state = 'forfeited';
  task.forfeits.push(minerId);
  leaveOutUseless(state, lease);
}

/** Useless so often, it is left out, if it may be; but no quick one has the last word while another is still at it. */
function leaveOutUseless(state: State, lease: LeaseRecord): void {
  const { flow } = lease;
  const task = state.taskOf(lease);
  if (task.forfeits.length < LIMITS.forfeitsPerTask || isAwaited(state, task)) return;
  const others = state.steps.get(flow.step)!.flows.filter((other) => other.purpose === 'train' && !other.abandoned).length;
  // What another miner sent may make it useless for good, and all that this miner touched: no run waits for that.
  if (flow.purpose === 'train' && !takesFromOthers(state, lease) && others <= state.config.minMicrobatches) {
    const message = `Microbatch ${flow.microbatch} gives useless results at stage ${lease.stage}, and no more may be left out of step ${flow.step}.`;
    state.inform('MICROBATCH_USELESS', message, 'warning');
    return;
  }
  abandon(state, flow, `its result was useless ${task.forfeits.length} times at stage ${lease.stage}`);
}

/** Somebody computes it who has not let others wait. */
const isAwaited = (state: State, { open }: Task) => open.some((id) => !state.owesAmends(state.leases.get(id)!.minerId));

const WRONG = { code: 'BANNED_WRONG', message: 'its results were not usable' } as const;

/** One that is trusted more made of the same tensors what these could not. A stranger may have made up what it gave. */
function blameForfeits(state: State, lease: LeaseRecord, task: Task): void {
  if (!takesFromOthers(state, lease)) return; // they were blamed at once
  for (const id of new Set(task.forfeits.splice(0))) {
    const miner = state.miners.get(id);
    if (miner && state.trustIn(id) < state.trustIn(lease.minerId)) state.blame(miner, WRONG);
  }
}

/** It is computed from what another stage's miner sent, not from text alone. */
const takesFromOthers = (state: State, { stage, kind }: LeaseRecord) => stage > 0 || (kind === 'backward' && !state.stages[stage]!.isLast);

export function busy(state: State, { minerId, leaseId, pauseMs }: Of<'busy'>): void {
  const { miner, lease } = leaseId === null ? { miner: state.known(minerId), lease: null } : ownLease(state, minerId, leaseId);
  // A pause of 0 ends a rest.
  const pause = Math.max(leaseId === null ? 0 : LIMITS.shortestRest, Math.min(LIMITS.longestRest, pauseMs));
  // A rest that began soon after the last one ended goes on with it.
  if (miner.restingSince === null || state.now - miner.restedUntil > LIMITS.restGap) miner.restingSince = state.now;
  miner.restUntil = state.now + pause;
  miner.restedUntil = miner.restUntil;
  endRest(state, miner);
  if (lease?.state === 'open') state.lose(lease, minerId, 'passedOn'); // a miner rests between leases
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

// ── redoing gradients ───────────────────────────────────────────────────────────────────────────

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
