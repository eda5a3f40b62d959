/** Made on the host: constants of attention (rotary angles, the half-rotation, the causal mask), and the order of tokens. */
import { SwarmError } from '@starling/protocol';
import { type AttentionShape, MASKED, ROTARY_BASE } from './kernels.ts';

/**
 * cos and sin `[repeat·T, D]`: row t holds the angles of position t mod T, D/2 of them twice, times `scale`.
 * They may differ in the last place between engines; forwards are compared by tolerance, never by hash.
 */
export function rotaryTables({ context, headWidth }: AttentionShape, repeat: number, scale: number) {
  const half = headWidth / 2;
  const cos = new Float32Array(repeat * context * headWidth);
  const sin = new Float32Array(repeat * context * headWidth);
  for (let row = 0; row < repeat * context; row++) {
    for (let i = 0; i < headWidth; i++) {
      const angle = (row % context) * ROTARY_BASE ** (-(i % half) / half);
      cos[row * headWidth + i] = scale * Math.cos(angle);
      sin[row * headWidth + i] = scale * Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** `[D,D]` matrix R with x·R = (−x₂, x₁) for x = (x₁, x₂): rotation by a quarter turn, as a product. */
export function quarterTurn(headWidth: number): Float32Array<ArrayBuffer> {
  const half = headWidth / 2;
  const turn = new Float32Array(headWidth * headWidth);
  for (let i = 0; i < half; i++) {
    turn[(i + half) * headWidth + i] = -1;
    turn[i * headWidth + i + half] = 1;
  }
  return turn;
}

/** `[repeat·T, T]`: 0 where row t may see the column, else `MASKED`. */
export function causalMask({ context }: AttentionShape, repeat: number): Float32Array<ArrayBuffer> {
  const mask = new Float32Array(repeat * context * context);
  for (let row = 0; row < repeat * context; row++) {
    mask.fill(MASKED, row * context + (row % context) + 1, (row + 1) * context);
  }
  return mask;
}

/** `[T, D]`: D/2 cosines, then D/2 sines, of each position. */
export function rotaryAngles(context: number, headWidth: number): Float32Array<ArrayBuffer> {
  const half = headWidth / 2;
  const angles = new Float32Array(context * headWidth);
  for (let row = 0; row < context; row++) {
    for (let i = 0; i < half; i++) {
      const angle = row * ROTARY_BASE ** (-i / half);
      angles[row * headWidth + i] = Math.cos(angle);
      angles[row * headWidth + half + i] = Math.sin(angle);
    }
  }
  return angles;
}

/** The rows of each token, as `TokenRows` has them. Throws `TENSOR_SHAPE` for a token that is none. */
export function sortTokens(tokens: Int32Array, vocabulary: number): { order: Int32Array<ArrayBuffer>; starts: Int32Array<ArrayBuffer> } {
  const starts = new Int32Array(vocabulary + 1);
  for (const token of tokens) {
    if (token < 0 || token >= vocabulary) throw new SwarmError('TENSOR_SHAPE', `There is no token ${token} among ${vocabulary}.`);
    starts[token + 1]! += 1;
  }
  for (let token = 0; token < vocabulary; token++) starts[token + 1]! += starts[token]!;
  const next = starts.slice();
  const order = new Int32Array(tokens.length);
  for (const [row, token] of tokens.entries()) {
    order[next[token]!] = row;
    next[token]! += 1;
  }
  return { order, starts };
}
