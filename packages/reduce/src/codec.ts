/**
 * How a gradient crosses the wire. A codec turns a vector into bytes whose number depends on the length alone, and back.
 * Both ways are plain IEEE-754 arithmetic with + − × ÷ √ only, so every engine reads the same numbers from the same bytes.
 */
import { bytesOf, isFiniteTensor, SwarmError } from '@starling/protocol';

export type Vector = Float32Array<ArrayBuffer>;
export type Bytes = Uint8Array<ArrayBuffer>;
export type CodecName = 'f32' | 'bf16' | 'int8' | 'topk2bit';

/**
 * The largest magnitude that is encoded, a factor of two under float32's: so neither rounding up nor the sum of
 * contributions, each at most `LARGEST` / members, can reach infinity.
 */
export const LARGEST = 2 ** 127;

export interface GradientCodec {
  readonly name: CodecName;
  /** Numbers that are encoded together, a power of two. Shards are cut between blocks. */
  readonly block: number;
  /** Bytes of an encoded vector `[length]`. */
  size(length: number): number;
  /** Throws `TENSOR_NOT_FINITE` for NaN, infinity and magnitudes over `LARGEST`. */
  encode(vector: Float32Array): Bytes;
  /** Throws `BLOB_TOO_LARGE`, `SHARD_MALFORMED` or `TENSOR_NOT_FINITE`. The result owns its memory and is finite. */
  decode(bytes: Uint8Array, length: number): Vector;
}

/** What differs between codecs; the checks are the same for all. */
interface Format extends Pick<GradientCodec, 'name' | 'block' | 'size'> {
  /** `bytes` is zero. */
  write(vector: Float32Array, bytes: Bytes): void;
  /** `vector` is zero; `bytes` begin at a multiple of eight. Throws `SHARD_MALFORMED` for what `write` never writes. */
  read(bytes: Bytes, vector: Vector): void;
}

export function defineCodec({ name, block, size, write, read }: Format): GradientCodec {
  return {
    name,
    block,
    size,
    encode(vector) {
      if (!isFiniteTensor(vector, LARGEST)) {
        throw new SwarmError('TENSOR_NOT_FINITE', `A vector with NaN, infinity or more than 2^127 cannot be encoded as ${name}.`);
      }
      const bytes = new Uint8Array(size(vector.length));
      write(vector, bytes);
      return bytes;
    },
    decode(bytes, length) {
      const expected = size(length);
      if (bytes.length !== expected) {
        const code = bytes.length > expected ? 'BLOB_TOO_LARGE' : 'SHARD_MALFORMED';
        throw new SwarmError(code, `${length} numbers as ${name} are ${expected} bytes, not ${bytes.length}.`);
      }
      const vector = new Float32Array(length);
      read(new Uint8Array(bytes), vector);
      if (!isFiniteTensor(vector)) throw new SwarmError('TENSOR_NOT_FINITE', `A shard encoded as ${name} holds NaN or infinity.`);
      return vector;
    },
  };
}

export const malformed = (why: string) => new SwarmError('SHARD_MALFORMED', `The encoded shard ${why}.`);

/** Four bytes a number, and the number itself. */
export const f32 = defineCodec({
  name: 'f32',
  block: 1,
  size: (length) => 4 * length,
  write: (vector, bytes) => bytes.set(bytesOf(vector)),
  read: (bytes, vector) => bytesOf(vector).set(bytes),
});

/** The upper half of a float32, rounded to nearest even: |x − x̂| ≤ 2⁻⁸·|x|, or 2⁻¹³⁴ where x is subnormal. For merged results. */
export const bf16 = defineCodec({
  name: 'bf16',
  block: 1,
  size: (length) => 2 * length,
  write(vector, bytes) {
    const halves = new Uint16Array(bytes.buffer);
    const bits = new Uint32Array(vector.buffer, vector.byteOffset, vector.length);
    for (let i = 0; i < bits.length; i++) halves[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) >>> 16;
  },
  read(bytes, vector) {
    const halves = new Uint16Array(bytes.buffer);
    const bits = new Uint32Array(vector.buffer);
    for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
  },
});
