import { describe, expect, it } from 'vitest';
import { ERROR_HINTS, SwarmError } from './errors.ts';
import { decodeFrame, encodeFrame, isFiniteTensor, type TensorData } from './frame.ts';
import { sha256Hex } from './hash.ts';

const numbers = Float32Array.of(0, -0, 1.5, -1e38, 1e-45, Number.NaN, Number.POSITIVE_INFINITY, 3);
const TENSORS: [what: string, data: TensorData, shape: number[]][] = [
  ['a vector with every kind of float', numbers, [8]],
  ['one number', Float32Array.of(7), [1]],
  ['a matrix of integers', Int32Array.of(1, -2, 2 ** 31 - 1, -(2 ** 31), 0, 6), [2, 3]],
  ['bytes, of any number', Uint8Array.of(0, 255, 7), [1, 3]],
  ['four dimensions, some of size 1', new Float32Array(30).fill(2), [1, 5, 1, 6]],
];

const fault = (code: string) => expect.objectContaining({ name: 'SwarmError', code });
const set = (bytes: Uint8Array, at: number, ...values: number[]) => {
  const copy = bytes.slice();
  copy.set(values, at);
  return copy;
};
const uint32 = (value: number) => [...new Uint8Array(Uint32Array.of(value).buffer)];

describe('a frame', () => {
  it.each(TENSORS)('brings %s back, bit by bit, with the hash of its payload', async (_, data, shape) => {
    const frame = await decodeFrame(await encodeFrame(data, shape));
    expect(frame.shape).toEqual(shape);
    expect(frame.dtype).toBe({ Float32Array: 'float32', Int32Array: 'int32', Uint8Array: 'uint8' }[data.constructor.name]);
    expect(new Uint8Array(frame.data.buffer)).toEqual(new Uint8Array(data.buffer));
    expect(frame.hash).toBe(await sha256Hex(data));
  });

  it('is read from any offset, and owns its memory', async () => {
    const bytes = await encodeFrame(numbers, [8]);
    const within = new Uint8Array(bytes.length + 5);
    within.set(bytes, 3);
    const { data } = await decodeFrame(within.subarray(3, 3 + bytes.length));
    within.fill(0);
    expect(data).toEqual(numbers);
    expect(data.byteOffset).toBe(0);
    const pooled = Buffer.from(bytes);
    const fromPool = await decodeFrame(pooled);
    pooled.fill(0);
    expect(fromPool.data).toEqual(numbers);
  });

  it('encodes a part of a larger array', async () => {
    const { data } = await decodeFrame(await encodeFrame(numbers.subarray(2, 5), [3]));
    expect(data).toEqual(numbers.slice(2, 5));
  });

  it('has the bytes that docs/protocol.md shows', async () => {
    const bytes = await encodeFrame(Float32Array.of(1, 2), [2, 1]);
    expect([...bytes.subarray(0, 8)]).toEqual([0x53, 0x54, 0x46, 0x31, 1, 2, 0, 0]);
    expect([...bytes.subarray(40)]).toEqual([...uint32(2), ...uint32(1), 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
  });

  it.each([[[]], [[7]], [[2, 5]], [[1, 1, 1, 1, 8]], [[-2, -4]], [[0.5, 16]], [[Number.NaN]]])(
    'is not made of eight numbers and the shape %j',
    async (shape) => {
      await expect(encodeFrame(numbers, shape)).rejects.toEqual(fault('TENSOR_SHAPE'));
    },
  );

  it('is not made of nothing', async () => {
    await expect(encodeFrame(new Float32Array(0), [0])).rejects.toEqual(fault('TENSOR_SHAPE'));
  });

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['empty', () => new Uint8Array(0)],
    ['shorter than a header', (bytes) => bytes.subarray(0, 43)],
    ['of another magic number', (bytes) => set(bytes, 0, 0x54)],
    ['of an unknown dtype', (bytes) => set(bytes, 4, 3)],
    ['of dtype 0', (bytes) => set(bytes, 4, 0)],
    ['of rank 0', (bytes) => set(bytes, 5, 0)],
    ['of rank 5', (bytes) => set(bytes, 5, 5)],
    ['of a rank that its bytes cannot hold', (bytes) => set(bytes.subarray(0, 44), 5, 4)],
    ['with something where zeros belong', (bytes) => set(bytes, 6, 1)],
    ['with a dimension of 0', (bytes) => set(bytes, 40, ...uint32(0))],
    ['with a dimension beyond its payload', (bytes) => set(bytes, 40, ...uint32(2 ** 32 - 1))],
    ['with dimensions whose product wraps around', (bytes) => set(set(bytes, 5, 2), 40, ...uint32(2 ** 31), ...uint32(2 ** 31))],
    ['a byte too short', (bytes) => bytes.subarray(0, -1)],
    ['a byte too long', (bytes) => Buffer.concat([bytes, Uint8Array.of(0)])],
  ])('is refused when %s', async (_, change) => {
    await expect(decodeFrame(change(await encodeFrame(numbers, [8])))).rejects.toEqual(fault('FRAME_MALFORMED'));
  });

  it('is refused when a bit of its payload or of its hash flipped', async () => {
    const bytes = await encodeFrame(numbers, [8]);
    for (const at of [8, 39, 44, bytes.length - 1]) {
      await expect(decodeFrame(set(bytes, at, bytes[at]! ^ 1))).rejects.toEqual(fault('FRAME_HASH_MISMATCH'));
    }
  });

  it('damaged anyhow, is refused with a code of the closed set or still holds the same payload', async () => {
    const bytes = await encodeFrame(numbers, [2, 4]);
    const { hash } = await decodeFrame(bytes);
    let state = 12345;
    const below = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      let damaged: Uint8Array = bytes.slice(0, below(4) === 0 ? below(bytes.length) : bytes.length);
      for (let flips = below(4); flips > 0 && damaged.length > 0; flips--) damaged = set(damaged, below(damaged.length), below(256));
      try {
        expect((await decodeFrame(damaged)).hash).toBe(hash);
      } catch (error) {
        refused++;
        expect(error).toBeInstanceOf(SwarmError);
        expect(Object.keys(ERROR_HINTS)).toContain((error as SwarmError).code);
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});

it('isFiniteTensor takes the limit itself and nothing above it', () => {
  expect(isFiniteTensor(Float32Array.of(-8, 8), 8)).toBe(true);
  expect(isFiniteTensor(Float32Array.of(0, -8.5), 8)).toBe(false);
});

it('isFiniteTensor finds a NaN or an infinity anywhere', () => {
  expect(isFiniteTensor(new Float32Array(9))).toBe(true);
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    for (const at of [0, 4, 8]) expect(isFiniteTensor(new Float32Array(9).fill(bad, at, at + 1))).toBe(false);
  }
});
