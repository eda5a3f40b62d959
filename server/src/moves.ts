import type { Effect, Input } from '@starling/coordinator';
import type { Move } from '@starling/protocol';

/** What spectators see move when an input was handled: the merge or the audit that it is, and the receipts that counted with it. */
export function movesOf(input: Input, effects: readonly Effect[]): Move[] {
  const moves: Move[] = [];
  if (input.type === 'merged') moves.push({ kind: 'merge', stage: input.stage });
  if (input.type === 'audited') moves.push({ kind: 'audit', minerId: input.minerId, outcome: input.verdict.outcome });
  for (const effect of effects)
    if (effect.type === 'settled' && effect.outcome === 'counted') moves.push({ kind: effect.work.kind, minerId: effect.minerId });
  return moves;
}
