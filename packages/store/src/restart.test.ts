/** From one process to the next: how a log is left, and gone on with, also by a release with other rules. */
import { describe, expect, it } from 'vitest';
import { Bench, FakeStore, full, maker, makerOf, quiet, type State } from './journal-bench.ts';
import { replay } from './replay.ts';

describe('opening', () => {
  it('finds no journal in an empty store, and begins one', async () => {
    const bench = new Bench();
    const { journal, begin } = await bench.open();
    expect(journal).toBeNull();
    const begun = await begin('first');
    expect(bench.store.log).toEqual([{ seq: 1, at: 1_000, body: '{"type":"genesis","rules":1,"genesis":"first"}' }]);
    expect([begun.handled, begun.machine.snapshot().name]).toEqual([1, 'first']);
  });

  it('goes on where the log ends, with the next number', async () => {
    const bench = await Bench.begun();
    for (const n of [1, 2]) bench.submit(n);
    await bench.flush();
    const next = new Bench(bench.store);
    next.journal = (await next.open()).journal!;
    expect([next.journal.handled, next.state]).toEqual([3, bench.state]);
    next.submit(10);
    await next.flush();
    expect(bench.store.log.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect(next.out).toEqual(['let out 4', 'answered 13']);
  });

  it('can begin anew in the same log, and what was before stays readable', async () => {
    const bench = await Bench.begun({ snapshotEvery: 2 });
    for (const n of [1, 2, 4]) bench.submit(n);
    await bench.flush();
    const next = new Bench(bench.store);
    next.now = 7_000;
    next.journal = await (await next.open({ snapshotEvery: 2 })).begin('second');
    for (const n of [10, 20, 40]) next.submit(n);
    await next.flush();
    const stateAt = async (through: number, snapshots = true) =>
      (await replay(bench.store, maker, { through, snapshots }))?.machine.snapshot();
    for (const snapshots of [true, false]) {
      expect(await stateAt(4, snapshots)).toEqual({ name: 'first', now: 1_000, sum: 7, inputs: 3 });
      expect(await stateAt(5, snapshots)).toEqual({ name: 'second', now: 7_000, sum: 0, inputs: 0 });
      expect(await stateAt(99, snapshots)).toEqual({ name: 'second', now: 7_000, sum: 70, inputs: 3 });
    }
  });

  it('that cannot write the beginning says so', async () => {
    const bench = new Bench();
    const { begin } = await bench.open();
    bench.store.faults = [full()];
    await expect(begin('first')).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect((await begin('first')).handled).toBe(1);
  });
});

describe('closing', () => {
  it('leaves a snapshot at the end of the log, when all of it is written, and takes nothing more', async () => {
    const bench = await Bench.begun();
    bench.store.held = true;
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    const closed = bench.journal.close();
    bench.submit(100);
    bench.store.release();
    await quiet();
    await bench.flush();
    await closed;
    expect(bench.store.asked).toEqual(['append 2', 'append 3', 'snapshot 3']);
    expect(bench.out).toContain('rejected STORE_FAILED');
    expect((await replay(bench.store, maker))!.machine.snapshot()).toMatchObject({ sum: 3, inputs: 2 });
  });

  it('writes nothing where the newest snapshot is at the end already, and nothing was begun', async () => {
    const bench = await Bench.begun({ snapshotEvery: 1 });
    await bench.journal.close();
    const next = new Bench(bench.store);
    next.journal = (await next.open({ snapshotEvery: 1 })).journal!;
    next.submit(1);
    await next.flush();
    await next.journal.close();
    expect(bench.store.snapshots.map(({ seq }) => seq)).toEqual([2]);
  });

  it('tells that no snapshot was left; the log is whole all the same', async () => {
    const bench = await Bench.begun();
    bench.submit(1);
    await bench.flush();
    bench.store.snapshotFaults = [full()];
    await expect(bench.journal.close()).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect((await new Bench(bench.store).open()).journal!.machine.snapshot()).toMatchObject({ sum: 1 });
  });
});

describe('rules that changed', () => {
  /** Two inputs under rules 1, and a clean end or none. */
  async function ended({ clean }: { clean: boolean }): Promise<FakeStore> {
    const bench = await Bench.begun();
    for (const n of [1, 2]) bench.submit(n);
    await bench.flush();
    if (clean) await bench.journal.close();
    return bench.store;
  }
  /** Goes on under these rules with one more input, of 10. */
  async function goOn(store: FakeStore, rules: number): Promise<Bench> {
    const bench = new Bench(store);
    bench.journal = (await bench.open(undefined, rules)).journal!;
    bench.submit(10);
    await bench.flush();
    return bench;
  }

  it('go on from the end of a log that was closed, which is noted and saved before any input', async () => {
    const store = await ended({ clean: true });
    const bench = new Bench(store);
    store.asked.length = 0;
    const { journal, rulesBefore } = await bench.open(undefined, 2);
    expect([journal!.handled, journal!.machine.snapshot(), rulesBefore]).toMatchObject([4, { sum: 3, inputs: 2 }, 1]);
    expect(store.asked).toEqual(['entries after 3', 'append 4', 'snapshot 4']);
    expect(store.log.at(-1)).toEqual({ seq: 4, at: 1_000, body: '{"type":"rules","rules":2}' });
    bench.journal = journal!;
    bench.submit(10);
    await bench.flush();
    // Killed: the next server has only the rules of the snapshot to mind.
    const again = await new Bench(store).open(undefined, 2);
    expect([again.journal!.machine.snapshot(), again.rulesBefore]).toMatchObject([{ sum: 23, inputs: 3 }, null]);
  });

  it('are refused where inputs follow the newest snapshot, or the beginning, and nothing is written', async () => {
    const killed = await ended({ clean: false });
    const later = (await goOn(await ended({ clean: true }), 1)).store;
    for (const [store, entry] of [
      [killed, 2],
      [later, 4],
    ] as const) {
      store.asked.length = 0;
      await expect(new Bench(store).open(undefined, 2)).rejects.toMatchObject({
        code: 'LOG_UNREADABLE',
        message: expect.stringMatching(new RegExp(`^Entry ${entry} of the log was written under rules 1: .* SIGTERM`)),
      });
      expect(store.asked.filter((line) => !line.startsWith('entries'))).toEqual([]);
      // As it says: the release that wrote it stops as it should, and then it can be.
      await (await goOn(store, 1)).journal.close();
      expect((await goOn(store, 2)).state.inputs).toBeGreaterThan(2);
    }
  });

  it('go on where the beginning is all there is, and where the server died before its first snapshot', async () => {
    const { store } = await Bench.begun();
    store.snapshotFaults = [full()];
    await expect(new Bench(store).open(undefined, 2)).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect(store.log.map(({ body }) => JSON.parse(body).type)).toEqual(['genesis', 'rules']);
    expect((await goOn(store, 2)).state).toMatchObject({ sum: 20, inputs: 1 });
    expect(store.log.length).toBe(3);
    expect((await new Bench(store).open(undefined, 2)).journal!.machine.snapshot()).toMatchObject({ sum: 20 });
  });

  it('of a log from before there were numbers are others than any', async () => {
    const store = await ended({ clean: true });
    const bare = new FakeStore();
    bare.log.push({ seq: 1, at: 0, body: '{"type":"genesis","genesis":"first"}' }, ...store.log.slice(1));
    await expect(new Bench(bare).open()).rejects.toMatchObject({ code: 'LOG_UNREADABLE', message: /before rules were numbered/ });
    const { state } = JSON.parse(store.snapshots[0]!.state) as { state: State };
    bare.snapshots.push({ seq: 3, hash: '', state: JSON.stringify(state) });
    expect((await goOn(bare, 1)).state).toMatchObject({ sum: 13, inputs: 3 });
  });

  it('are not mixed by readers: they refuse what is not of theirs, or tell of it', async () => {
    const store = await ended({ clean: true });
    await (await goOn(store, 2)).journal.close();
    const at = async (rules: number, through: number, snapshots: boolean) => {
      const read = (await replay(store, makerOf(rules), { through, snapshots, anyRules: true }))!;
      return [(read.machine.snapshot() as State).sum, read.otherRules];
    };
    // Entries: the beginning, 1, 2, new rules, 10.
    expect(await at(2, 5, true)).toEqual([23, null]);
    expect(await at(2, 5, false)).toEqual([26, { seq: 3, rules: 1 }]);
    expect(await at(2, 2, true)).toEqual([2, { seq: 2, rules: 1 }]);
    expect(await at(2, 3, true)).toEqual([3, null]);
    expect(await at(1, 3, false)).toEqual([3, null]);
    expect(await at(1, 5, false)).toEqual([13, { seq: 5, rules: 2 }]);
    for (const rules of [1, 2])
      await expect(replay(store, makerOf(rules), { snapshots: false })).rejects.toMatchObject({ code: 'LOG_UNREADABLE' });
    expect((await replay(store, makerOf(2)))!.machine.snapshot()).toMatchObject({ sum: 23 });
  });

  it('begin anew behind a log with a genesis of their own', async () => {
    const store = await ended({ clean: true });
    const bench = new Bench(store);
    bench.journal = await (await bench.open(undefined, 2)).begin('second');
    bench.submit(1);
    await bench.flush();
    const read = await replay(store, makerOf(2), { snapshots: false, anyRules: true });
    expect([read!.machine.snapshot(), read!.otherRules]).toMatchObject([{ name: 'second', sum: 2 }, null]);
  });
});
