import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { findPostgres, query, temporaryRun } from './for-tests.ts';
import { openStore, PostgresStore, type Store } from './index.ts';
import { Line } from './line.ts';
import { batchOf, entriesOf } from './samples.ts';

const postgres = await findPostgres();

describe('addresses of PostgreSQL', () => {
  test.each([
    ['no address', 'postgres://secret@:x/'],
    ['no run', 'postgres://me:secret@db.example/test'],
    ['a run that cannot be called so', 'postgres://me:secret@db.example/test?run=a/b'],
    ['a long name', `postgres://me:secret@db.example/test?run=${'x'.repeat(55)}`],
    ['a certificate that is not there', 'postgres://me:secret@db.example/test?run=a&sslrootcert=/nowhere/ca.pem'],
  ])('%s is refused without showing the password', async (_, address) => {
    const opening = openStore(address);
    await expect(opening).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.not.stringContaining('secret') });
  });

  test('a server that does not answer is named, its password is not', async () => {
    const line = await Line.to('postgres://127.0.0.1');
    const address = line.through('postgres://me:secret@localhost:1/test');
    await line.close();
    const error = await openStore(address, { run: 'a' }).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'STORE_FAILED', message: expect.stringMatching(/ECONNREFUSED.*localhost:\d+\/test/) });
    expect(error.message).not.toContain('secret');
    await expect(openStore('postgresql://nobody.invalid/test?run=a')).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });
});

