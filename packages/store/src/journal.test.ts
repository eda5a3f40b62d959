import { describe, expect, it } from 'vitest';
import type { Handled } from './journal.ts';
import { Bench, conflict, type Effect, full, type Input, maker, quiet } from './journal-bench.ts';
import { replay } from './replay.ts';
import { named, sha256 } from './samples.ts';
import type { Row } from './store.ts';

describe('submitting', () => {
  it('handles the input at once and writes what came until then in one group', async () => {
    const bench = await Bench.begun();
    for (const n of [1, 2, 3]) bench.submit(n);
    expect(bench.state).toMatchObject({ sum: 6, inputs: 3 });
    expect([bench.store.asked, bench.journal.handled, bench.journal.waiting]).toEqual([[], 4, 3]);
    await bench.flush();
    expect(bench.store.asked).toEqual(['append 2,3,4']);
    expect(bench.journal.waiting).toBe(0);
    expect(bench.store.log.slice(1).map(({ body }) => body)).toEqual(['{"add":1}', '{"add":2}', '{"add":3}']);
  });

  it('writes what comes during a write in the next group, without waiting for another turn', async () => {
    const bench = await Bench.begun();
    bench.store.held = true;
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    bench.submit(3);
    expect(bench.journal.waiting).toBe(3);
    bench.store.release();
    await quiet();
    expect(bench.store.asked).toEqual(['append 2', 'append 3,4']);
  });

  it('begins a new turn when everything was written', async () => {
    const bench = await Bench.begun();
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    expect(bench.store.asked).toEqual(['append 2']);
    await bench.flush();
    expect(bench.store.asked).toEqual(['append 2', 'append 3']);
  });

  it('lets nothing out before it is durable', async () => {
    const bench = await Bench.begun();
    bench.store.held = true;
    bench.submit(1);
    bench.submit(2);
    await bench.flush();
    expect(bench.out).toEqual([]);
    bench.store.release();
    await quiet();
    expect(bench.out).toEqual(['let out 2', 'let out 3', 'answered 1', 'answered 3']);
  });

  it('lets an input out before it is answered, and all of them in their order, over groups', async () => {
    const bench = await Bench.begun();
    const answered: number[] = [];
    bench.deliver = ({ seq }) => {
      if (seq === 2) bench.submit(20);
    };
    for (const n of [1, 2]) bench.submit(n).then(([effect]) => answered.push(effect!.sum));
    await bench.flush();
    expect(bench.out.filter((line) => line.startsWith('let'))).toEqual(['let out 2', 'let out 3', 'let out 4']);
    expect(answered).toEqual([1, 3]);
    expect(bench.out.indexOf('answered 1')).toBeGreaterThan(bench.out.indexOf('let out 2'));
  });

  it('tells what was handled: the input, its effects, its number and its time', async () => {
    const bench = await Bench.begun();
    const seen: Handled<Input, Effect>[] = [];
    bench.deliver = (handled) => seen.push(handled);
    bench.now = 2_345;
    bench.submit(7);
    await bench.flush();
    expect(seen).toMatchObject([{ input: { add: 7 }, effects: [{ sum: 7 }], seq: 2, at: 2_345 }]);
  });

  it('writes rows, tensors and what is released with the entry they come from', async () => {
    const bench = await Bench.begun();
    const row = (seq: number): Row => ({ kind: 'k', owner: '', at: 0, body: `${seq}` });
    bench.describe = ({ seq }) => ({ rows: [row(seq)], released: seq === 3 ? ['old'] : [] });
    const tensor = named('scope', 'name', 'blob');
    const asked: number[] = [];
    bench.submit(1, ([effect]) => {
      asked.push(effect!.sum);
      return [tensor];
    });
    bench.submit(2);
    // At once: whoever hands the tensor over may need it before anything is durable.
    expect(asked).toEqual([1]);
    await bench.flush();
    expect(bench.store.batches.at(-1)).toMatchObject({ rows: [row(2), row(3)], tensors: [tensor], released: ['old'] });
  });

  it('is settled when everything that was submitted is durable', async () => {
    const bench = await Bench.begun();
    await bench.journal.settled();
    bench.store.held = true;
    bench.submit(1);
    let settled = false;
    bench.journal.settled().then(() => {
      settled = true;
    });
    await bench.flush();
    bench.submit(2);
    expect(settled).toBe(false);
    bench.store.release();
    await quiet();
    expect([settled, bench.store.log.length]).toEqual([true, 3]);
  });
});

