import { SwarmError } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { Bench, type Counter, FakeStore, full, maker } from './journal-bench.ts';
import type { Maker } from './machine.ts';
import { replay } from './replay.ts';

describe('replaying', () => {
  async function filled(inputs: number, snapshotEvery: number): Promise<Bench> {
    const bench = await Bench.begun({ snapshotEvery });
    for (let n = 1; n <= inputs; n++) {
      bench.now += 10;
      bench.submit(n);
    }
    await bench.flush();
    return bench;
  }
  const sumTo = (n: number) => (n * (n + 1)) / 2;

  it('gives the state after any entry, with snapshots and without', async () => {
    const { store } = await filled(20, 6);
    for (const snapshots of [true, false]) {
      for (let through = 1; through <= 21; through++) {
        const read = await replay(store, maker, { through, snapshots });
        expect(read!.seq).toBe(through);
        expect(read!.machine.snapshot()).toEqual({
          name: 'first',
          now: 1_000 + 10 * (through - 1),
          sum: sumTo(through - 1),
          inputs: through - 1,
        });
      }
    }
  });

  it('begins at the newest snapshot that is not after that entry', async () => {
    const { store } = await filled(20, 6);
    expect(store.snapshots.map(({ seq }) => seq)).toEqual([7, 13, 19]);
    store.asked.length = 0;
    expect((await replay(store, maker, { through: 15 }))!.snapshotSeq).toBe(13);
    expect(store.asked[0]).toBe('entries after 13');
    expect((await replay(store, maker, { through: 6 }))!.snapshotSeq).toBe(1);
    // Nothing is left to read after the snapshot itself.
    store.asked.length = 0;
    expect((await replay(store, maker, { through: 13 }))!.machine.snapshot()).toMatchObject({ inputs: 12 });
    expect(store.asked).toEqual([]);
  });

  it('reads a long log in pages', async () => {
    const { store } = await filled(11_000, 1_000_000);
    store.asked.length = 0;
    const read = await replay(store, maker);
    expect(read!.machine.snapshot()).toMatchObject({ sum: sumTo(11_000) });
    expect(store.asked).toEqual(['entries after 0', 'entries after 5000', 'entries after 10000', 'entries after 11001']);
  });

  it('of an empty log, or of nothing of one, gives nothing', async () => {
    expect(await replay(new FakeStore(), maker)).toBeNull();
    expect(await replay((await filled(3, 100)).store, maker, { through: 0 })).toBeNull();
  });

  it.each([
    ['does not begin at its beginning', [{ seq: 1, at: 0, body: '{"add":1}' }], /after entry 0: it does not begin at its beginning/],
    [
      'holds what the machine does not take',
      [
        { seq: 1, at: 0, body: '{"type":"genesis","rules":1,"genesis":"g"}' },
        { seq: 2, at: 0, body: '{"fail":"what?"}' },
      ],
      /after entry 1: what\?/,
    ],
  ])('a log that %s says where it cannot be read', async (_, entries, message) => {
    const store = new FakeStore();
    store.log.push(...entries);
    await expect(replay(store, maker)).rejects.toMatchObject({ code: 'LOG_UNREADABLE', message: expect.stringMatching(message) });
  });

  it.each([
    ['an entry that is no JSON', [{ seq: 2, at: 0, body: '{' }], 'Entry 2 of the log is not what was written.'],
    ['a gap', [{ seq: 3, at: 0, body: '{"add":1}' }], 'Entry 2 of the log is missing.'],
    ['no beginning', [], 'Entry 1 of the log is missing.'],
  ])('a damaged log, with %s, says where; another is begun behind it and can be gone on with', async (what, entries, message) => {
    const store = new FakeStore();
    if (what !== 'no beginning') store.log.push({ seq: 1, at: 0, body: '{"type":"genesis","rules":1,"genesis":"g"}' });
    store.log.push(...entries, { seq: 4, at: 0, body: '{"add":1}' });
    await expect(replay(store, maker)).rejects.toMatchObject({ code: 'LOG_DAMAGED', message });
    const bench = new Bench(store);
    const { journal, damage, begin } = await bench.open();
    expect([journal, damage]).toMatchObject([null, { code: 'LOG_DAMAGED', message }]);
    bench.journal = await begin('second');
    bench.submit(5);
    await bench.flush();
    expect((await new Bench(store).open()).journal).toMatchObject({ handled: 6 });
    expect((await replay(store, maker))!.machine.snapshot()).toMatchObject({ name: 'second', sum: 5 });
  });

  it('says what the maker says of a log of another release', async () => {
    const { store } = await filled(3, 100);
    const strict: Maker<Counter> = {
      ...maker,
      begin: () => {
        throw new SwarmError('LOG_UNREADABLE', 'The log was begun by another release.');
      },
    };
    await expect(replay(store, strict)).rejects.toThrow('begun by another release');
  });

  it('passes on that the store cannot be read', async () => {
    const { store } = await filled(3, 100);
    store.entries = () => Promise.reject(full());
    await expect(replay(store, maker)).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });
});
