/** What crosses between stages, by its name on a command line: `int8`, `subspace-16`, `bottleneck-32+int4`, … */
import { BOUNDARIES, type ModelShape, type RunConfig, type Squeeze, SwarmError } from '@starling/protocol';

export interface Boundary {
  squeeze: Pick<Squeeze, 'kind' | 'rank'> | null;
  boundary: RunConfig['boundary'];
}

const SQUEEZED = /^(subspace|bottleneck)-([1-9]\d{0,4})$/;

export const BOUNDARY_NAMES = `${BOUNDARIES.join(', ')}; or subspace-RANK, bottleneck-RANK, and +${BOUNDARIES.slice(1).join(', +')} after it`;

/** For hidden states of this width. Throws `CONFIG_INVALID` for what it does not know, and for a rank that is not below the width. */
export function parseBoundary(name: string, width: number): Boundary {
  const parts = name.split('+');
  const [, kind, digits] = SQUEEZED.exec(parts[0]!) ?? [];
  const numbers = kind ? (parts[1] ?? 'f32') : parts[0];
  const boundary = BOUNDARIES.find((known) => known === numbers);
  if (!boundary || parts.length > (kind ? 2 : 1)) {
    throw new SwarmError('CONFIG_INVALID', `--boundary is one of ${BOUNDARY_NAMES}; not "${name}".`);
  }
  if (!kind) return { squeeze: null, boundary };
  const rank = Number(digits);
  if (rank >= width) throw new SwarmError('CONFIG_INVALID', `--boundary ${name} narrows nothing: hidden states are ${width} wide.`);
  return { squeeze: { kind: kind as Squeeze['kind'], rank }, boundary };
}

/** The name of what a run does. */
export function boundaryName({
  model: { squeeze },
  boundary,
}: {
  model: Pick<ModelShape, 'squeeze'>;
  boundary: RunConfig['boundary'];
}): string {
  if (!squeeze) return boundary;
  return `${squeeze.kind}-${squeeze.rank}${boundary === 'f32' ? '' : `+${boundary}`}`;
}