describe('time', () => {
  it('never falls in the log, whatever the clock does', async () => {
    const bench = await Bench.begun();
    for (const now of [5_000, 4_000, 4_999, 5_000.25, 1]) {
      bench.now = now;
      bench.submit(1);
    }
    await bench.flush();
    expect(bench.store.log.slice(1).map(({ at }) => at)).toEqual([5_000, 5_000, 5_000, 5_000.25, 5_000.25]);
    expect(bench.state.now).toBe(5_000.25);
  });

  it('goes on, however far the clock was set back while nobody was here', async () => {
    const bench = await Bench.begun();
    bench.submit(1);
    await bench.flush();
    const next = new Bench(bench.store);
    next.now = bench.now - 3_600_000;
    next.journal = (await next.open()).journal!;
    next.now += 500;
    next.submit(2);
    await next.flush();
    expect(bench.store.log.at(-1)!.at).toBe(bench.now + 500);
  });

  it('tells for how long the oldest input has waited for the disk', async () => {
    const bench = await Bench.begun();
    expect(bench.journal.overdueMs).toBe(0);
    bench.store.held = true;
    bench.submit(1);
    bench.now += 3_000;
    expect(bench.journal.overdueMs).toBe(3_000);
    const flushed = bench.flush();
    bench.now += 4_000;
    bench.submit(2);
    expect(bench.journal.overdueMs).toBe(7_000);
    bench.store.release();
    await flushed;
    await bench.flush();
    expect(bench.journal.overdueMs).toBe(0);
  });

  it('never falls over a restart, nor over a new beginning', async () => {
    const bench = await Bench.begun();
    bench.now = 9_000;
    bench.submit(1);
    await bench.flush();
    const next = new Bench(bench.store);
    next.now = 3_000;
    next.journal = (await next.open()).journal!;
    next.submit(1);
    await next.flush();
    expect(bench.store.log.at(-1)!.at).toBe(9_000);
    // Begun anew by a process that has read the log before.
    const third = new Bench(bench.store);
    third.now = 10;
    const again = await (await third.open()).begin('second');
    expect(bench.store.log.at(-1)).toMatchObject({ seq: 4, at: 9_000 });
    expect(again.machine.snapshot()).toEqual({ name: 'second', now: 9_000, sum: 0, inputs: 0 });
  });
});

describe('while the store cannot be written', () => {
  it('the same group is tried again until it works, nothing is let out, and trouble is told once', async () => {
    const bench = await Bench.begun();
    bench.store.faults = [full(), full(), full()];
    bench.submit(1);
    bench.submit(2);
    await bench.flush();
    expect([bench.troubles, bench.out, bench.pauses]).toEqual([['STORE_FAILED'], [], [1_000]]);
    await bench.again();
    await bench.again();
    expect([bench.troubles, bench.out]).toEqual([['STORE_FAILED'], []]);
    await bench.again();
    expect(bench.store.asked).toEqual(Array.from({ length: 4 }, () => 'append 2,3'));
    expect(bench.troubles).toEqual(['STORE_FAILED', null]);
    expect(bench.out).toEqual(['let out 2', 'let out 3', 'answered 1', 'answered 3']);
  });

  it('inputs are handled on, and follow in the next group', async () => {
    const bench = await Bench.begun();
    bench.store.faults = [full()];
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    bench.submit(3);
    expect([bench.state.sum, bench.journal.waiting]).toEqual([6, 3]);
    await bench.again();
    expect(bench.store.asked).toEqual(['append 2', 'append 2', 'append 3,4']);
    expect(bench.out.filter((line) => line.startsWith('let'))).toEqual(['let out 2', 'let out 3', 'let out 4']);
  });

  it('rows are made once, however often they are tried', async () => {
    const bench = await Bench.begun();
    let made = 0;
    bench.describe = () => {
      made += 1;
      return { rows: [], released: [] };
    };
    bench.store.faults = [full(), full()];
    bench.submit(1);
    await bench.flush();
    await bench.again();
    await bench.again();
    expect([made, bench.store.log.length]).toEqual([1, 2]);
  });

  it('an error nobody knows is taken for a failure of the disk', async () => {
    const bench = await Bench.begun();
    bench.store.faults = [new Error('EIO')];
    bench.submit(1);
    await bench.flush();
    expect(bench.troubles).toEqual(['STORE_FAILED']);
    await bench.again();
    expect(bench.out).toEqual(['let out 2', 'answered 1']);
  });

  it('trouble that comes again is told again', async () => {
    const bench = await Bench.begun();
    for (const n of [1, 2]) {
      bench.store.faults = [full()];
      bench.submit(n);
      await bench.flush();
      await bench.again();
    }
    expect(bench.troubles).toEqual(['STORE_FAILED', null, 'STORE_FAILED', null]);
  });
});

