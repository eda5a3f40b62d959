import { REASON_REMEDIES, type Reason, type RunSnapshot } from '@starling/protocol';

/**
 * Why the run stands still, or null while it does not. Its snapshot has only the sentence: that of a stage without
 * miners, or else of the store, which is the one other thing a run waits for.
 */
export function runWait({ phase, reason, stages }: RunSnapshot): (Reason & { remedy: string }) | null {
  if (phase !== 'waiting') return null;
  const empty = stages.find((stage) => stage.miners.length === 0 && stage.phase !== 'complete');
  const code = empty && (reason === null || empty.reason === reason) ? 'STAGE_EMPTY' : 'STORE';
  const message = reason ?? `No miner holds stage ${empty?.index ?? 0}.`;
  return { code, message, remedy: REASON_REMEDIES[code] };
}
