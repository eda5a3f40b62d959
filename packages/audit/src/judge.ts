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
  type Distance,
  SwarmError,
  sha256Hex,
  type TensorData,
} from '@starling/protocol';
import { CODECS } from '@starling/reduce';
import { distanceOf, FARTHEST, lossDistance } from './compare.ts';
import type { AnsweredLease, AuditedRun, Evidence } from './evidence.ts';
import { isComparable, type Limits } from './limits.ts';
import type { Outcome, Replayed } from './replay.ts';

export type Judgement = Omit<AuditVerdict, 'computeMs'>;

/** Of the failed checks, so many are told. */
const TOLD = 16;

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

/** All comparisons that evidence and replay allow. `run` is the sizes of both. */
export function compareAll(
  run: AuditedRun,
  evidence: Evidence,
  replayed: Replayed,
): { quantity: AuditQuantity; microbatch: number | null; distance: Distance }[] {
  const crossing = crossingOf(run);
  const found = evidence.leases.flatMap((lease, i) => compareLease(crossing, lease, replayed.outcomes[i]!));
  if (evidence.gradient === null) return found;
  // Nothing counted, and yet there is a gradient: it is compared with zero.
  const sum: Vector = written(run.gradient, replayed.gradient ?? new Float32Array(evidence.gradient.length));
  return [...found, { quantity: 'gradient', microbatch: null, distance: distanceOf(evidence.gradient, sum) }];
}

/** As it is written when it is handed in, so that what the writing rounds away is rounded away in both. */
const written = (codec: AuditedRun['gradient'], vector: Vector): Vector =>
  CODECS[codec].decode(CODECS[codec].encode(vector), vector.length);

function compareLease(crossing: Crossing, { kind, microbatch, output, said }: AnsweredLease, replay: Outcome) {
  const found: { quantity: AuditQuantity; microbatch: number; distance: Distance }[] = [];
  if (output !== null || said.outputHash !== null || replay.output !== null) {
    const quantity = kind === 'backward' ? 'inputGradient' : 'activations';
    found.push({ quantity, microbatch, distance: crossed(crossing, output, replay.output) });
  }
  if (said.lossSum !== null || replay.lossSum !== null) {
    found.push({ quantity: 'loss', microbatch, distance: lossDistance(said.lossSum ?? Number.NaN, replay.lossSum ?? Number.NaN) });
  }
  return found;
}

/** Both as they were written for the wire, so that what the writing rounds away is rounded away in both. */
function crossed(crossing: Crossing, claim: TensorData | null, replay: TensorData | null): Distance {
  if (claim === null || replay === null) return FARTHEST;
  try {
    return distanceOf(crossing.unpack(claim), crossing.unpack(replay));
  } catch (error) {
    if (error instanceof SwarmError) return FARTHEST; // misshapen or not finite: like nothing
    throw error;
  }
}

const within = ({ cosineDistance, relativeL2 }: Distance, limit: Distance) =>
  cosineDistance <= limit.cosineDistance && relativeL2 <= limit.relativeL2;

/**
 * The evidence itself is beyond doubt. `void`: nothing in it is false, and yet it shows nothing, since there was nothing to compare, or
 * no gradient for the backwards (which then are in no merge, and unpaid).
 */
export function judge(run: AuditedRun, evidence: Evidence, replayed: Replayed, limits: Limits): Judgement {
  const checks = compareAll(run, evidence, replayed).map(({ quantity, microbatch, distance }): AuditCheck => {
    const limit = limits[quantity];
    return { quantity, microbatch, ...distance, limit, passed: within(distance, limit) };
  });
  const failed = checks.filter(({ passed }) => !passed);
  const summed = evidence.gradient !== null || !isComparable(run.gradient) || evidence.leases.every(({ kind }) => kind !== 'backward');
  const shown = checks.length > 0 && summed;
  return {
    outcome: failed.length > 0 ? 'failed' : shown ? 'passed' : 'void',
    finding: failed.length > 0 || shown ? sentence(checks, failed) : 'There is no gradient to hold the backwards against.',
    checks: [...failed.slice(0, TOLD), ...nearest(checks.filter(({ passed }) => passed))],
    compared: checks.length,
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

function sentence(checks: readonly AuditCheck[], failed: readonly AuditCheck[]): string {
  const [first] = failed;
  if (!first) return `${checks.length} comparisons, all within the limits.`;
  const where = first.microbatch === null ? '' : ` of microbatch ${first.microbatch}`;
  const { relativeL2, limit } = first;
  const far = Number.isFinite(relativeL2)
    ? `is off by ${relativeL2.toExponential(1)} of its length, ${limit.relativeL2.toExponential(1)} is allowed`
    : 'has nothing in common with it';
  return `${failed.length} of ${checks.length} comparisons failed: against the replay, the ${NAMES[first.quantity]}${where} ${far}.`;
}
