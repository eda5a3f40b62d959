import { execFileSync } from 'node:child_process';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { temporaryFolder } from './for-tests.ts';
import { openStore, SqliteStore, SqliteThread, type Store } from './index.ts';
import { batchOf, entriesOf } from './samples.ts';

let folder: string;
let path: string;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ folder, remove } = await temporaryFolder());
  path = join(folder, 'run.db');
});
afterEach(() => remove());

const openers: [string, (path: string) => Promise<Store>][] = [
  ['in the same thread', async (where) => new SqliteStore(where)],
  ['in a thread of its own', (where) => openStore(where)],
];

describe.each(openers)('SQLite %s', (_, open) => {
  const refusal = (code: string, part: string) => ({ code, message: expect.stringContaining(part) });

  test('a file that is something else is refused and left alone', async () => {
    await writeFile(path, 'The quick brown fox jumps over the lazy dog.\n'.repeat(100));
    await expect(open(path)).rejects.toMatchObject(refusal('LOG_UNREADABLE', path));
    expect(await readFile(path, 'utf8')).toMatch(/^The quick brown fox/);

    const other = join(folder, 'other.db');
    const database = new DatabaseSync(other);
    database.exec('CREATE TABLE birds (name TEXT)');
    database.close();
    const before = await readFile(other);
    await expect(open(other)).rejects.toMatchObject(refusal('LOG_UNREADABLE', 'another program'));
    expect(await readFile(other)).toEqual(before);
  });

  test('a store of another release is refused', async () => {
    await (await open(path)).close();
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expect(open(path)).rejects.toMatchObject(refusal('LOG_UNREADABLE', 'version 99'));
  });

  test('a damaged file is named, not taken for an empty one', async () => {
    const store = await open(path);
    await store.append(batchOf({ entries: entriesOf(1, 2000) }));
    await store.close();
    const bytes = await readFile(path);
    await writeFile(path, bytes.fill(0xa5, 5 * 4096, 12 * 4096)); // pages of the entries
    const damaged = await open(path);
    await expect(damaged.entries(0, 2000)).rejects.toMatchObject(refusal('LOG_UNREADABLE', path));
    await damaged.close();
  });

  test('one at a time has it open', async () => {
    const store = await open(path);
    for (const [, openAnother] of openers) await expect(openAnother(path)).rejects.toMatchObject(refusal('DATA_IN_USE', path));
    await store.append(batchOf({ entries: entriesOf(1, 1) }));
    await store.close();
    const next = await open(path);
    expect(await next.lastSeq()).toBe(1);
    await next.close();
  });

  test('missing folders are made; a place that cannot be used is named', async () => {
    await (await open(join(folder, 'a', 'b', 'run.db'))).close();
    await writeFile(join(folder, 'file'), '');
    await expect(open(join(folder, 'file', 'run.db'))).rejects.toMatchObject(refusal('STORE_FAILED', 'file'));
    await expect(open(folder)).rejects.toMatchObject(refusal('STORE_FAILED', folder));
  });

  const canMount = () => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  test('a full disk fails the batch, keeps what is stored, and works again once there is room', async (context) => {
    if (!canMount()) context.skip('mounting a small tmpfs needs root');
    try {
      const store = await open(path);
      await store.append(batchOf({ entries: entriesOf(1, 10) }));
      await writeFile(join(folder, 'ballast'), new Uint8Array(700 * 1024));
      const frame = new Uint8Array(400 * 1024).fill(7);
      const batch = batchOf({
        entries: entriesOf(11, 20),
        tensors: [{ scope: 'a', name: 'x', hash: '', frame, blob: null }],
        rows: [{ kind: 'event', owner: '', at: 1, body: '' }],
      });
      for (const _ of 'abc') {
        await expect(store.append(batch)).rejects.toMatchObject(refusal('STORE_FAILED', 'full'));
        expect(await store.lastSeq()).toBe(10);
        expect(await store.tensors()).toEqual([]);
      }
      await rm(join(folder, 'ballast'));
      await store.append(batch);
      await store.append(batchOf({ entries: entriesOf(21, 21) }));
      await store.close();
      const again = await open(path);
      expect(await again.entries(0, 100)).toEqual(entriesOf(1, 21));
      expect(await again.rows('event', { limit: 9 })).toHaveLength(1);
      expect((await again.tensors())[0].frame).toEqual(frame);
      await again.close();
    } finally {
      execFileSync('umount', ['-l', folder]); // also while a test that failed still has the file open
    }
  });
});

test('in the same thread, a call costs a microtask: nothing else happens meanwhile', async () => {
  const store = new SqliteStore(':memory:');
  let turns = 0;
  const turn = setImmediate(() => turns++);
  for (let seq = 1; seq <= 1000; seq++) {
    await store.append(batchOf({ entries: entriesOf(seq, seq) }));
    expect(await store.lastSeq()).toBe(seq);
  }
  expect(turns).toBe(0);
  clearImmediate(turn);
});

test('without flushes it stores the same', async () => {
  const store = new SqliteStore(path, { synchronous: 'OFF' });
  await store.append(batchOf({ entries: entriesOf(1, 5) }));
  await store.close();
  const again = new SqliteStore(path);
  expect(await again.entries(0, 9)).toEqual(entriesOf(1, 5));
  await again.close();
});

test('what was written is folded into one file at the end', async () => {
  const store = new SqliteStore(path);
  await store.append(batchOf({ entries: entriesOf(1, 5) }));
  await store.close();
  await expect(stat(`${path}-wal`)).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a thread that dies', () => {
  let worker: Worker;
  const open = () => SqliteThread.open(path, { onWorker: (started) => (worker = started) });
  const dead = { code: 'STORE_FAILED', message: expect.stringContaining('thread') };

  test('fails all open calls and all later ones, and loses nothing that it acknowledged', async () => {
    const store = await open();
    await store.append(batchOf({ entries: entriesOf(1, 3) }));
    const open1 = Array.from({ length: 50 }, (_, k) => store.append(batchOf({ entries: entriesOf(k + 4, k + 4) })));
    const ended = worker.terminate();
    const outcomes = await Promise.allSettled(open1);
    const acknowledged = 3 + outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(outcomes.at(-1)).toMatchObject({ status: 'rejected', reason: dead });
    await ended;
    for (const call of [store.lastSeq(), store.tensors(), store.append(batchOf({}))]) await expect(call).rejects.toMatchObject(dead);
    await store.close();
    await store.close();

    const next = await open();
    expect(await next.lastSeq()).toBeGreaterThanOrEqual(acknowledged);
    await next.close();
  });

  test('while it opens the store says so', async () => {
    const opening = SqliteThread.open(path, { onWorker: (started) => void started.terminate() });
    await expect(opening).rejects.toMatchObject(dead);
  });

  test('while it closes the store lets it go', async () => {
    const store = await open();
    const closing = store.close();
    await worker.terminate();
    await closing;
  });

  test('a batch that cannot cross to it is refused', async () => {
    const store = await open();
    const body = (() => {}) as unknown as string;
    await expect(store.append(batchOf({ entries: [{ seq: 1, at: 1, body }] }))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await store.append(batchOf({ entries: entriesOf(1, 1) }));
    await store.close();
  });
});
