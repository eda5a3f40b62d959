/**
 * Holds what a miner said against what was computed again. Exact things exactly: the hashes that were signed, shapes, the
 * bytes that were relayed. Tensors by cosine and relative L2 against the calibrated limits.
 */
import { type Crossing, crossingOf, type Vector } from '@starling/codecs';
import {
  type AuditCheck,
  type AuditQuantity,
  type AuditVerdict,
  broughtBy,
  countLeases,
  type Distance,
  isFiniteTensor,
  SwarmError,
  sha256Hex,
} from '@starling/protocol';
import { CODECS } from '@starling/reduce';
import { distanceOf, FARTHEST } from './compare.ts';
import type { AnsweredLease, AuditedRun, Evidence } from './evidence.ts';
import { isComparable, type Limits } from './limits.ts';
import type { Outcome, Replayed } from './replay.ts';

export type Judgement = Omit<AuditVerdict, 'computeMs'>;

/** Of the failed checks, so many are told. */
const TOLD = 16;
/**
 * Where a result moves by m of its length when its inputs move by their last digit, honest ones of two backends differ by less than so
 * many m: by up to 4.5 m on text (`f32`, where m is about 1e-7, so that the limit is reached first), by up to 3 m where m was driven
 * to 1e-6 … 1; times ten as the limits are.
 */
const MOVEMENTS = 50;
/**
 * Where rounding operands to halves changes a result by m, honest ones differ by up to 2 m: what lies in the middle of two halves may become
 * either. Seen: up to 0.7 m where they differ by more than a limit, on inputs so small that few halves are left for them; times two.
 */
const ROUNDINGS = 4;

/** A replay that was changed a little. */
export interface Changed {
  replayed: Replayed;
  /** Honest results differ by less than so many times what it changed. */
  times: number;
}

/** `moved`: on inputs moved by their last digit; `unrounded`: without the rounding of operands, of a run that has it. */
export const changes = (moved: readonly Replayed[], unrounded: Replayed | null): Changed[] => [
  ...moved.map((replayed) => ({ replayed, times: MOVEMENTS })),
  ...(unrounded ? [{ replayed: unrounded, times: ROUNDINGS }] : []),
];

/**
 * Null when the evidence is what was signed; else what is wrong with it, which is not the miner's doing. The hash of an output where
 * there is none is: it is compared.
 */
export async function doubtOf(run: AuditedRun, { stage, parameters, parameterHash, leases }: Evidence): Promise<string | null> {
  if ((await sha256Hex(parameters)) !== parameterHash) return 'The parameters are not those of the version.';
  for (const { kind, microbatch, input, output, said } of leases) {
    if ((await sha256Hex(input)) !== said.inputHash) return `The input of microbatch ${microbatch} is not the one that was signed for.`;
    if (output === null && !broughtBy(kind, run.stages[stage]!).output) continue;
    const outputHash = output && (await sha256Hex(output));
    if (outputHash !== said.outputHash) return `The output of microbatch ${microbatch} is not the one that was signed.`;
  }
  return null;
}

export interface Comparison {
  quantity: AuditQuantity;
  /** Null for a gradient sum. */
  microbatch: number | null;
  /** What it is about: one, or all of a sum. */
  leases: readonly AnsweredLease[];
  distance: Distance;
  /** Relative L2 by which honest results may differ, as changed replays tell; 0 where that was not looked at. */
  doubt: number;
}

type Numbers = ArrayLike<number>;

/** All comparisons that evidence and replay allow. `run` is the sizes of both. */
export function compareAll(run: AuditedRun, evidence: Evidence, replayed: Replayed, changed: readonly Changed[] = []): Comparison[] {
  const crossing = crossingOf(run);
  const found = evidence.leases.flatMap((lease, i) => compareLease(crossing, lease, ({ outcomes }) => outcomes[i]!, replayed, changed));
  const { gradient } = evidence;
  if (gradient === null) return found;
  // Nothing counted, and yet there is a gradient: it is compared with zero.
  const sumOf = (replay: Replayed) => written(run.gradient, replay.gradient ?? new Float32Array(gradient.length));
  const leases = evidence.leases.filter(({ inSum }) => inSum);
  return [...found, { quantity: 'gradient', microbatch: null, leases, ...measured(gradient, sumOf, replayed, changed) }];
}

function compareLease(
  crossing: Crossing,
  lease: AnsweredLease,
  outcomeOf: (replay: Replayed) => Outcome,
  replayed: Replayed,
  changed: readonly Changed[],
): Comparison[] {
  const { kind, microbatch, output, said } = lease;
  const replay = outcomeOf(replayed);
  const [found, leases]: [Comparison[], AnsweredLease[]] = [[], [lease]];
  if (output !== null || said.outputHash !== null || replay.output !== null) {
    const quantity = kind === 'backward' ? 'inputGradient' : 'activations';
    const crossed = (of: Pick<Outcome, 'output'>) => (of.output === null ? null : readable(() => crossing.unpack(of.output!)));
    found.push({ quantity, microbatch, leases, ...measured(crossed({ output }), (of) => crossed(outcomeOf(of)), replayed, changed) });
  }
  if (said.lossSum !== null || replay.lossSum !== null) {
    const loss = ({ lossSum }: Pick<Outcome, 'lossSum'>) => (lossSum !== null && Number.isFinite(lossSum) ? [lossSum] : null);
    found.push({ quantity: 'loss', microbatch, leases, ...measured(loss(said), (of) => loss(outcomeOf(of)), replayed, changed) });
  }
  return found;
}

