/** How far two tensors, or two losses, are apart. Plain double arithmetic over the elements in order. */
import type { Distance } from '@starling/protocol';

/** Of what has nothing in common. */
export const FARTHEST: Distance = { cosineDistance: Number.POSITIVE_INFINITY, relativeL2: Number.POSITIVE_INFINITY };
const SAME: Distance = { cosineDistance: 0, relativeL2: 0 };

/**
 * Of a claim against what was computed again. 1 − cosine is summed as ½‖a/‖a‖ − b/‖b‖‖², which loses no digits where the two
 * are nearly equal. A tensor of zeros is only like another one; NaN and infinity are like nothing.
 */
export function distanceOf(claim: ArrayLike<number>, replay: ArrayLike<number>): Distance {
  if (claim.length !== replay.length) return FARTHEST;
  let claimed = 0;
  let replayed = 0;
  let difference = 0;
  for (let i = 0; i < replay.length; i++) {
    const a = claim[i]!;
    const b = replay[i]!;
    claimed += a * a;
    replayed += b * b;
    difference += (a - b) * (a - b);
  }
  if (difference === 0) return SAME;
  const lengths = [Math.sqrt(claimed), Math.sqrt(replayed)] as const;
  if (!Number.isFinite(difference) || lengths[0] === 0 || lengths[1] === 0) return FARTHEST;
  let apart = 0;
  for (let i = 0; i < replay.length; i++) {
    const d = claim[i]! / lengths[0] - replay[i]! / lengths[1];
    apart += d * d;
  }
  return { cosineDistance: apart / 2, relativeL2: Math.sqrt(difference) / lengths[1] };
}
