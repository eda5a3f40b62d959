/** What happens because time has passed, and because nothing else did. */
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import { hasWork, hedge, passOn } from './granting.ts';
import type { MinerRecord } from './miner.ts';
import { isDispensable, leaveOut } from './overlap.ts';
import { tickReductions } from './reducing.ts';
import { assign, dropWork, endRest, forgive, guessPaces, planMove, remove } from './roster.ts';
import { abandon, handOver, redo } from './settling.ts';
import type { LeaseRecord, State } from './state.ts';
import { collectUntil, redoAfter } from './times.ts';
import type { Of } from './types.ts';

export function tick(state: State, { idleMs = 0 }: Of<'tick'>): void {
  const { now } = state;
  if (idleMs > 0) forgive(state, idleMs);
  for (const miner of [...state.miners.values()]) {
    if (!miner.connected && miner.goneAt <= now) {
      remove(state, miner.id, 'MINER_GONE', 'is gone');
      continue;
    }
    if (miner.resting) endRest(state, miner);
    if (miner.phase !== 'ready' && miner.owed === null && miner.phaseSince + phaseDeadlineOf(state, miner) <= now) {
      // Its place is given up; if it is still there it joins anew.
      const minutes = phaseDeadlineOf(state, miner) / 60_000;
      state.creditOf(miner).stalls += 1;
      remove(state, miner.id, 'MINER_STALLED', `was ${miner.phase} for ${minutes} minutes`);
      continue;
    }
    for (const id of [...miner.leases]) {
      const lease = state.leases.get(id)!;
      if (lease.deadline <= now) late(state, lease, miner);
      if (!state.miners.has(miner.id)) break; // once too often
    }
  }
  for (const crew of state.crews) {
    if (crew.staff === 0 || !hasWork(state, crew)) crew.stage.attendedAt = now;
    collectOverdue(state, crew);
    const step = state.stepOf(crew.stage);
    // What waited for others waits no more.
    if (step && state.now - step.progressAt >= LIMITS.longestWait) state.touched.add(crew.stage.index);
  }
  tickReductions(state);
  abandonStalled(state);
  planMove(state);
}

const phaseDeadlineOf = (state: State, { id }: MinerRecord) =>
  Math.min(LIMITS.longestPhase, LIMITS.phaseDeadline * 2 ** (state.credits.get(id)?.stalls ?? 0));

function late(state: State, lease: LeaseRecord, miner: MinerRecord): void {
  const times = miner.late > 0 ? `${miner.late + 1} times in a row something` : 'something';
  const ban = handOver(state, lease, miner, 'its deadline passed.', { code: 'BANNED', message: `${times} came late` });
  const after = ban ? ` No leases for ${ban / 1000} s.` : '';
  state.lapse(miner.id, 'LEASE_LATE', `Nothing came within ${Math.round((state.now - lease.grantedAt) / 1000)} s.${after}`, lease);
}

/** Gradients that do not come: computed again by others first, and after a while nobody waits for them. */
function collectOverdue(state: State, { stage, members }: Crew): void {
  const { overlap } = state.config;
  if (stage.phase === 'complete' && !overlap) return; // in the middle of a step: it may go on one day
  for (const [minerId, claim] of [...stage.merge.collecting]) {
    const miner = state.miners.get(minerId)!;
    if (state.now - claim.since >= collectUntil(stage.times.collect, miner.missed)) {
      miner.missed += 1;
      // Receipts do not make up for gradients that never come.
      miner.late = Math.max(miner.late, miner.missed - 1);
      state.blame(miner, { code: 'BANNED', message: 'its gradients did not come in time' });
      state.lapse(
        minerId,
        'CONTRIBUTION_LATE',
        `The gradient of step ${stage.merge.version} did not come within ${Math.round((state.now - claim.since) / 1000)} s.`,
      );
      if (overlap) {
        leaveOut(state, stage, minerId);
        continue;
      }
      dropWork(state, miner);
      assign(state, miner, 'its gradient did not arrive in time');
      state.inform('CONTRIBUTION_LATE', `Miner ${minerId} did not hand in its gradient in time; its microbatches are redone.`, 'warning');
    } else if (overlap) {
      if (isDispensable(state, stage, miner, claim)) leaveOut(state, stage, minerId);
    } else if (
      !claim.redone &&
      (!miner.connected || state.now - claim.since >= redoAfter(stage.times.collect, stage.merge.redos)) &&
      hasIdle(state, members, minerId)
    ) {
      redo(state, stage, minerId);
    }
  }
}

/** Somebody who can compute and is not itself behind with its gradient. */
function hasIdle(state: State, members: Crew['members'], except: string): boolean {
  for (const miner of members.values()) {
    if (miner.id === except || state.crewOf(miner).placeOf(miner) !== 'idle') continue;
    if (!state.stageOf(miner).merge.collecting.has(miner.id)) return true;
  }
  return false;
}

/** A step in which nothing moves goes on without what is missing, if enough is there. */
function abandonStalled(state: State): void {
  const { steps } = state.config;
  for (const step of state.steps.values()) {
    if (state.now - step.progressAt < LIMITS.stalledStep || (steps > 0 && step.number >= steps)) continue;
    const missing = new Set(step.flows.filter((flow) => flow.cells.some(({ forward, backward }) => isOpen(forward) || isOpen(backward))));
    const there = step.flows.filter((flow) => flow.purpose === 'train' && !flow.abandoned && !missing.has(flow)).length;
    if (missing.size === 0 || there < state.config.minMicrobatches) continue;
    for (const flow of missing) abandon(state, flow, 'nothing of it moved for five minutes');
  }
}

const isOpen = (task: { state: string } | null) => task !== null && task.state !== 'done' && task.state !== 'dropped';

/** After everything that could be granted was: idle miners take over what only waits, or takes unusually long. */
export function hedgeAll(state: State): void {
  for (const crew of state.crews) {
    guessPaces(state, crew);
    passOn(state, crew);
    hedge(state, crew);
  }
}
