/** How often a miner's steps are audited, and why cheating then loses: derived in docs/verification.md. */

/**
 * An audit recomputes all that a miner did in a step, so a rate is also its cost as a share of the miner's own work.
 *
 * With M held steps, one false step gains at most one step's pay and costs M + 1 of them when it is found: it loses
 * if rate > 1 / (M + 1).
 */
export const AUDITS = {
  /** Steps whose pay is held: the M of the formula, 1/31 = 3.2 %. */
  heldSteps: 30,
  /** For everybody, always: above 1/31, and the swarm's audits cost less than a twentieth of its work. */
  floor: 0.04,
  /** Of a miner with no reputation to lose: with 30 steps held, (1 − 0.2)³⁰ = 0.1 % of liars are ever paid. */
  newcomer: 0.2,
  /** Clean steps until a miner is no newcomer any more. */
  newcomerSteps: 30,
  /** Of a miner whose losses stand out, or which was found false before. */
  suspicious: 0.5,
  /** z-score from which losses stand out: attribution.ts. */
  suspiciousScore: 3.5,
} as const;

export interface Standing {
  /** Steps it took part in since it came, or since it was last found false. */
  cleanSteps: number;
  /** Failed audits, ever. */
  failures: number;
  /** Its loss attribution; 0 while there is none. */
  zScore: number;
}

/** In [floor, 1]. A miner found false stays suspicious until it has been clean for as long as a newcomer must. */
export function auditRate({ cleanSteps, failures, zScore }: Standing): number {
  const proven = cleanSteps >= AUDITS.newcomerSteps;
  if (zScore > AUDITS.suspiciousScore || (failures > 0 && !proven)) return AUDITS.suspicious;
  return proven ? AUDITS.floor : AUDITS.newcomer;
}
