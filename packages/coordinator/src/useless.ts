/**
 * Results that nothing can be made of. Of whatever may be relayed an honest device makes finite numbers (it is bounded where it
 * crosses; `finite.test.ts` of packages/model), so such a result is its miner's fault, or else the text's or the model's, of whom nobody makes anything.
 */
import { LIMITS } from './constants.ts';
import { foremost } from './crew.ts';
import { abandon, handOver, ownLease } from './settling.ts';
import type { LeaseRecord, State } from './state.ts';
import type { Of } from './types.ts';

/** Somebody else computes it. Throws what `ownLease` throws. */
export function forfeit(state: State, { minerId, leaseId, code, message }: Of<'forfeit'>): void {
  const { miner, lease } = ownLease(state, minerId, leaseId);
  state.refuse(minerId, code, message, leaseId);
  if (lease.state !== 'open') return;
  const task = state.taskOf(lease);
  handOver(state, lease, miner, message, { code: 'BANNED_WRONG', message: 'its results were not usable' });
  lease.state = 'forfeited';
  task.forfeits.push(minerId);
  leaveOutUseless(state, lease);
}

/** Useless so often, it is left out, if it may be; but strangers alone have no say in it where others are trusted, nor anybody while one still computes it. */
function leaveOutUseless(state: State, lease: LeaseRecord): void {
  const { flow } = lease;
  const { open, forfeits } = state.taskOf(lease);
  if (forfeits.length < LIMITS.forfeitsPerTask || open.length > 0) return;
  const members = [...state.crews[lease.stage]!.members.values()];
  const trust = ({ id }: { id: string }) => state.trustIn(id);
  const isTold = foremost(members, trust).some(({ id }) => forfeits.includes(id));
  if (!isTold) return;
  const others = state.steps.get(flow.step)!.flows.filter((other) => other.purpose === 'train' && !other.abandoned).length;
  if (flow.purpose === 'train' && others <= state.config.minMicrobatches) {
    const message = `Microbatch ${flow.microbatch} gives useless results at stage ${lease.stage}, and no more may be left out of step ${flow.step}.`;
    state.inform('MICROBATCH_USELESS', message, 'warning');
    return;
  }
  abandon(state, flow, `its result was useless ${forfeits.length} times at stage ${lease.stage}`);
}