describe('for good it breaks', () => {
  /** Nothing works any more, and whoever waits is told. */
  async function expectBroken(bench: Bench, code: string): Promise<void> {
    await expect(bench.submit(99)).rejects.toMatchObject({ code });
    await bench.flush();
    await bench.journal.settled();
    expect(bench.troubles.at(-1)).toBe(code);
  }

  it('when somebody else wrote: nothing of the group is let out, nor of what came after it', async () => {
    const bench = await Bench.begun();
    bench.store.held = true;
    bench.store.faults = [conflict()];
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    bench.store.release();
    await quiet();
    expect(bench.out).toEqual(['rejected STORE_CONFLICT', 'rejected STORE_CONFLICT']);
    await expectBroken(bench, 'STORE_CONFLICT');
    expect([bench.store.asked, bench.store.log.length]).toEqual([['append 2'], 1]);
  });

  it('when somebody else wrote while the disk was full', async () => {
    const bench = await Bench.begun();
    bench.store.faults = [full(), conflict()];
    bench.submit(1);
    await bench.flush();
    await bench.again();
    expect([bench.out, bench.troubles]).toEqual([['rejected STORE_CONFLICT'], ['STORE_FAILED', 'STORE_CONFLICT']]);
    await expectBroken(bench, 'STORE_CONFLICT');
  });

  it('when the machine throws: its input is not in the log, and whoever reads that gets the state before it', async () => {
    const bench = await Bench.begun();
    bench.submit(1);
    await bench.flush();
    const before = bench.state;
    bench.submit(2);
    // As a promise that rejects, like everything else.
    const failed = bench.journal.submit({ fail: 'a bug' });
    await expect(failed).rejects.toThrow('a bug');
    await bench.flush();
    // What was handled before it and not written is lost: its sender was not answered, and sends it again.
    expect(bench.out).toEqual(['let out 2', 'answered 1', 'rejected INTERNAL']);
    await expectBroken(bench, 'INTERNAL');
    const read = await replay(bench.store, maker);
    expect(read!.machine.snapshot()).toEqual(before);
  });

  it('when the machine throws during a write: what is being written is let out', async () => {
    const bench = await Bench.begun();
    bench.store.held = true;
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    await expect(bench.journal.submit({ fail: 'a bug' })).rejects.toThrow();
    bench.store.release();
    await quiet();
    expect(bench.out).toEqual(['rejected INTERNAL', 'let out 2', 'answered 1']);
    expect(bench.store.log.length).toBe(2);
    await expectBroken(bench, 'INTERNAL');
  });

  it('when the tensors of an input cannot be had: the machine is ahead of the log by it', async () => {
    const bench = await Bench.begun();
    const failed = bench.submit(5, () => {
      throw new Error('no tensor');
    });
    await expect(failed).rejects.toThrow('no tensor');
    await expectBroken(bench, 'INTERNAL');
    expect((await replay(bench.store, maker))!.machine.snapshot()).toMatchObject({ sum: 0, inputs: 0 });
  });

  it('when the rows cannot be made', async () => {
    const bench = await Bench.begun();
    bench.describe = () => {
      throw new Error('no rows');
    };
    bench.submit(1);
    await bench.flush();
    expect(bench.out).toEqual(['rejected INTERNAL']);
    await expectBroken(bench, 'INTERNAL');
    expect(bench.store.log.length).toBe(1);
  });

  it('when letting out fails: nobody waits for ever, and what is durable is there for the next process', async () => {
    const bench = await Bench.begun();
    bench.deliver = ({ seq }) => {
      if (seq === 3) throw new Error('no way out');
    };
    for (const n of [1, 2, 4]) bench.submit(n);
    await bench.flush();
    expect(bench.out).toEqual(['let out 2', 'let out 3', 'answered 1', 'rejected INTERNAL', 'rejected INTERNAL']);
    await expectBroken(bench, 'INTERNAL');
    expect((await replay(bench.store, maker))!.machine.snapshot()).toMatchObject({ sum: 7 });
  });
});

