/** What an audit compared and found, as validators say it and pages show it. */
import * as v from 'valibot';
import type { LeaseKind } from './messages.ts';

/**
 * What can be compared: a stage's output, the gradient of its input, the sum of token losses, and a miner's gradient sum of
 * a step.
 */
export const AUDIT_QUANTITIES = ['activations', 'inputGradient', 'loss', 'gradient'] as const;
export type AuditQuantity = (typeof AUDIT_QUANTITIES)[number];

/** How far a claim is from what was computed again. Both are 0 for equal tensors and Infinity where that is not finite. */
export interface Distance {
  /** 1 − cosine of the angle between them. */
  cosineDistance: number;
  /** ‖claim − replay‖ ÷ ‖replay‖; of a loss, its relative error. */
  relativeL2: number;
}

// JSON knows no Infinity, Socket.IO neither.
const distance = v.pipe(
  v.nullable(v.number()),
  v.transform((x) => x ?? Number.POSITIVE_INFINITY),
);

export const AuditCheck = v.object({
  quantity: v.picklist(AUDIT_QUANTITIES),
  /** Null for a gradient sum. */
  microbatch: v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0))),
  cosineDistance: distance,
  relativeL2: distance,
  /** The calibrated limits they were held against. */
  limit: v.object({ cosineDistance: v.number(), relativeL2: v.number() }),
  passed: v.boolean(),
});
export type AuditCheck = v.InferOutput<typeof AuditCheck>;

/** `void`: nothing of it shows anything about the miner, since the evidence is not what was signed, or nothing in it can be compared. */
export const AUDIT_OUTCOMES = ['passed', 'failed', 'void'] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];

const count = v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)));
/** How many of each kind. */
export const LeaseCounts = v.object({ forward: count, backward: count, evaluate: count } satisfies Record<LeaseKind, typeof count>);
export type LeaseCounts = v.InferOutput<typeof LeaseCounts>;

export const countLeases = (leases: Iterable<{ kind: LeaseKind }>): LeaseCounts => {
  const counts: LeaseCounts = {};
  for (const { kind } of leases) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
};

export const AuditVerdict = v.object({
  outcome: v.picklist(AUDIT_OUTCOMES),
  /** A sentence: what was found. */
  finding: v.pipe(v.string(), v.maxLength(300)),
  /** Checks that failed, and of each quantity the one nearest its limit. */
  checks: v.pipe(v.array(AuditCheck), v.maxLength(64)),
  /** Tensors and losses compared. */
  compared: v.pipe(v.number(), v.integer(), v.minValue(0)),
  /** Leases on whose inputs honest results differ, too, so that nobody can tell what these are; absent: none. */
  unverified: v.optional(LeaseCounts),
  /** Computing it took so long. */
  computeMs: v.pipe(v.number(), v.minValue(0)),
});
export type AuditVerdict = v.InferOutput<typeof AuditVerdict>;

/** One audit, as the public feed shows it. */
export interface AuditEntry {
  /** Ascends in time. */
  id: number;
  /** Unix ms. */
  time: number;
  minerId: string;
  stage: number;
  version: number;
  verdict: AuditVerdict;
  /** Hotkey of the validator that found it; null: the server's own. */
  validator: string | null;
  /** It passed and that says nothing for its device: what it is of was done before a conviction. */
  uncounted?: true;
}
