import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SwarmError } from '@starling/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Checkpoint, openCheckpoints } from './checkpoints.ts';
import type { FileSystem } from './durable-files.ts';

/** Checkpoint number `version`: two stages of `size` bytes a tensor. The second moment never changes. */
function checkpoint(version: number, size = 64): Checkpoint {
  const blob = (fill: number) => {
    const bytes = new Uint8Array(size).fill(fill);
    return { bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
  };
  const stages = [0, 1].map((stage) => ({
    parameters: blob(4 * version + stage),
    firstMoment: blob(4 * version + stage + 2),
    secondMoment: blob(255),
  }));
  return { version, cursor: 12 * version, tokens: 768 * version, run: { miners: ['ada'], version }, stages };
}

/** Bytes compare as plain arrays whatever view the disk gave back. */
const plain = (value: Checkpoint | null) =>
  value && { ...value, stages: value.stages.map((s) => Object.values(s).map((b) => [b.sha256, ...b.bytes])) };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'starling-checkpoints-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const manifestPath = (version: number) => join(dir, 'manifests', `${String(version).padStart(12, '0')}.json`);

describe('on a real disk', () => {
  test('what was saved comes back, after a restart too', async () => {
    const store = await openCheckpoints(dir);
    expect(await store.latest()).toBeNull();
    await store.save(checkpoint(10));
    expect(plain(await store.latest())).toEqual(plain(checkpoint(10)));
    expect(plain(await (await openCheckpoints(dir)).latest())).toEqual(plain(checkpoint(10)));
  });

  test('the newest three stay, with exactly their blobs', async () => {
    const store = await openCheckpoints(dir);
    for (const version of [10, 20, 30, 40, 50]) await store.save(checkpoint(version));
    expect(await readdir(join(dir, 'manifests'))).toEqual(['000000000030.json', '000000000040.json', '000000000050.json']);
    const used = [30, 40, 50].flatMap((version) => checkpoint(version).stages.flatMap((s) => Object.values(s).map((b) => b.sha256)));
    expect((await readdir(join(dir, 'blobs'))).toSorted()).toEqual([...new Set(used)].toSorted());
    expect(await readdir(join(dir, 'temporary'))).toEqual([]);
  });

  test('saves at the same time queue up', async () => {
    const store = await openCheckpoints(dir);
    await Promise.all([10, 20, 30].map((version) => store.save(checkpoint(version))));
    expect((await store.latest())?.version).toBe(30);
  });

  test('leftovers of a killed server are removed at the next start', async () => {
    await openCheckpoints(dir);
    await writeFile(join(dir, 'temporary', 'half'), 'half a blob');
    await openCheckpoints(dir);
    expect(await readdir(join(dir, 'temporary'))).toEqual([]);
  });

  describe('a damaged checkpoint is passed over with a warning', () => {
    const blobPath = (version: number) => join(dir, 'blobs', checkpoint(version).stages[1].parameters.sha256);
    test.each<[string, () => Promise<void>]>([
      ['altered blob', () => writeFile(blobPath(20), new Uint8Array(64))],
      ['truncated blob', () => truncate(blobPath(20), 63)],
      ['missing blob', () => rm(blobPath(20))],
      ['truncated manifest', () => truncate(manifestPath(20), 100)],
      ['empty manifest', () => truncate(manifestPath(20), 0)],
      [
        'altered manifest',
        async () => {
          const text = await readFile(manifestPath(20), 'utf8');
          await writeFile(manifestPath(20), text.replace('"cursor":240', '"cursor":241'));
        },
      ],
    ])('%s', async (_, damage) => {
      const before = await openCheckpoints(dir);
      for (const version of [10, 20]) await before.save(checkpoint(version));
      await damage();

      const warnings: SwarmError[] = [];
      const store = await openCheckpoints(dir, { onWarning: (warning) => warnings.push(warning) });
      expect(plain(await store.latest())).toEqual(plain(checkpoint(10)));
      expect(warnings).toMatchObject([{ code: 'CHECKPOINT_CORRUPT', message: expect.stringContaining('000000000020.json') }]);

      // Training reaches the same version again: damaged blobs of the same name are written anew.
      await store.save(checkpoint(20));
      expect(plain(await (await openCheckpoints(dir)).latest())).toEqual(plain(checkpoint(20)));
    });
  });

  test('a checkpoint older than a damaged one is never pruned in its favour', async () => {
    const before = await openCheckpoints(dir);
    for (const version of [10, 20, 30]) await before.save(checkpoint(version));
    for (const version of [20, 30]) await truncate(manifestPath(version), 5);
    const store = await openCheckpoints(dir);
    expect((await store.latest())?.version).toBe(10);
    await store.save(checkpoint(11));
    expect(await readdir(join(dir, 'manifests'))).toEqual(['000000000010.json', '000000000011.json']);
  });

  test('a folder that cannot be used is named', async () => {
    await writeFile(join(dir, 'file'), '');
    const opening = openCheckpoints(join(dir, 'file', 'data'));
    await expect(opening).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED', message: expect.stringContaining('ENOTDIR') });
  });

  const canMount = () => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  test('a full disk fails the save, keeps the last checkpoint, and works again once there is room', async (context) => {
    if (!canMount()) context.skip('mounting a small tmpfs needs root');
    try {
      const store = await openCheckpoints(dir);
      await store.save(checkpoint(10, 8 * 1024));
      await writeFile(join(dir, 'ballast'), new Uint8Array(180 * 1024));
      for (const version of [20, 21, 22]) {
        const saving = store.save(checkpoint(version, 16 * 1024));
        await expect(saving).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED', message: expect.stringContaining('ENOSPC') });
        expect(await readdir(join(dir, 'temporary'))).toEqual([]);
        expect(await readdir(join(dir, 'blobs'))).toHaveLength(5);
      }
      expect(plain(await (await openCheckpoints(dir)).latest())).toEqual(plain(checkpoint(10, 8 * 1024)));
      await rm(join(dir, 'ballast'));
      await store.save(checkpoint(30, 16 * 1024));
      expect((await (await openCheckpoints(dir)).latest())?.version).toBe(30);
    } finally {
      execFileSync('umount', [dir]);
    }
  });
});

/**
 * A disk in memory that knows what a power cut would leave. A file's bytes are durable after `sync` on it, a name
 * (made, renamed or removed) after `sync` on its folder. Operation number `faultAt` throws, having done nothing
 * (a write: half); with `dead`, so does everything after it.
 */
class MemoryDisk implements FileSystem {
  operations = 0;
  faultAt = Number.POSITIVE_INFINITY;
  dead = false;
  #now = new Map<string, { bytes: Uint8Array; durable: Uint8Array | null }>();
  #durableNames = new Map<string, { bytes: Uint8Array; durable: Uint8Array | null }>();
  #folders = new Set<string>();

  #operation(): boolean {
    const number = this.operations++;
    return number === this.faultAt || (this.dead && number > this.faultAt);
  }
  async #do<T>(act: () => T): Promise<T> {
    if (this.#operation()) throw new Error('EIO: injected');
    return act();
  }

  mkdir = (path: string) => this.#do(() => this.#folders.add(path));
  readdir = (path: string) =>
    this.#do(() => [...this.#now.keys()].filter((name) => name.startsWith(`${path}/`)).map((name) => name.slice(path.length + 1)));
  readFile = (path: string) =>
    this.#do(() => {
      const file = this.#now.get(path);
      if (!file) throw new Error(`ENOENT: ${path}`);
      return file.bytes;
    });
  rename = (from: string, to: string) =>
    this.#do(() => {
      this.#now.set(to, this.#now.get(from)!);
      this.#now.delete(from);
    });
  unlink = (path: string) =>
    this.#do(() => {
      if (!this.#now.delete(path)) throw new Error(`ENOENT: ${path}`);
    });
  open = (path: string, flags: 'r' | 'w') =>
    this.#do(() => {
      const file = { bytes: new Uint8Array(), durable: null as Uint8Array | null };
      if (flags === 'w') this.#now.set(path, file);
      const writeFile = (bytes: Uint8Array) => {
        const fault = this.#operation();
        file.bytes = fault ? bytes.slice(0, bytes.length / 2) : bytes.slice();
        return fault ? Promise.reject(new Error('ENOSPC: injected')) : Promise.resolve();
      };
      const sync = () =>
        this.#do(() => {
          if (!this.#folders.has(path)) file.durable = file.bytes;
          else this.#syncFolder(path);
        });
      return { writeFile, sync, close: () => this.#do(() => undefined) };
    });

  #syncFolder(folder: string): void {
    const inside = (name: string) => name.startsWith(`${folder}/`);
    for (const name of [...this.#durableNames.keys()].filter(inside)) this.#durableNames.delete(name);
    for (const [name, file] of this.#now) if (inside(name)) this.#durableNames.set(name, file);
  }

  /**
   * What is left after a cut. `kill`: all that was done (only the process died). `power`: only what was flushed.
   * `reordered`: all names, but only flushed bytes, as journals that order names before data leave it.
   */
  after(cut: 'kill' | 'power' | 'reordered'): MemoryDisk {
    const left = new MemoryDisk();
    left.#folders = new Set(this.#folders);
    for (const [name, file] of cut === 'power' ? this.#durableNames : this.#now) {
      const bytes = cut === 'kill' ? file.bytes : (file.durable ?? new Uint8Array());
      left.#now.set(name, { bytes, durable: bytes });
    }
    left.#durableNames = new Map(left.#now);
    return left;
  }
  names = () => [...this.#now.keys()].toSorted();
}

describe('faults at every single operation', () => {
  /** A disk with checkpoints 10, 20, 30 (so that the next save also prunes), and the store on it. */
  async function prepared() {
    const disk = new MemoryDisk();
    const store = await openCheckpoints('/data', { fs: disk });
    for (const version of [10, 20, 30]) await store.save(checkpoint(version, 8));
    return { disk, store, before: disk.operations };
  }
  const reopened = async (disk: MemoryDisk) => (await openCheckpoints('/data', { fs: disk })).latest();

  /** Operations of one more save: every index is tried. */
  async function operationsOfSave(): Promise<number[]> {
    const { disk, store, before } = await prepared();
    await store.save(checkpoint(40, 8));
    return Array.from({ length: disk.operations - before }, (_, k) => k);
  }

  test.each(['kill', 'power', 'reordered'] as const)('%s: the previous or the new checkpoint is whole', async (cut) => {
    const outcomes = new Set<number>();
    for (const k of await operationsOfSave()) {
      const { disk, store, before } = await prepared();
      disk.faultAt = before + k;
      disk.dead = true;
      const saved = await store.save(checkpoint(40, 8)).then(
        () => true,
        () => false,
      );
      const found = await reopened(disk.after(cut));
      expect(plain(found), `operation ${k}`).toEqual(plain(checkpoint(found?.version === 40 ? 40 : 30, 8)));
      if (saved) expect(found?.version, `operation ${k}`).toBe(40); // what was promised is kept
      outcomes.add(found!.version);
    }
    expect(outcomes).toEqual(new Set([30, 40]));
  });

  test('one failing operation: the save says so, leaves no litter, and the next one works', async () => {
    let failures = 0;
    for (const k of await operationsOfSave()) {
      const { disk, store, before } = await prepared();
      const stored = disk.names();
      disk.faultAt = before + k;
      const error = await store.save(checkpoint(40, 8)).then(
        () => null,
        (thrown: SwarmError) => thrown,
      );
      if (error) {
        failures++;
        expect(error.code).toBe('CHECKPOINT_FAILED');
        expect(error.message).toContain('injected');
      }
      const found = await reopened(disk.after('power'));
      const undecided = error?.message.includes('may not be durable');
      if (error && !undecided) expect(disk.names(), `operation ${k}`).toEqual(stored);
      expect(undecided ? [30, 40] : [error ? 30 : 40], `operation ${k}`).toContain(found?.version);
      await store.save(checkpoint(50, 8));
      expect(plain(await reopened(disk.after('power')))).toEqual(plain(checkpoint(50, 8)));
    }
    expect(failures).toBeGreaterThan(20);
  });

  test('a failure while old checkpoints are removed is a warning: the new one is stored', async () => {
    const warnings: SwarmError[] = [];
    const disk = new MemoryDisk();
    const store = await openCheckpoints('/data', { fs: disk, onWarning: (warning) => warnings.push(warning) });
    disk.unlink = () => Promise.reject(new Error('EACCES: injected'));
    for (const version of [10, 20, 30, 40]) await store.save(checkpoint(version, 8));
    expect(warnings).toMatchObject([{ code: 'CHECKPOINT_FAILED', message: expect.stringContaining('EACCES') }]);
    expect((await reopened(disk.after('power')))?.version).toBe(40);
  });

  test('the very first save can die anywhere', async () => {
    for (let k = 0; k < 60; k++) {
      const disk = new MemoryDisk();
      disk.faultAt = k;
      disk.dead = true;
      const store = await openCheckpoints('/data', { fs: disk }).catch(() => null);
      await store?.save(checkpoint(10, 8)).catch(() => {});
      const found = await reopened(disk.after('power'));
      if (found) expect(plain(found)).toEqual(plain(checkpoint(10, 8)));
    }
  });
});