describe.skipIf(!postgres)('PostgreSQL', () => {
  let run: ReturnType<typeof temporaryRun>;
  let line: Line;
  let store: Store;
  const others: Store[] = [];
  const openAnother = async (address = run.address, patience?: number) => {
    const other = await PostgresStore.open(address, { patience });
    others.push(other);
    return other;
  };
  const anotherRun = () => {
    const another = temporaryRun(postgres!);
    onTestFinished(async () => void (await another.remove()));
    return another;
  };
  const refusal = (code: string, part: string | RegExp = /\w/) => ({ code, message: expect.stringMatching(part) });
  const batch = (first: number, last: number) =>
    batchOf({ entries: entriesOf(first, last), rows: [{ kind: 'event', owner: '', at: first, body: '' }] });

  beforeEach(async () => {
    run = temporaryRun(postgres!);
    line = await Line.to(postgres!);
    store = await PostgresStore.open(line.through(run.address));
    await store.append(batch(1, 3));
  });
  afterEach(async () => {
    for (const each of [store, ...others.splice(0)]) await each.close();
    await line.close();
    await run.remove();
  });

  /** All that should be there after entry `last`, each batch of rows once. */
  async function expectStored(last: number, rows: number): Promise<void> {
    expect(await store.entries(0, 1000)).toEqual(entriesOf(1, last));
    expect(await store.rows('event', { limit: 1000 })).toHaveLength(rows);
  }

  describe.each(['before', 'after'] as const)('a line that breaks %s a batch gets through', (when) => {
    test('fails that call; the next one finds out and goes on', async () => {
      line.cut(when);
      await expect(store.append(batch(4, 6))).rejects.toMatchObject(refusal('STORE_FAILED', /127\.0\.0\.1.*test/));
      expect(await store.lastSeq()).toBe(when === 'after' ? 6 : 3);
      await store.append(batch(4, 6));
      await store.append(batch(7, 7));
      await expectStored(7, 3);
    });

    test('fails those behind it, too: all are tried again in their order', async () => {
      const batches = [batch(4, 6), batch(7, 8), batch(9, 9)];
      line.cut(when);
      const outcomes = await Promise.allSettled(batches.map((each) => store.append(each)));
      expect(outcomes).toMatchObject(batches.map(() => ({ status: 'rejected', reason: refusal('STORE_FAILED') })));
      await Promise.all(batches.map((each) => store.append(each)));
      await expectStored(9, 4);
    });

    test('is mended for a reader', async () => {
      line.cut(when);
      await expect(store.tensors()).rejects.toMatchObject(refusal('STORE_FAILED'));
      expect(await store.tensors()).toEqual([]);
      await expectStored(3, 1);
    });
  });

  /** What `call` comes to on a line that freezes, once it has waited for as long as it will. */
  async function onFrozenLine<T>(call: () => Promise<T>): Promise<PromiseSettledResult<T>> {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const swallowed = line.freeze();
      const outcome = Promise.allSettled([call()]);
      await swallowed;
      vi.runAllTimers();
      return (await outcome)[0];
    } finally {
      vi.useRealTimers();
    }
  }

  test('a line that freezes is given up, and the lock of the session at its other end taken back', async () => {
    const outcome = await onFrozenLine(() => store.append(batch(4, 6)));
    expect(outcome).toMatchObject({ status: 'rejected', reason: refusal('STORE_FAILED', /timeout/) });
    await store.append(batch(4, 6));
    await expectStored(6, 2);
  });

  test('a store on a frozen line can be closed', async () => {
    expect(await onFrozenLine(() => store.close())).toMatchObject({ status: 'fulfilled' });
  });

  test.each(['before', 'after'] as const)('a line that breaks at any step of opening (%s it) is no crash', async (when) => {
    const another = anotherRun();
    let failures = 0;
    for (let broken = true; broken; ) {
      line.cut(when, failures);
      const opening = openAnother(line.through(another.address));
      broken = await opening.then(
        () => false,
        (error) => {
          expect(error).toMatchObject(refusal('STORE_FAILED', another.run));
          return true;
        },
      );
      if (broken) failures++;
    }
    line.cut(null);
    expect(failures).toBeGreaterThan(5);
    await others[0].append(batch(1, 3));
  });

  test('while the database is away calls fail, and work again when it is back', async () => {
    line.down();
    for (const _ of 'abc') await expect(store.append(batch(4, 6))).rejects.toMatchObject(refusal('STORE_FAILED', run.run));
    await expect(store.lastSeq()).rejects.toMatchObject(refusal('STORE_FAILED'));
    line.up();
    await store.append(batch(4, 6));
    await expectStored(6, 2);
  });

  test('a session that the server ends costs at most one call', async () => {
    const end = `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted
      AND pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE $1)`;
    await store.lastSeq(); // so that the session's last query names its run
    expect(await query(postgres!, end, [`%${run.run}%`])).toHaveLength(1);
    await store.append(batch(4, 6)).catch((error) => expect(error).toMatchObject(refusal('STORE_FAILED')));
    await store.append(batch(4, 6));
    await expectStored(6, 2);
  });

  describe('one writer', () => {
    test('at a time has a run open', async () => {
      await expect(openAnother(run.address, 0)).rejects.toMatchObject(refusal('DATA_IN_USE', run.run));
      await store.append(batch(4, 4));
      await store.close();
      expect(await (await openAnother(run.address, 0)).lastSeq()).toBe(4);
    });

    test('who waits gets it when the other leaves', async () => {
      const waiting = openAnother();
      await store.close();
      expect(await (await waiting).lastSeq()).toBe(3);
    });

    test('who lost the line does not write once another was there', async () => {
      line.down();
      const other = await openAnother();
      line.up();
      await expect(PostgresStore.open(line.through(run.address), { patience: 0 })).rejects.toMatchObject(refusal('DATA_IN_USE'));
      await other.close();
      await expect(store.append(batch(4, 6))).rejects.toMatchObject(refusal('STORE_CONFLICT', run.run));
      await expect(store.lastSeq()).rejects.toMatchObject(refusal('STORE_CONFLICT'));
    });

    test('who lost the line does not write while another is there', async () => {
      await store.close();
      store = await PostgresStore.open(line.through(run.address), { patience: 0 });
      line.down();
      const other = await openAnother();
      line.up();
      await expect(store.append(batch(4, 6))).rejects.toMatchObject(refusal('STORE_CONFLICT', run.run));
      await other.append(batch(4, 5));
      expect(await other.lastSeq()).toBe(5);
    });
  });

  test('runs in one database do not see each other', async () => {
    const another = anotherRun();
    const other = await openAnother(another.address);
    await other.append(batch(1, 1));
    await expectStored(3, 1);
    expect(await other.entries(0, 9)).toEqual(entriesOf(1, 1));
  });

  test('the run may be named by the caller', async () => {
    const another = anotherRun();
    const other = await openStore(postgres!, { run: another.run });
    expect(other.name).toContain(another.run);
  });

  test('a text with U+0000 is refused with a word of why, and nothing else suffers', async () => {
    const bad = batchOf({ entries: [{ seq: 4, at: 4, body: 'a\0b' }] });
    await expect(store.append(bad)).rejects.toMatchObject(refusal('STORE_FAILED', /U\+0000/));
    await store.append(batch(4, 4));
    await expectStored(4, 2);
  });

  test('what is no store of this release is refused and left alone', async () => {
    await store.close();
    const schema = `"starling_${run.run}"`;
    await query(postgres!, `UPDATE ${schema}.store SET version = 99`);
    await expect(openAnother()).rejects.toMatchObject(refusal('LOG_UNREADABLE', /version 99/));
    await query(postgres!, `DROP SCHEMA ${schema} CASCADE; CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.birds (name text)`);
    await expect(openAnother()).rejects.toMatchObject(refusal('LOG_UNREADABLE', run.run));
    await query(postgres!, `DROP TABLE ${schema}.birds`);
    expect(await (await openAnother()).lastSeq()).toBe(0); // an operator may make the schema
  });

  test('a database that is not there is a matter of the address', async () => {
    const address = new URL(run.address);
    address.pathname = '/no-such-database';
    await expect(openStore(address.href)).rejects.toMatchObject(refusal('CONFIG_INVALID', /no-such-database/));
  });
});
