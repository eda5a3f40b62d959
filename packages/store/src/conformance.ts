/** What every store must do, as one suite that all of them pass. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { batchOf, bytes, entriesOf, framed, keys, named, row, sha256, snapshotOf } from './samples.ts';
import { type Batch, SNAPSHOTS_KEPT, type Store } from './store.ts';

export interface OpenedStore {
  store: Store;
  /** Closes it and opens it again at the same place; one that lives in memory only gives itself back. */
  reopen(): Promise<Store>;
  /** Closes what is open and removes everything. */
  destroy(): Promise<void>;
}

const BIG = 5_000_000;
/** Declares the suite; `open` gives each test an empty store of its own. */
export function describeStore(name: string, open: () => Promise<OpenedStore>): void {
  describe(name, () => {
    let opened: OpenedStore;
    let store: Store;
    const add = (part: Partial<Batch>) => store.append(batchOf(part));
    const code = (wanted: string) => ({ code: wanted, message: expect.stringMatching(/\w/) });
    const bodies = async () => (await store.entries(0, 1000)).map(({ body }) => body);
    /** Everything that can be read, to see that nothing changed. */
    const everything = async () => ({
      seq: await store.lastSeq(),
      entries: await store.entries(0, 1000),
      rows: [...(await store.rows('receipt', { limit: 1000 })), ...(await store.rows('event', { limit: 1000 }))],
      tensors: await store.tensors(),
    });

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.destroy());

    test('a new one is empty', async () => {
      expect(await everything()).toEqual({ seq: 0, entries: [], rows: [], tensors: [] });
      expect(await store.snapshot(100)).toBeNull();
      expect(store.name).toMatch(/\w/);
    });

    describe('entries', () => {
      test('come back in order, after a number and up to a limit', async () => {
        await add({ entries: entriesOf(1, 3) });
        await add({ entries: entriesOf(4, 4) });
        await add({ entries: entriesOf(5, 9) });
        expect(await store.lastSeq()).toBe(9);
        expect(await store.entries(0, 100)).toStrictEqual(entriesOf(1, 9));
        expect(await store.entries(2, 3)).toStrictEqual(entriesOf(3, 5));
        expect(await store.entries(9, 5)).toEqual([]);
      });

      test('keep their time to the last bit, fractions too', async () => {
        const times = [0, 0.1, 1_700_000_000_000, 1_700_000_000_000.0625, 2 ** 52 + 1];
        await add({ entries: times.map((at, k) => ({ seq: k + 1, at, body: '' })) });
        expect((await store.entries(0, 9)).map(({ at }) => at)).toEqual(times);
      });

      test('that do not follow are a conflict and change nothing', async () => {
        await expect(add({ entries: entriesOf(2, 3) })).rejects.toMatchObject(code('STORE_CONFLICT'));
        await add({ entries: entriesOf(1, 3), rows: [row('event', '', 1)] });
        await add({ entries: entriesOf(4, 6) });
        const before = await everything();
        for (const entries of [
          entriesOf(8, 9), // a gap
          [...entriesOf(7, 7), ...entriesOf(9, 9)], // a gap within
          [...entriesOf(7, 7), ...entriesOf(7, 7)], // a number twice
          entriesOf(5, 7), // some are there, some are not
          entriesOf(1, 3), // there, but not the newest
          entriesOf(4, 6, 'other'), // somebody else's
          [{ ...entriesOf(6, 6)[0], at: 1 }],
          entriesOf(0, 6),
        ])
          await expect(add({ entries, rows: [row('event', '', 2)] })).rejects.toMatchObject(code('STORE_CONFLICT'));
        expect(await everything()).toEqual(before);
        await add({ entries: entriesOf(7, 7) });
        expect(await store.lastSeq()).toBe(7);
      });

      test('in one batch that got through are not stored twice when it is tried again', async () => {
        await add({ entries: entriesOf(1, 2) });
        const batch = batchOf({
          entries: entriesOf(3, 5),
          rows: [row('event', '', 1)],
          tensors: [named('a', 'x', 'blob')],
          released: ['b'],
        });
        await store.append(batch);
        const before = await everything();
        await store.append(batch);
        store = await opened.reopen();
        await store.append(batch);
        expect(await everything()).toEqual(before);
        await add({ entries: entriesOf(6, 6) });
        expect(await store.lastSeq()).toBe(6);
      });

      test('issued without waiting keep their order', async () => {
        const appends = Array.from({ length: 40 }, (_, k) =>
          add({ entries: entriesOf(3 * k + 1, 3 * k + 3), rows: [row('event', '', k)], tensors: [named('a', 'x', String(k))] }),
        );
        const newest = store.lastSeq(); // asked for after them, and answered after them
        await Promise.all(appends);
        expect(await newest).toBe(120);
        expect(await store.entries(0, 1000)).toStrictEqual(entriesOf(1, 120));
        expect((await store.rows('event', { limit: 100 })).map(({ at }) => at)).toEqual(
          Array.from({ length: 40 }, (_, k) => row('event', '', 39 - k).at),
        );
        expect((await store.tensors()).map(({ blob }) => blob)).toEqual(['39']);
      });
    });

    describe('a batch', () => {
      test('without anything changes nothing', async () => {
        await add({});
        await add({ entries: entriesOf(1, 2) });
        const before = await everything();
        await add({});
        expect(await everything()).toEqual(before);
      });

      test('of tensors alone may be written and tried again', async () => {
        for (const _ of 'ab') await add({ tensors: [named('a', 'x', 'one'), named('b', 'y', 'two')], released: ['b'] });
        expect(keys(await store.tensors())).toEqual(['a/x']);
      });

      test('of rows without entries is refused, for its retry would double them', async () => {
        await expect(add({ rows: [row('event', '', 1)] })).rejects.toMatchObject(code('INTERNAL'));
        expect(await store.rows('event', { limit: 9 })).toEqual([]);
      });

      const nothing = null as unknown as string;
      test.each<[string, Partial<Batch>]>([
        ['its last entry', { entries: [...entriesOf(3, 400), { seq: 401, at: 1, body: nothing }] }],
        ['its last row', { rows: [row('event', 'b', 2), { ...row('event', 'b', 3), body: nothing }] }],
        ['its last tensor', { tensors: [named('b', 'x', 'other'), { ...named('b', 'y', ''), blob: null }] }],
      ])('that fails at %s is not stored at all, and those behind it wait for its retry', async (_, bad) => {
        await add({ entries: entriesOf(1, 2), rows: [row('event', 'a', 1)], tensors: [named('a', 'x', 'blob')] });
        const before = await everything();
        const part = { entries: entriesOf(3, 4), rows: [row('event', 'b', 2)], tensors: [named('b', 'z', 'new')], released: ['a'], ...bad };
        const last = part.entries.at(-1)!.seq;
        const behind = [{ entries: entriesOf(last + 1, last + 1) }, { released: ['a'] }];
        expect(await Promise.allSettled([part, ...behind].map(add))).toMatchObject(
          [1, 2, 3].map(() => ({ status: 'rejected', reason: code('STORE_FAILED') })),
        );
        expect(await everything()).toEqual(before);
        await add({ entries: entriesOf(3, last), rows: [row('event', 'b', 2)], tensors: [named('b', 'z', 'new')], released: ['a'] });
        await add({ entries: entriesOf(last + 1, last + 1) });
        expect(await store.entries(0, 1000)).toStrictEqual(entriesOf(1, last + 1));
        expect(keys(await store.tensors())).toEqual(['b/z']);
      });
    });

    test('rows are paged from the newest, of one owner or of all', async () => {
      const rows = Array.from({ length: 30 }, (_, k) => row(k % 5 ? 'receipt' : 'event', k % 3 ? 'ada' : '', k));
      await add({ entries: entriesOf(1, 1), rows: rows.slice(0, 17) });
      await add({ entries: entriesOf(2, 2), rows: rows.slice(17) });
      for (const owner of [undefined, 'ada', '', 'nobody']) {
        const wanted = rows.filter((r) => r.kind === 'receipt' && (owner === undefined || r.owner === owner)).toReversed();
        const found = [];
        for (let before: number | undefined; ; ) {
          const page = await store.rows('receipt', { owner, before, limit: 4 });
          expect(page.length).toBeLessThanOrEqual(4);
          if (page.length === 0) break;
          found.push(...page);
          before = page.at(-1)!.id;
        }
        expect(found.map(({ id, ...rest }) => rest)).toStrictEqual(wanted);
        expect(found.map(({ id }) => id)).toEqual(found.map(({ id }) => id).toSorted((a, b) => b - a));
      }
      expect(await store.rows('nothing', { limit: 9 })).toEqual([]);
    });

    describe('tensors', () => {
      test('are replaced, released, and come in the order of writing', async () => {
        await add({ tensors: [named('a', 'x', '1'), named('a', 'y', '2'), named('b', 'x', '3')] });
        await add({ tensors: [named('c', 'x', '4'), named('a', 'x', '5')] });
        expect(keys(await store.tensors())).toEqual(['a/y', 'b/x', 'c/x', 'a/x']);
        expect((await store.tensors()).at(-1)).toStrictEqual(named('a', 'x', '5'));
        // Scopes are released after the tensors of the same batch were written; a name given twice ends with the second.
        await add({
          tensors: [named('d', 'x', '6'), named('b', 'z', '7'), named('d', 'y', '8'), named('d', 'x', '9')],
          released: ['b', 'nothing', 'c'],
        });
        expect(keys(await store.tensors())).toEqual(['a/y', 'a/x', 'd/y', 'd/x']);
        expect((await store.tensors()).at(-1)).toStrictEqual(named('d', 'x', '9'));
        await add({ released: ['a', 'd'] });
        expect(await store.tensors()).toEqual([]);
      });

      test('keep every byte and leave the caller’s as they are', async () => {
        const large = bytes(1000);
        const tensors = [
          framed('a', 'all bytes', bytes(256)),
          framed('a', 'empty', new Uint8Array(0)),
          framed('a', 'a part of a buffer', large.subarray(7, 500)),
          framed('a', 'zeros', new Uint8Array(64)),
          framed('a', 'a Buffer', Buffer.from('a frame')),
          named('a', 'a blob', sha256('blob')),
        ];
        await add({ tensors });
        expect(large).toEqual(bytes(1000));
        for (const place of ['open', 'again']) {
          const found = await store.tensors();
          expect(found, place).toStrictEqual(tensors.map((tensor) => ({ ...tensor, frame: tensor.frame && new Uint8Array(tensor.frame) })));
          store = await opened.reopen();
        }
        await add({ tensors: [named('a', 'empty', 'a blob now')] });
        expect((await store.tensors()).at(-1)).toStrictEqual(named('a', 'empty', 'a blob now'));
      });
    });

    describe('snapshots', () => {
      beforeEach(() => add({ entries: entriesOf(1, 100) }));

      test('the newest one that is not after an entry is found', async () => {
        for (const seq of [0, 10, 20, 15]) await store.saveSnapshot(snapshotOf(seq));
        const found = await Promise.all([0, 9, 10, 14, 15, 19, 20, 1000].map((through) => store.snapshot(through)));
        expect(found.map((snapshot) => snapshot?.seq)).toEqual([0, 0, 10, 10, 15, 15, 20, 20]);
        expect(found.at(-1)).toStrictEqual(snapshotOf(20));
      });

      test('one that is damaged is passed over, and written anew', async () => {
        for (const seq of [10, 20]) await store.saveSnapshot(snapshotOf(seq));
        for (const seq of [30, 40]) await store.saveSnapshot({ ...snapshotOf(seq), state: 'damaged' });
        expect((await store.snapshot(100))?.seq).toBe(20);
        expect((await store.snapshot(19))?.seq).toBe(10);
        await store.saveSnapshot(snapshotOf(40));
        expect(await store.snapshot(100)).toStrictEqual(snapshotOf(40));
      });

      test('only the newest stay', async () => {
        const all = Array.from({ length: SNAPSHOTS_KEPT + 3 }, (_, k) => k + 1);
        for (const seq of all) await store.saveSnapshot(snapshotOf(seq));
        expect((await store.snapshot(4))?.seq).toBe(4);
        expect(await store.snapshot(3)).toBeNull();
        await store.saveSnapshot(snapshotOf(2));
        expect(await store.snapshot(3)).toBeNull();
      });

      test('one of entries that are not stored is refused', async () => {
        await expect(store.saveSnapshot(snapshotOf(101))).rejects.toMatchObject(code('STORE_FAILED'));
        expect(await store.snapshot(1000)).toBeNull();
      });
    });

    test('5 MB fit everywhere', async () => {
      const text = `{"text":"${'0123456789"\\'.repeat(BIG / 12)}"}`;
      const frame = bytes(BIG);
      await add({
        entries: [{ seq: 1, at: 1, body: text }],
        rows: [{ ...row('event', '', 1), body: text }],
        tensors: [framed('a', 'x', frame)],
      });
      await store.saveSnapshot(snapshotOf(1, text));
      store = await opened.reopen();
      const found = [(await bodies())[0], (await store.rows('event', { limit: 1 }))[0].body, (await store.snapshot(1))?.state];
      expect(found.map((body) => body === text)).toEqual([true, true, true]);
      expect(sha256((await store.tensors())[0].frame!)).toBe(sha256(frame));
    });

    test('every text comes back as it was', async () => {
      const texts = [
        '',
        ' ',
        'Ünïcödé ß',
        '語',
        '🐦‍⬛',
        '\u{10ffff}',
        '\ufeff',
        '"\\\'{}(),\n\r\t',
        'NULL',
        "'; DROP TABLE entries; --",
        '\\x00',
        '\u0001',
      ];
      await add({
        entries: texts.map((body, k) => ({ seq: k + 1, at: k, body })),
        rows: texts.map((text, k) => ({ kind: `kind ${text}`, owner: text, at: k, body: text })),
        tensors: texts.map((text) => ({ ...named(text, text, text), hash: text })),
        released: texts.map((text) => `not ${text}`),
      });
      expect(await bodies()).toEqual(texts);
      for (const text of texts) {
        expect(await store.rows(`kind ${text}`, { owner: text, limit: 9 })).toMatchObject([
          { kind: `kind ${text}`, owner: text, body: text },
        ]);
        const snapshot = snapshotOf(texts.length, text);
        await store.saveSnapshot(snapshot);
        expect(await store.snapshot(1000)).toEqual(snapshot);
      }
      expect((await store.tensors()).map(({ scope, name, hash, blob }) => [scope, name, hash, blob])).toEqual(
        texts.map((text) => [text, text, text, text]),
      );
      await add({ released: texts });
      expect(await store.tensors()).toEqual([]);
    });

    test('opened again, it holds everything', async () => {
      const frame = bytes(3000);
      await add({ entries: entriesOf(1, 5), rows: [row('event', 'ada', 1)], tensors: [framed('a', 'x', frame), named('b', 'y', 'blob')] });
      await add({ entries: entriesOf(6, 8), rows: [row('receipt', '', 2)], tensors: [named('c', 'z', 'blob')], released: ['b'] });
      await store.saveSnapshot(snapshotOf(7));
      const before = await everything();
      for (const _ of 'abc') store = await opened.reopen();
      expect(await everything()).toEqual(before);
      expect(await store.snapshot(8)).toEqual(snapshotOf(7));
      const newest = (await store.rows('receipt', { limit: 1 }))[0].id;
      await add({ entries: entriesOf(9, 9), rows: [row('receipt', '', 3)], tensors: [named('d', 'w', 'blob')] });
      expect((await store.rows('receipt', { limit: 1 }))[0].id).toBeGreaterThan(newest);
      expect(keys(await store.tensors())).toEqual(['a/x', 'c/z', 'd/w']);
    });

    test('closing waits for open calls, works twice, and ends all others', async () => {
      const appends = Array.from({ length: 20 }, (_, k) => add({ entries: entriesOf(k + 1, k + 1) }));
      const reading = store.lastSeq();
      let open = appends.length + 1;
      const settled = Promise.all([...appends, reading].map((call) => call.finally(() => open--)));
      await Promise.all([store.close().then(() => expect(open).toBe(0)), store.close()]);
      await settled;
      expect(await reading).toBe(20);
      for (const call of [
        () => add({ entries: entriesOf(21, 21) }),
        () => store.lastSeq(),
        () => store.entries(0, 1),
        () => store.saveSnapshot(snapshotOf(1)),
        () => store.snapshot(1),
        () => store.rows('event', { limit: 1 }),
        () => store.tensors(),
      ])
        await expect(call()).rejects.toMatchObject(code('STORE_FAILED'));
    });
  });
}