/** Tensors as they were written for the wire, so that what the writing rounds away is rounded away in all; null: like nothing. */
function measured(
  claim: Numbers | null,
  numbersOf: (replay: Replayed) => Numbers | null,
  replayed: Replayed,
  changed: readonly Changed[],
): Pick<Comparison, 'distance' | 'doubt'> {
  const replay = numbersOf(replayed);
  const apart = (from: Numbers | null) => (from && replay ? distanceOf(from, replay) : FARTHEST);
  const doubtBy = ({ replayed, times }: Changed) => {
    const other = numbersOf(replayed);
    // What is no number either way has not changed.
    return other === null && replay === null ? 0 : times * apart(other).relativeL2;
  };
  return { distance: apart(claim), doubt: Math.max(0, ...changed.map(doubtBy)) };
}

/** As it is written when it is handed in. */
const written = (codec: AuditedRun['gradient'], vector: Vector) =>
  readable(() => CODECS[codec].decode(CODECS[codec].encode(vector), vector.length));

/** Null for what is misshapen or not finite. */
function readable(read: () => Vector): Vector | null {
  try {
    const vector = read();
    return isFiniteTensor(vector) ? vector : null;
  } catch (error) {
    if (error instanceof SwarmError) return null;
    throw error;
  }
}

const within = ({ cosineDistance, relativeL2 }: Distance, limit: Distance) =>
  cosineDistance <= limit.cosineDistance && relativeL2 <= limit.relativeL2;

/**
 * The evidence itself is beyond doubt. `unverified`: of inputs on which honest results differ, too, as `changed` tells; the rest must not go
 * unseen for them. `void`: nothing in it is false, and yet it shows nothing, since there was nothing that can be compared, or no
 * gradient for the backwards (which then are in no merge, and unpaid).
 */
export function judge(
  run: AuditedRun,
  evidence: Evidence,
  replayed: Replayed,
  limits: Limits,
  changed: readonly Changed[] = [],
): Judgement {
  const failed: AuditCheck[] = [];
  const unsure: AuditCheck[] = [];
  const unverified = new Set<AnsweredLease>();
  const checks = compareAll(run, evidence, replayed, changed).map(({ quantity, microbatch, leases, distance, doubt }): AuditCheck => {
    const limit = limits[quantity];
    const check = { quantity, microbatch, ...distance, limit, passed: within(distance, limit) };
    if (check.passed) return check;
    if (distance.relativeL2 > doubt) failed.push(check);
    else {
      unsure.push(check);
      for (const lease of leases) unverified.add(lease);
    }
    return check;
  });
  const summed = evidence.gradient !== null || !isComparable(run.gradient) || evidence.leases.every(({ kind }) => kind !== 'backward');
  const shown = summed && checks.length > unsure.length;
  return {
    outcome: failed.length > 0 ? 'failed' : shown ? 'passed' : 'void',
    finding: sentence(checks, failed, unsure, summed),
    checks: [...[...failed, ...unsure].slice(0, TOLD), ...nearest(checks.filter(({ passed }) => passed))],
    compared: checks.length,
    ...(unverified.size > 0 && { unverified: countLeases(unverified) }),
  };
}

/** Of each quantity, the check that is nearest its limit. */
function nearest(checks: readonly AuditCheck[]): AuditCheck[] {
  const share = ({ relativeL2, limit }: AuditCheck) => relativeL2 / limit.relativeL2;
  const most = new Map<AuditQuantity, AuditCheck>();
  for (const check of checks) {
    const other = most.get(check.quantity);
    if (!other || share(check) > share(other)) most.set(check.quantity, check);
  }
  return [...most.values()];
}

const NAMES: Record<AuditQuantity, string> = {
  activations: 'activations',
  inputGradient: 'gradient of the input',
  loss: 'loss',
  gradient: 'gradient sum',
};

function sentence(checks: readonly AuditCheck[], failed: readonly AuditCheck[], unsure: readonly AuditCheck[], summed: boolean): string {
  const [first] = failed;
  if (first) return `${failed.length} of ${checks.length} comparisons failed: against the replay, the ${nameOf(first)} ${farOf(first)}.`;
  const [other] = unsure;
  if (other) {
    const why = 'what other miners sent is so ill-conditioned that honest results differ as much';
    return `${unsure.length} of ${checks.length} comparisons show nothing: the ${nameOf(other)} ${farOf(other)}, but ${why}.`;
  }
  if (checks.length === 0 || !summed) return 'There is no gradient to hold the backwards against.';
  return `${checks.length} comparisons, all within the limits.`;
}

const nameOf = ({ quantity, microbatch }: AuditCheck) => `${NAMES[quantity]}${microbatch === null ? '' : ` of microbatch ${microbatch}`}`;

const farOf = ({ relativeL2, limit }: AuditCheck) =>
  Number.isFinite(relativeL2)
    ? `is off by ${relativeL2.toExponential(1)} of its length, ${limit.relativeL2.toExponential(1)} is allowed`
    : 'has nothing in common with it';
