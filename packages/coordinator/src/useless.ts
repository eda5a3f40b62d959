/**
 * Results that nothing can be made of. Of whatever may be relayed an honest device makes finite numbers (it is bounded where it
 * crosses; `finite.test.ts` of packages/model), so such a result is its miner's fault, or else the text's or the model's, of whom nobody makes anything.
 */
import { LIMITS } from './constants.ts';
import { foremost } from './crew.ts';
import { abandon, handOver, ownLease, rest } from './settling.ts';
import type { LeaseRecord, State } from './state.ts';
import type { Of } from './types.ts';

const WRONG = { code: 'BANNED_WRONG', message: 'its results were not usable' } as const;

/** Somebody else computes it. Throws what `ownLease` throws. */
export function forfeit(state: State, { minerId, leaseId, code, message }: Of<'forfeit'>): void {
  const { miner, lease } = ownLease(state, minerId, leaseId);
  state.refuse(minerId, code, message, leaseId);
  if (lease.state !== 'open') return;
  const task = state.taskOf(lease);
  const { forfeits } = task;
  // Bans are ignored where all have one: then they do not grow.
  const isBlamed = !isKnownUseless(state, lease) && miner.bannedUntil <= state.now;
  handOver(state, lease, miner, message, isBlamed ? WRONG : null);
  lease.state = 'forfeited';
  if (forfeits.length < LIMITS.forfeitsPerTask || !forfeits.includes(minerId)) forfeits.push(minerId);
  // Or who is alone would be given it as fast as it can give it back.
  if (state.miners.has(minerId)) rest(state, miner, Math.max(LIMITS.shortestRest, miner.restUntil - state.now));
  if (task.open.length === 0 && isKnownUseless(state, lease)) leaveOut(state, lease);
}

/** So many could make nothing of it, and not strangers alone where others that are here are trusted. */
function isKnownUseless(state: State, lease: LeaseRecord): boolean {
  const { forfeits } = state.taskOf(lease);
  if (forfeits.length < LIMITS.forfeitsPerTask) return false;
  const here = [...state.crews[lease.stage]!.members.values()].filter(({ connected, absent }) => connected && !absent);
  return foremost(here, ({ id }) => state.trustIn(id)).some(({ id }) => forfeits.includes(id));
}

/** If it may be. It costs all that could make nothing of it their clean steps, or one that is trusted could do that on and on. */
function leaveOut(state: State, lease: LeaseRecord): void {
  const { flow } = lease;
  const { forfeits } = state.taskOf(lease);
  const others = state.steps.get(flow.step)!.flows.filter((other) => other.purpose === 'train' && !other.abandoned).length;
  if (flow.purpose === 'train' && others <= state.config.minMicrobatches) {
    const message = `Microbatch ${flow.microbatch} gives useless results at stage ${lease.stage}, and no more may be left out of step ${flow.step}.`;
    state.inform('MICROBATCH_USELESS', message, 'warning');
    return;
  }
  for (const id of forfeits) state.reputationOf(id).cleanSteps = 0;
  abandon(state, flow, `nobody made anything of it at stage ${lease.stage}`);
}
