import * as fs from 'node:fs/promises';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Blobs } from './blobs.ts';
import type { FileSystem } from './durable-files.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
const missing = expect.objectContaining({ code: 'BLOB_NOT_FOUND' });
/** SHA-256 of the byte 1. */
const HASH = '4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'starling-blobs-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));
const open = (disk?: FileSystem) => Blobs.open(join(dir, 'blobs'), join(dir, 'temporary'), { uploads: 4, bytes: 1_000 }, disk);
const onDisk = () => readdir(join(dir, 'blobs'));

describe('served blobs', () => {
  it('live while anybody owns them, equal bytes of two owners as one', async () => {
    const blobs = await open();
    const hash = await blobs.put(bytes(1, 2), 'a');
    expect(await blobs.put(bytes(1, 2), 'b')).toBe(hash);
    const other = await blobs.put(bytes(3), 'a');
    blobs.release('a');
    expect(blobs.get(hash)).toEqual(bytes(1, 2));
    expect(() => blobs.get(other)).toThrow(missing);
    blobs.release('b');
    blobs.release('b');
    expect(() => blobs.get(hash)).toThrow(missing);
    expect(await onDisk()).toEqual([]);
  });

  it('put twice by one owner go with its release', async () => {
    const blobs = await open();
    const hash = await blobs.put(bytes(0), 'a');
    await blobs.put(bytes(0), 'a');
    blobs.release('a');
    expect(() => blobs.get(hash)).toThrow(missing);
  });
});

describe('durable blobs', () => {
  it('are there for the next process, until their last owner releases them', async () => {
    const before = await open();
    expect(await before.putDurably(bytes(1), 'a')).toBe(HASH);
    await before.putDurably(bytes(9), 'b');
    const after = await open();
    for (const owner of ['x', 'y']) expect([...(await after.restore(HASH, owner))]).toEqual([1]);
    await after.removeUnowned();
    expect(await onDisk()).toEqual([HASH]);
    after.release('x');
    expect([...after.get(HASH)]).toEqual([1]);
    after.release('y');
    await expect.poll(onDisk).toEqual([]);
  });

  it('that are damaged or missing are not found', async () => {
    await (await open()).putDurably(bytes(1), 'a');
    await writeFile(join(dir, 'blobs', HASH), bytes(2));
    const blobs = await open();
    await expect(blobs.restore(HASH, 'x')).rejects.toEqual(missing);
    await expect(blobs.restore('0'.repeat(64), 'x')).rejects.toEqual(missing);
    expect(() => blobs.get(HASH)).toThrow(missing);
  });

  it('released and wanted again at once stay', async () => {
    const blobs = await open();
    for (let i = 0; i < 20; i++) {
      await blobs.putDurably(bytes(1), 'a');
      blobs.release('a');
    }
    await blobs.putDurably(bytes(1), 'a');
    await (await open()).restore(HASH, 'x');
    expect(await onDisk()).toEqual([HASH]);
  });

  it('are refused with a code when the disk is full, and leave nothing behind', async () => {
    const noSpace = () => Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    const full: FileSystem = { ...fs, open: (path, flags) => (flags === 'w' ? noSpace() : fs.open(path, flags)) };
    const blobs = await open(full);
    await expect(blobs.putDurably(bytes(1), 'a')).rejects.toEqual(expect.objectContaining({ code: 'STORE_FAILED' }));
    expect(() => blobs.get(HASH)).toThrow(missing);
    await expect(blobs.upload('m', HASH, bytes(1))).rejects.toEqual(expect.objectContaining({ code: 'STORE_FAILED' }));
    expect(await onDisk()).toEqual([]);
  });
});

describe('uploads', () => {
  it('are on disk, belong to their own miner, and are not served before somebody adopts them', async () => {
    const blobs = await open();
    await blobs.upload('m', HASH, bytes(1));
    expect(await onDisk()).toEqual([HASH]);
    expect(() => blobs.get(HASH)).toThrow(missing);
    expect(() => blobs.uploaded('n', HASH)).toThrow(missing);
    expect(blobs.uploaded('m', HASH)).toEqual(bytes(1));
    blobs.adopt('m', HASH, 'a');
    expect(blobs.get(HASH)).toEqual(bytes(1));
    expect(() => blobs.uploaded('m', HASH)).toThrow(missing);
    expect(await onDisk()).toEqual([HASH]);
  });

  it('must hash to their name', async () => {
    const blobs = await open();
    await expect(blobs.upload('m', HASH, bytes(2))).rejects.toEqual(expect.objectContaining({ code: 'BLOB_HASH_MISMATCH' }));
  });

  it('that nobody names are bounded per miner, the oldest going first, and go with the miner', async () => {
    const blobs = await open();
    const hashes = await Promise.all([1, 2, 3, 4, 5].map((value) => blobs.put(bytes(value), 'x')));
    blobs.release('x');
    for (const [i, hash] of hashes.entries()) await blobs.upload('m', hash, bytes(i + 1));
    expect(() => blobs.uploaded('m', hashes[0]!)).toThrow(missing);
    expect(blobs.uploaded('m', hashes[4]!)).toEqual(bytes(5));
    blobs.forget('m');
    expect(() => blobs.uploaded('m', hashes[3]!)).toThrow(missing);
    await expect.poll(onDisk).toEqual([]);
  });
});