describe('snapshots', () => {
  it('are taken every so many inputs and saved after the entries they are of', async () => {
    const bench = await Bench.begun({ snapshotEvery: 3 });
    for (const n of [1, 2, 3, 4, 5, 6, 7]) bench.submit(n);
    await bench.flush();
    expect(bench.store.asked).toEqual(['append 2,3,4,5,6,7,8', 'snapshot 4', 'snapshot 7']);
    expect(bench.store.snapshots.map(({ state }) => JSON.parse(state).state.sum)).toEqual([6, 21]);
    for (const { hash, state } of bench.store.snapshots) expect(hash).toBe(sha256(state));
  });

  it('are not saved while their entries are not stored', async () => {
    const bench = await Bench.begun({ snapshotEvery: 2 });
    bench.store.faults = [full(), full()];
    bench.submit(1);
    bench.submit(2);
    await bench.flush();
    await bench.again();
    expect(bench.store.asked.filter((line) => line.startsWith('snapshot'))).toEqual([]);
    await bench.again();
    expect(bench.store.asked.at(-1)).toBe('snapshot 3');
  });

  it('wait for the group that holds their entry', async () => {
    const bench = await Bench.begun({ snapshotEvery: 2 });
    bench.store.held = true;
    bench.submit(1);
    await bench.flush();
    bench.submit(2);
    bench.store.release();
    await quiet();
    expect(bench.store.asked).toEqual(['append 2', 'append 3', 'snapshot 3']);
    expect(JSON.parse(bench.store.snapshots[0]!.state).state).toMatchObject({ sum: 3 });
  });

  it('are of the state at their entry, whatever was handled since', async () => {
    const bench = await Bench.begun({ snapshotEvery: 2 });
    bench.store.held = true;
    bench.submit(1);
    bench.submit(2);
    await bench.flush();
    bench.submit(100);
    bench.store.release();
    await quiet();
    expect(JSON.parse(bench.store.snapshots[0]!.state).state).toMatchObject({ sum: 3, inputs: 2 });
  });

  it('that cannot be saved are tried again', async () => {
    const bench = await Bench.begun({ snapshotEvery: 1 });
    bench.store.snapshotFaults = [full()];
    bench.submit(1);
    await bench.flush();
    expect(bench.troubles).toEqual(['STORE_FAILED']);
    await bench.again();
    expect(bench.troubles).toEqual(['STORE_FAILED', null]);
    expect(bench.store.snapshots.map(({ seq }) => seq)).toEqual([2]);
    expect(bench.out).toEqual(['let out 2', 'answered 1']);
  });

  it('are counted from the newest one, also after a restart', async () => {
    const bench = await Bench.begun({ snapshotEvery: 4 });
    for (let i = 0; i < 6; i++) bench.submit(1);
    await bench.flush();
    expect(bench.store.snapshots.map(({ seq }) => seq)).toEqual([5]);
    const next = new Bench(bench.store);
    next.journal = (await next.open({ snapshotEvery: 4 })).journal!;
    for (let i = 0; i < 2; i++) next.submit(1);
    await next.flush();
    expect(bench.store.snapshots.map(({ seq }) => seq)).toEqual([5, 9]);
  });
});
