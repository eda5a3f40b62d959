/** One audit: evidence in, verdict out. */
import { type AuditVerdict, SwarmError } from '@starling/protocol';
import type { AuditedRun, Evidence } from './evidence.ts';
import { changes, doubtOf, judge } from './judge.ts';
import type { Limits } from './limits.ts';
import type { Replayed, Replayer } from './replay.ts';

/** Of a few: one alone may move a loss by nothing, by chance. */
const MOVES = 3;

/** What is wrong with the evidence is no fault of the miner's: the verdict is `void`. Device losses and the like are thrown. */
export async function audit(replayer: Replayer, run: AuditedRun, evidence: Evidence, limits: Limits): Promise<AuditVerdict> {
  const started = performance.now();
  const none = (finding: string): AuditVerdict => ({
    outcome: 'void',
    finding,
    checks: [],
    compared: 0,
    computeMs: performance.now() - started,
  });
  const doubt = await doubtOf(run, evidence);
  if (doubt) return none(doubt);
  try {
    const replayed = await replayer.replay(evidence);
    let judgement = judge(run, evidence, replayed, limits);
    if (judgement.outcome === 'failed') {
      // Who sent the inputs may have chosen them so that all honest results differ; how they are moved was not known then.
      const moved: Replayed[] = [];
      for (const seed of crypto.getRandomValues(new Uint32Array(MOVES))) moved.push(await replayer.replay(evidence, seed));
      judgement = judge(run, evidence, replayed, limits, changes(moved, await replayer.replayUnrounded(evidence)));
    }
    return { ...judgement, computeMs: performance.now() - started };
  } catch (error) {
    if (error instanceof SwarmError && ['TENSOR_SHAPE', 'TENSOR_NOT_FINITE'].includes(error.code)) return none(error.message);
    throw error;
  }
}
