/** Text that can be learned, made from nothing: bytes that follow each other by a rule, and every third one a surprise. */
import { splitMix32, type TokenBatch } from '@starling/model';

/** Microbatch number `cursor` of so many tokens. */
export function ruledText(tokens: number, cursor: number): TokenBatch {
  const next = splitMix32(cursor);
  const bytes = Array.from({ length: tokens + 1 }, (_, i) => (i % 3 === 0 ? next() % 64 : (i * 7) % 64));
  return { tokens: Int32Array.from(bytes.slice(0, tokens)), targets: Int32Array.from(bytes.slice(1)) };
}
