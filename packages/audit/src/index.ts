export { type Attribution, LossAttribution, type Sample } from './attribution.ts';
export { audit } from './audit.ts';
export { type Commit, challengeSeed, chanceOf, commitHash, drawAudits, secretHash } from './challenge.ts';
export { distanceOf, lossDistance } from './compare.ts';
export type { AnsweredLease, AuditedRun, Evidence, GivenLease, StageWork } from './evidence.ts';
export { compareAll, type Judgement, judge } from './judge.ts';
export type { Limits, Measured, Thresholds } from './limits.ts';
export { AUDITS, auditRate, type Standing } from './rates.ts';
export { type Outcome, type Replayed, Replayer } from './replay.ts';
