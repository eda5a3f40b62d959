/** Results that nothing can be made of: whose fault they are, who is to try next, and when their microbatch is left out. */
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import type { Task } from './flow.ts';
import { isOverdue, precedenceIn, triedBy } from './granting.ts';
import type { MinerRecord } from './miner.ts';
import { abandon, handOver, ownLease, takesFromOthers, WRONG } from './settling.ts';
import type { StageRecord } from './stage.ts';
import type { LeaseRecord, State } from './state.ts';
import { applyWithin } from './times.ts';
import type { Of } from './types.ts';

/** Somebody else computes it. Throws what `ownLease` throws. */
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

/** Somebody computes it who has not let others wait. */
const isAwaited = (state: State, { open }: Task) => open.some((id) => !state.owesAmends(state.leases.get(id)!.minerId));
