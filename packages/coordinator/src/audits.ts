/** What validators found, and what follows for the miner: nobody is punished but for what was computed again and came out otherwise. */
import { LIMITS } from './constants.ts';
import { excludeFromMerge } from './reducing.ts';
import { assign, dropWork } from './roster.ts';
import type { State } from './state.ts';
import type { Of } from './types.ts';

export function audited(state: State, { minerId, stage: index, version, verdict }: Of<'audited'>): void {
  const credit = state.credits.get(minerId);
  const stage = state.stages[index];
  if (!credit || !stage || verdict.outcome !== 'failed') return;
  credit.failedAudits += 1;
  credit.cleanSteps = 0;
  const message = `Miner ${minerId} did not compute step ${version} of stage ${index} as it said: ${verdict.finding}`;
  state.inform('AUDIT_FAILED', message, 'warning');
  state.lapse(minerId, 'AUDIT_FAILED', message);
  state.emit({ type: 'convicted', minerId, stage: index, version });
  const why = { code: 'BANNED_WRONG', message: 'an audit found its work false' } as const;
  const length = Math.min(LIMITS.auditBanMaximum, LIMITS.auditBan * 2 ** (credit.failedAudits - 1));
  const miner = state.miners.get(minerId);
  state.banFor(credit, miner ?? null, length, why);
  excludeFromMerge(state, stage, version, minerId, message);
  if (!miner) return;
  dropWork(state, miner);
  assign(state, miner, 'an audit found its work false');
}
