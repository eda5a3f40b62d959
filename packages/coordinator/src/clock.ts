/** What happens because time has passed, and because nothing else did. */
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import { assign, blame, dropWork, endRest, planMove, remove } from './roster.ts';
import type { State } from './state.ts';
import { redoAfter } from './times.ts';
import { abandon, handOver, hedge, redo } from './work.ts';

export function tick(state: State): void {
  const { now } = state;
  for (const miner of [...state.miners.values()]) {
    if (!miner.connected && miner.goneAt <= now) {
      remove(state, miner.id, 'MINER_GONE', 'is gone');
      continue;
    }
    if (miner.resting) endRest(state, miner);
    if (miner.phase !== 'ready' && miner.owed === null && miner.phaseSince + LIMITS.phaseDeadline <= now) {
      // Its place is given up; if it is still there it joins anew.
      remove(state, miner.id, 'MINER_STALLED', `was ${miner.phase} for ${LIMITS.phaseDeadline / 60_000} minutes`);
      continue;
    }
    for (const id of [...miner.leases]) {
      const lease = state.leases.get(id)!;
      if (lease.deadline <= now) handOver(state, lease, miner, 'its deadline passed.');
      if (!state.miners.has(miner.id)) break; // once too often
    }
  }
  for (const crew of state.crews) collectOverdue(state, crew);
  abandonStalled(state);
  planMove(state);
}

/** Gradients that do not come: computed again by others first, and after a while nobody waits for them. */
function collectOverdue(state: State, { stage, members }: Crew): void {
  if (stage.phase === 'complete') return; // in the middle of a step: it may go on one day
  const after = redoAfter(stage.times.collect);
  for (const [minerId, claim] of [...stage.collecting]) {
    const miner = state.miners.get(minerId)!;
    if (state.now - claim.since >= LIMITS.collectDeadline) {
      blame(state, miner);
      dropWork(state, miner);
      assign(state, miner, 'its gradient did not arrive in time');
      state.inform('CONTRIBUTION_LATE', `Miner ${minerId} did not hand in its gradient in time; its microbatches are redone.`, 'warning');
    } else if (!claim.redone && (!miner.connected || state.now - claim.since >= after) && hasIdle(state, members, minerId)) {
      redo(state, stage, minerId);
    }
  }
}

/** Somebody who can compute and is not itself behind with its gradient. */
function hasIdle(state: State, members: Crew['members'], except: string): boolean {
  for (const miner of members.values()) {
    if (miner.id === except || state.crewOf(miner).placeOf(miner) !== 'idle') continue;
    if (!state.stageOf(miner).collecting.has(miner.id)) return true;
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

/** After everything that could be granted was: idle miners take over what takes unusually long. */
export function hedgeAll(state: State): void {
  for (const crew of state.crews) hedge(state, crew);
}
