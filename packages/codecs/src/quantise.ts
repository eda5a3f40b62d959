/**
 * How rows of numbers cross a boundary between stages: `[tokens, width]`, every token's row by itself, so that a token's bytes do not depend
 * on its neighbours.
 *
 * | | bytes a row | error |
 * |---|---|---|
 * | `f32` | 4w | none |
 * | `f16` | 2w | ≤ max(2⁻¹¹·|x|, 2⁻²⁵) |
 * | `int8` | w + 4 | ≤ max|row| · (1 + 2⁻²⁰) / 254 + 2⁻¹⁴² |
 * | `int4` | ⌈w/2⌉ + 2⌈w/32⌉ | ≤ max|group| · (1 + 2⁻⁷) / 14 + 2⁻¹³⁰, groups of 32 |
 */
import { bytesOf, fromHalf, HALF_LIMIT, isFiniteTensor, SwarmError, toHalf } from '@starling/protocol';

export type Vector = Float32Array<ArrayBuffer>;
export type Bytes = Uint8Array<ArrayBuffer>;
export type QuantiserName = 'f32' | 'f16' | 'int8' | 'int4';

export interface Quantiser {
  readonly name: QuantiserName;
  /** Exclusive bound of the magnitudes it can say. */
  readonly limit: number;
  /** Bytes of a row. */
  rowBytes(width: number): number;
  /** Rows `[n, width]`. Throws `TENSOR_SHAPE`, or `TENSOR_NOT_FINITE` for what it cannot say. */
  encode(rows: Float32Array, width: number): Bytes;
  /** Throws `TENSOR_SHAPE` for other sizes, `TENSOR_NOT_FINITE` for NaN and infinity. Owns its memory. */
  decode(bytes: Uint8Array, width: number): Vector;
}

interface RowFormat extends Pick<Quantiser, 'name' | 'limit' | 'rowBytes'> {
  write(row: Float32Array, view: DataView): void;
  read(view: DataView, row: Vector): void;
}

function define({ name, rowBytes, limit, write, read }: RowFormat): Quantiser {
  return {
    name,
    limit,
    rowBytes,
    encode(rows, width) {
      const count = rows.length / width;
      if (!Number.isInteger(count)) throw new SwarmError('TENSOR_SHAPE', `${rows.length} numbers are no rows of ${width}.`);
      for (const x of rows)
        if (!(Math.abs(x) < limit)) throw new SwarmError('TENSOR_NOT_FINITE', `${x} cannot cross a boundary as ${name}.`);
      const size = rowBytes(width);
      const bytes = new Uint8Array(count * size);
      for (let i = 0; i < count; i++) write(rows.subarray(i * width, (i + 1) * width), new DataView(bytes.buffer, i * size, size));
      return bytes;
    },
    decode(bytes, width) {
      const size = rowBytes(width);
      const count = bytes.length / size;
      if (!Number.isInteger(count)) throw new SwarmError('TENSOR_SHAPE', `${bytes.length} bytes are no rows of ${width} as ${name}.`);
      const rows = new Float32Array(count * width);
      for (let i = 0; i < count; i++) {
        read(new DataView(bytes.buffer, bytes.byteOffset + i * size, size), rows.subarray(i * width, (i + 1) * width));
      }
      if (!isFiniteTensor(rows)) throw new SwarmError('TENSOR_NOT_FINITE', `Rows that came as ${name} hold NaN or infinity.`);
      return rows;
    },
  };
}

const largestOf = (row: Float32Array) => row.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
const clamp = (code: number, top: number) => Math.max(-top, Math.min(top, code));
/** Beyond it, a scale times its largest code could round to infinity. */
export const LIMIT = 2 ** 127;

const f32 = define({
  name: 'f32',
  limit: Number.POSITIVE_INFINITY,
  rowBytes: (width) => 4 * width,
  write: (row, view) => new Uint8Array(view.buffer, view.byteOffset).set(bytesOf(row)),
  read: (view, row) => bytesOf(row).set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)),
});

const f16 = define({
  name: 'f16',
  limit: HALF_LIMIT,
  rowBytes: (width) => 2 * width,
  write(row, view) {
    for (let i = 0; i < row.length; i++) view.setUint16(2 * i, toHalf(row[i]!), true);
  },
  read(view, row) {
    for (let i = 0; i < row.length; i++) row[i] = fromHalf(view.getUint16(2 * i, true));
  },
});

const int8 = define({
  name: 'int8',
  limit: LIMIT,
  rowBytes: (width) => width + 4,
  write(row, view) {
    const scale = Math.fround(largestOf(row) / 127);
    view.setFloat32(0, scale, true);
    if (scale === 0) return;
    for (let i = 0; i < row.length; i++) view.setInt8(4 + i, clamp(Math.round(row[i]! / scale), 127));
  },
  read(view, row) {
    const scale = view.getFloat32(0, true);
    for (let i = 0; i < row.length; i++) row[i] = scale * view.getInt8(4 + i);
  },
});

const GROUP = 32;
const groupsOf = (width: number) => Math.ceil(width / GROUP);

/** The upper half of a float32, rounded to nearest: enough for a scale, and of the same range. */
const asBf16 = (scale: number) => (new Uint32Array(Float32Array.of(scale).buffer)[0]! + 0x8000) >>> 16;
const fromBf16 = (bits: number) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;

/** Scales first, then codes of −7 … 7, two in a byte, the earlier one low. */
const int4 = define({
  name: 'int4',
  limit: LIMIT,
  rowBytes: (width) => 2 * groupsOf(width) + Math.ceil(width / 2),
  write(row, view) {
    const codes = 2 * groupsOf(row.length);
    for (let group = 0; group < groupsOf(row.length); group++) {
      const start = group * GROUP;
      const numbers = row.subarray(start, start + GROUP);
      const bits = asBf16(largestOf(numbers) / 7);
      const scale = fromBf16(bits);
      view.setUint16(2 * group, bits, true);
      if (scale === 0) continue;
      numbers.forEach((x, i) => {
        const at = codes + ((start + i) >> 1);
        view.setUint8(at, view.getUint8(at) | ((clamp(Math.round(x / scale), 7) & 15) << (4 * (i % 2))));
      });
    }
  },
  read(view, row) {
    const codes = 2 * groupsOf(row.length);
    for (let i = 0; i < row.length; i++) {
      const byte = view.getUint8(codes + (i >> 1));
      const code = (byte << (i % 2 === 0 ? 28 : 24)) >> 28;
      row[i] = code * fromBf16(view.getUint16(2 * Math.floor(i / GROUP), true));
    }
  },
});

export const QUANTISERS: Readonly<Record<QuantiserName, Quantiser>> = { f32, f16, int8, int4 };
