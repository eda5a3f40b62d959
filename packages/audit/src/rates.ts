/** How often a miner's steps are audited, and why cheating then loses: derived in docs/verification.md. */

/**
 * An audit recomputes all that a miner did in a step, so a rate is also its cost as a share of the miner's own work.
 *
 * With M held steps, one false step gains at most one step's pay and costs M + 1 of them when it is found: it loses
 * if rate > 1 / (M + 1). A device with nothing held is not paid: nothing of its counts before its first pass, and the first step that
 * counts is audited for certain (`rateAtStake`).
 */
export const AUDITS = {
  /** Steps whose pay is held: the M of the formula, 1/31 = 3.2 %. */
  heldSteps: 30,
  /** For everybody, always: above 1/31, and the swarm's audits cost less than a twentieth of its work. */
  floor: 0.04,
  /** Of a device of which nothing was ever looked at: what it says would be merged on its word alone. */
  unseen: 1,
  /** Of a device with no reputation to lose, while its first step is looked at, and until it was clean for long enough. */
  newcomer: 0.2,
  /** Clean steps until a device is no newcomer any more: then as many are held. */
  newcomerSteps: 30,
  /** Of a device whose losses stand out, or which was found false before. */
  suspicious: 0.5,
  /** z-score from which losses stand out: attribution.ts. */
  suspiciousScore: 3.5,
} as const;

/**
 * The least chance of an audit in a step of so many FLOPs by a device that loses `held` FLOPs with it. A lie of any size, which takes no
 * time, then leaves what a device may expect to be paid as it was: (1 − rate) · (held + work) = held. An honest one in its stride has thirty
 * steps held, of which five may be paid before an audit is done: 1 / 26, less than the floor.
 */
export const rateAtStake = (work: number, held: number): number => (work > 0 ? work / (held + work) : 0);

export interface Standing {
  /** It has no pass, and none of its steps is being looked at. */
  unseen: boolean;
  /** Steps it took part in since its first passed audit, or the first since it was last found false. */
  cleanSteps: number;
  /** Failed audits, ever. */
  failures: number;
  /** Its loss attribution; 0 while there is none. */
  zScore: number;
}

/** In [floor, 1]. A miner found false stays suspicious until it has been clean for as long as a newcomer must. */
export function auditRate({ unseen, cleanSteps, failures, zScore }: Standing): number {
  if (unseen) return AUDITS.unseen;
  const proven = cleanSteps >= AUDITS.newcomerSteps;
  if (zScore > AUDITS.suspiciousScore || (failures > 0 && !proven)) return AUDITS.suspicious;
  return proven ? AUDITS.floor : AUDITS.newcomer;
}
