/**
 * SparseLoCo's wire form (arXiv:2508.15706; the quantiser as in Templar): of every 4,096 numbers the 64 largest in magnitude,
 * each a 12-bit index and a 2-bit code. 128 bytes a chunk: a quarter of a bit a number, 128 times less than float32.
 *
 * Codes: μ = mean of the chosen, σ their standard deviation, s = 6σ/4, code = clamp(round((v − μ)/s + 2), 0, 3). A code's level
 * is the mean of the numbers that have it. So ‖x − x̂‖² = ‖x‖² − Σ count·level² ≤ ‖x‖²: what is lost is never more than what was
 * there, and `ErrorFeedback` brings it back later. A last chunk of n numbers keeps ⌈n/64⌉.
 *
 * A chunk: four float32 levels; the indices, ascending, two in three bytes; the codes, four in a byte. Spare bits and unused levels
 * are zero.
 */
import { defineCodec, malformed } from './codec.ts';

const CHUNK = 4096;
const SHARE = 64;
const LEVELS = 4;
const HEAD = 4 * LEVELS;

/** Where the parts of a chunk of `n` numbers lie, in bytes from its start. */
function partsOf(n: number): { kept: number; codes: number; end: number } {
  const kept = Math.ceil(n / SHARE);
  const codes = HEAD + Math.ceil((kept * 3) / 2);
  return { kept, codes, end: codes + Math.ceil(kept / 4) };
}
const FULL = partsOf(CHUNK).end;

/** Indices of the `kept` largest magnitudes, ascending; of equal ones the first. */
function largest(chunk: Float32Array, kept: number): number[] {
  const sorted = chunk.map(Math.abs).sort();
  const threshold = sorted[chunk.length - kept]!;
  let ties = kept;
  for (let i = sorted.length - 1; i >= 0 && sorted[i]! > threshold; i--) ties--;
  const chosen: number[] = [];
  for (let i = 0; i < chunk.length; i++) {
    const size = Math.abs(chunk[i]!);
    if (size > threshold || (size === threshold && ties-- > 0)) chosen.push(i);
  }
  return chosen;
}

/** 2-bit codes of `values`, and the level of each code. */
function quantise(values: number[]): { codes: number[]; levels: number[] } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) * (value - mean), 0);
  const step = (6 / LEVELS) * Math.sqrt(squares / Math.max(1, values.length - 1));
  const sums = [0, 0, 0, 0];
  const counts = [0, 0, 0, 0];
  const codes = values.map((value) => {
    const code = step > 0 ? Math.max(0, Math.min(LEVELS - 1, Math.round((value - mean) / step + 2))) : 2;
    sums[code]! += value;
    counts[code]! += 1;
    return code;
  });
  return { codes, levels: sums.map((sum, code) => (counts[code]! > 0 ? sum / counts[code]! : 0)) };
}

function writeChunk(chunk: Float32Array, bytes: Uint8Array): void {
  const parts = partsOf(chunk.length);
  const indices = largest(chunk, parts.kept);
  const { codes, levels } = quantise(indices.map((index) => chunk[index]!));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  levels.forEach((level, code) => {
    view.setFloat32(4 * code, level, true);
  });
  indices.forEach((index, i) => {
    const at = HEAD + 3 * (i >> 1);
    if (i % 2 === 0) {
      bytes[at] = index & 255;
      bytes[at + 1] = index >> 8;
    } else {
      bytes[at + 1]! |= (index & 15) << 4;
      bytes[at + 2] = index >> 4;
    }
    bytes[parts.codes + (i >> 2)]! |= codes[i]! << (2 * (i % 4));
  });
}

function readChunk(bytes: Uint8Array, chunk: Float32Array): void {
  const { kept, codes } = partsOf(chunk.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const levels = Float32Array.from({ length: LEVELS }, (_, code) => view.getFloat32(4 * code, true));
  const used = levels.map(() => 0);
  let before = -1;
  for (let i = 0; i < kept; i++) {
    const at = HEAD + 3 * (i >> 1);
    const index = i % 2 === 0 ? bytes[at]! | ((bytes[at + 1]! & 15) << 8) : (bytes[at + 1]! >> 4) | (bytes[at + 2]! << 4);
    if (index <= before || index >= chunk.length) throw malformed(`has the index ${index} after ${before} of ${chunk.length}`);
    before = index;
    const code = (bytes[codes + (i >> 2)]! >> (2 * (i % 4))) & 3;
    used[code] = 1;
    chunk[index] = levels[code]!;
  }
  if (levels.some((level, code) => !used[code] && level !== 0)) throw malformed('has a level that no number uses');
  const spare = (kept % 2 === 1 && bytes[codes - 1]! >> 4) || (kept % 4 > 0 && bytes[codes + (kept >> 2)]! >> (2 * (kept % 4)));
  if (spare) throw malformed('has spare bits that are not zero');
}

/** Calls `visit` for every chunk with its first number, its length and its bytes. */
function eachChunk(length: number, bytes: Uint8Array, visit: (start: number, n: number, bytes: Uint8Array) => void): void {
  for (let start = 0, at = 0; start < length; start += CHUNK, at += FULL) {
    const n = Math.min(CHUNK, length - start);
    visit(start, n, bytes.subarray(at, at + partsOf(n).end));
  }
}

export const topk2bit = defineCodec({
  name: 'topk2bit',
  block: CHUNK,
  size: (length) => Math.floor(length / CHUNK) * FULL + (length % CHUNK > 0 ? partsOf(length % CHUNK).end : 0),
  write: (vector, bytes) => eachChunk(vector.length, bytes, (start, n, part) => writeChunk(vector.subarray(start, start + n), part)),
  read: (bytes, vector) => eachChunk(vector.length, bytes, (start, n, part) => readChunk(part, vector.subarray(start, start + n))),
});
