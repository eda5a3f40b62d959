/**
 * Binary tensor frames: how every tensor crosses a socket, and how every tensor blob is stored.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | magic `STF1` |
 * | 4 | 1 | dtype: 1 float32, 2 int32, 3 uint8 |
 * | 5 | 1 | rank r, 1 to 4 |
 * | 6 | 2 | zero |
 * | 8 | 32 | SHA-256 of the payload |
 * | 40 | 4·r | dimensions, uint32 little-endian, each ≥ 1 |
 * | 40+4·r | … | payload, little-endian, row-major |
 *
 * All engines that run WebGPU or WebAssembly are little-endian, so a payload is the array's own memory.
 */
import { SwarmError } from './errors.ts';
import { bytesOf, sha256, toHex } from './hash.ts';

/** Bytes are what a codec wrote. */
export type TensorData = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

const DTYPES = ['float32', 'int32', 'uint8'] as const;
type Dtype = (typeof DTYPES)[number];
const ELEMENT_BYTES: Record<Dtype, number> = { float32: 4, int32: 4, uint8: 1 };
const dtypeOf = (data: TensorData): Dtype => (data instanceof Float32Array ? 'float32' : data instanceof Int32Array ? 'int32' : 'uint8');

export interface Frame {
  dtype: Dtype;
  shape: number[];
  data: TensorData;
  /** SHA-256 of the payload, hex: what receipts name as input and output hash. */
  hash: string;
}

const MAGIC = 0x31465453; // "STF1", little-endian
const HEADER = 40;
const MAX_RANK = 4;

const product = (shape: readonly number[]) => shape.reduce((n, size) => n * size, 1);

/** Encodes `data` (row-major, `shape`) as a frame. Throws `TENSOR_SHAPE` when the two do not fit. */
export async function encodeFrame(data: TensorData, shape: readonly number[]): Promise<Uint8Array<ArrayBuffer>> {
  const whole = shape.every((size) => Number.isInteger(size) && size >= 1);
  if (!whole || shape.length < 1 || shape.length > MAX_RANK || product(shape) !== data.length) {
    throw new SwarmError('TENSOR_SHAPE', `A tensor of ${data.length} elements cannot have the shape [${shape}].`);
  }
  const frame = new Uint8Array(HEADER + 4 * shape.length + data.byteLength);
  const view = new DataView(frame.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, DTYPES.indexOf(dtypeOf(data)) + 1);
  view.setUint8(5, shape.length);
  frame.set(await sha256(data), 8);
  shape.forEach((size, axis) => {
    view.setUint32(HEADER + 4 * axis, size, true);
  });
  frame.set(bytesOf(data), HEADER + 4 * shape.length);
  return frame;
}

/**
 * Reads a frame and checks all of it: magic, sizes and hash.
 * Throws `FRAME_MALFORMED` or `FRAME_HASH_MISMATCH`. The result owns its memory (aligned copy).
 */
export async function decodeFrame(bytes: Uint8Array): Promise<Frame> {
  const malformed = (why: string) => new SwarmError('FRAME_MALFORMED', `Not a tensor frame: ${why}.`);
  if (bytes.byteLength < HEADER + 4) throw malformed(`${bytes.byteLength} bytes are too few`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC) throw malformed('wrong magic number');
  const dtype = DTYPES[view.getUint8(4) - 1];
  if (!dtype) throw malformed(`unknown dtype ${view.getUint8(4)}`);
  const rank = view.getUint8(5);
  if (rank < 1 || rank > MAX_RANK || view.getUint16(6, true) !== 0) throw malformed(`bad rank ${rank}`);
  const start = HEADER + 4 * rank;
  if (bytes.byteLength < start) throw malformed('header cut short');
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(HEADER + 4 * axis, true));
  if (product(shape) < 1 || product(shape) * ELEMENT_BYTES[dtype] !== bytes.byteLength - start) {
    throw malformed(`shape [${shape}] does not fit ${bytes.byteLength - start} payload bytes`);
  }
  const payload = new Uint8Array(bytes.byteLength - start);
  payload.set(bytes.subarray(start)); // not `slice`: Node's Buffer would give a view of its pool
  const data = dtype === 'float32' ? new Float32Array(payload.buffer) : dtype === 'int32' ? new Int32Array(payload.buffer) : payload;
  const hash = toHex(await sha256(data));
  if (hash !== toHex(bytes.subarray(8, HEADER))) {
    throw new SwarmError('FRAME_HASH_MISMATCH', 'The payload does not match the SHA-256 in its header.');
  }
  return { dtype, shape, data, hash };
}

/** True when every element is finite and no larger in magnitude than `largest`. */
export function isFiniteTensor(data: Float32Array, largest = Number.MAX_VALUE): boolean {
  for (let i = 0; i < data.length; i++) {
    if (!(Math.abs(data[i]!) <= largest)) return false;
  }
  return true;
}
