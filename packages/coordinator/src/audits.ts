/** What validators found, and what follows for the device: nobody is punished but for what was computed again and came out otherwise. */
import { LIMITS } from './constants.ts';
import { FOUND_FALSE, type Reputation } from './miner.ts';
import { excludeFromMerge } from './reducing.ts';
import { assign, dropWork } from './roster.ts';
import type { State } from './state.ts';
import type { Drawn, Effect, Of } from './types.ts';

export function audited(state: State, { minerId, stage: index, version, verdict, validator, drawn }: Of<'audited'>): void {
  const stage = state.stages[index];
  if (!state.credits.has(minerId) || !stage) return;
  const reputation = state.reputationOf(minerId);
  // What was done before a conviction is no proof after it, however late its audit ends.
  // On another's word nobody is punished, and nobody is trusted more or less either.
  if (verdict.outcome === 'passed' && validator === undefined && version > reputation.falseVersion) {
    reputation.passedAudits += 1;
    state.emit({ type: 'passed', minerId, stage: index, version });
  }
  const { unverified } = verdict;
  // Not all was seen, whoever brought that about: it is looked at as often as a newcomer until it has been clean for as long again.
  if (validator === undefined && (verdict.outcome === 'void' || unverified)) reputation.cleanSteps = 0;
  if (verdict.outcome !== 'failed') {
    if (unverified && drawn) leaveUnpaid(state, { minerId, stage: index, version, leases: unverified, drawn }, verdict.finding);
    return;
  }
  const length = Math.min(LIMITS.auditBanMaximum, LIMITS.auditBan * 2 ** reputation.failedAudits);
  state.distrust(minerId);
  Object.assign(reputation, {
    failedAudits: reputation.failedAudits + 1,
    bannedUntil: Math.max(reputation.bannedUntil, state.now + length),
  } satisfies Partial<Reputation>);
  const message = `Miner ${minerId} did not compute step ${version} of stage ${index} as it said: ${verdict.finding}`;
  state.inform('AUDIT_FAILED', message, 'warning');
  state.lapse(minerId, 'AUDIT_FAILED', message);
  state.emit({ type: 'convicted', minerId, stage: index, version });
  const owner = state.ownerOf(minerId);
  const here = [...state.miners.values()].filter(({ id }) => state.ownerOf(id) === owner);
  for (const id of new Set([minerId, ...here.map(({ id }) => id)])) state.banFor(id, length, FOUND_FALSE);
  excludeFromMerge(state, stage, version, minerId, message);
  for (const miner of here) {
    dropWork(state, miner);
    assign(state, miner, FOUND_FALSE.message);
  }
}

export function unaudited(state: State, { minerId, stage, version, leases, message }: Of<'unaudited'>): void {
  if (!state.credits.has(minerId) || !state.stages[stage]) return;
  leaveUnpaid(state, { minerId, stage, version, leases, drawn: null }, message);
}

/** So many times the pay of what could not be verified is taken. */
export const timesOf = ({ rate, times }: Drawn): number => times ?? 1 / rate;

/** What cannot be verified earns nothing that may be expected: with less, whoever has confederates send such inputs would be paid for lies. */
function leaveUnpaid(state: State, of: Omit<Extract<Effect, { type: 'unverified' }>, 'type'>, why: string): void {
  state.emit({ type: 'unverified', ...of });
  const many = Object.values(of.leases).reduce((sum, count) => sum + count, 0);
  const { drawn } = of;
  const seen =
    drawn && drawn.rate < 1
      ? ` Of its steps ${(100 * drawn.rate).toFixed(0)} % are looked at: ${timesOf(drawn).toFixed(1)} times their pay is taken.`
      : '';
  state.lapse(of.minerId, 'WORK_UNVERIFIED', `Of step ${of.version} at stage ${of.stage} ${many} leases are not paid: ${why}${seen}`);
}
