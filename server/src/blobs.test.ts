import { describe, expect, it } from 'vitest';
import { Blobs } from './blobs.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
const missing = expect.objectContaining({ code: 'BLOB_NOT_FOUND' });

describe('served blobs', () => {
  it('live while anybody owns them, equal bytes of two owners as one', async () => {
    const blobs = new Blobs();
    const hash = await blobs.put(bytes(1, 2), 'a');
    expect(await blobs.put(bytes(1, 2), 'b')).toBe(hash);
    const other = await blobs.put(bytes(3), 'a');
    blobs.release('a');
    expect(blobs.get(hash)).toEqual(bytes(1, 2));
    expect(() => blobs.get(other)).toThrow(missing);
    blobs.release('b');
    blobs.release('b');
    expect(() => blobs.get(hash)).toThrow(missing);
  });

  it('put twice by one owner go with its release', async () => {
    const blobs = new Blobs();
    const hash = await blobs.put(bytes(0), 'a');
    await blobs.put(bytes(0), 'a');
    blobs.release('a');
    expect(() => blobs.get(hash)).toThrow(missing);
  });
});

describe('uploads', () => {
  const HASH = '4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a'; // of the byte 1

  it('are claimed once, by their own miner, and are not served', async () => {
    const blobs = new Blobs();
    await blobs.upload('m', HASH, bytes(1));
    expect(() => blobs.get(HASH)).toThrow(missing);
    expect(() => blobs.claim('n', HASH)).toThrow(missing);
    expect(blobs.claim('m', HASH)).toEqual(bytes(1));
    expect(() => blobs.claim('m', HASH)).toThrow(missing);
  });

  it('must hash to their name', async () => {
    await expect(new Blobs().upload('m', HASH, bytes(2))).rejects.toEqual(expect.objectContaining({ code: 'BLOB_HASH_MISMATCH' }));
  });

  it('that nobody names are bounded per miner, the oldest going first, and go with the miner', async () => {
    const source = new Blobs();
    const blobs = new Blobs();
    const hashes = await Promise.all([1, 2, 3, 4, 5].map((value) => source.put(bytes(value), 'x')));
    for (const [i, hash] of hashes.entries()) await blobs.upload('m', hash, bytes(i + 1));
    expect(() => blobs.claim('m', hashes[0]!)).toThrow(missing);
    expect(blobs.claim('m', hashes[4]!)).toEqual(bytes(5));
    blobs.forget('m');
    expect(() => blobs.claim('m', hashes[3]!)).toThrow(missing);
  });
});
