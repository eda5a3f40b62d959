/** A boundary codec by its name: `int8`, `subspace`, `bottleneck+int4`, … — what narrows the rows, and how numbers are written. */
import { SwarmError } from '@starling/protocol';
import type { Bottleneck } from './bottleneck.ts';
import { type Bytes, QUANTISERS, type Quantiser, type QuantiserName, type Vector } from './quantise.ts';
import type { Subspace } from './subspace.ts';

export interface Maps {
  subspace?: Subspace;
  bottleneck?: Bottleneck;
}

export interface BoundaryCodec {
  readonly name: string;
  /** Numbers of a row that cross. */
  readonly inner: number;
  /** How they, and gradients with respect to them, are written. */
  readonly quantiser: Quantiser;
  /** Bytes of a token. */
  readonly rowBytes: number;
  /** x `[n, width]` of `tokens` `[n]`. */
  encode(x: Float32Array, tokens: Int32Array): Bytes;
  decode(bytes: Uint8Array, tokens: Int32Array): Vector;
}

/** `width`: of a hidden state. Throws `CONFIG_INVALID` for a name it does not know, or whose map is not given. */
export function boundaryCodec(name: string, width: number, maps: Maps = {}): BoundaryCodec {
  const parts = name.split('+');
  const map = parts[0] === 'subspace' || parts[0] === 'bottleneck' ? maps[parts[0]] : undefined;
  const numbers = map ? (parts[1] ?? 'f32') : parts[0]!;
  if (!Object.hasOwn(QUANTISERS, numbers) || parts.length > (map ? 2 : 1) || (map && map.width !== width)) {
    throw new SwarmError('CONFIG_INVALID', `There is no boundary codec "${name}" for a width of ${width}.`);
  }
  const quantiser = QUANTISERS[numbers as QuantiserName];
  const inner = map?.inner ?? width;
  return {
    name,
    inner,
    quantiser,
    rowBytes: quantiser.rowBytes(inner),
    encode: (x, tokens) => quantiser.encode(map ? map.down(x, tokens) : x, inner),
    decode(bytes, tokens) {
      const rows = quantiser.decode(bytes, inner);
      return map ? map.up(rows, tokens) : rows;
    },
  };
}
