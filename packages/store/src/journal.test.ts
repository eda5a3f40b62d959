import { SwarmError } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { type Handled, Journal, type JournalPorts, type Machine, type Maker, replay } from './journal.ts';
import { named, sha256 } from './samples.ts';
import type { Batch, Entry, Row, Snapshot, Store, StoredTensor } from './store.ts';

// ── a machine ───────────────────────────────────────────────────────────────────────────────────

type Input = { add: number } | { fail: string };
interface Effect {
  sum: number;
}

class Counter implements Machine<Input, Effect> {
  now: number;
  private readonly name: string;
  private sum: number;
  private inputs: number;
  private readonly rules: number;

  constructor(rules: number, name: string, now: number, sum = 0, inputs = 0) {
    this.rules = rules;
    this.name = name;
    this.now = now;
    this.sum = sum;
    this.inputs = inputs;
  }

  handle(input: Input, now: number): Effect[] {
    this.now = now;
    this.inputs += 1;
    if ('fail' in input) throw new Error(input.fail);
    this.sum += this.rules * input.add;
    return [{ sum: this.sum }];
  }

  snapshot() {
    const { name, now, sum, inputs } = this;
    return { name, now, sum, inputs };
  }
}
type State = ReturnType<Counter['snapshot']>;

/** By rules n everything counts n times. */
const makerOf = (rules: number): Maker<Counter> => ({
  rules,
  begin: (genesis, now) => new Counter(rules, genesis as string, now),
  restore: (snapshot) => {
    const { name, now, sum, inputs } = snapshot as State;
    return new Counter(rules, name, now, sum, inputs);
  },
});
const maker = makerOf(1);

// ── a store that does what it is told ───────────────────────────────────────────────────────────

class FakeStore implements Store {
  readonly name = 'fake';
  readonly log: Entry[] = [];
  readonly batches: Batch[] = [];
  readonly snapshots: Snapshot[] = [];
  /** What was asked of it, in order. */
  readonly asked: string[] = [];
  /** Thrown by the next writes, one each. */
  faults: unknown[] = [];
  /** Thrown by the next snapshots, one each. */
  snapshotFaults: unknown[] = [];
  /** Writes wait for `release`. */
  held = false;
  private readonly waiting: (() => void)[] = [];

  release(): void {
    this.held = false;
    for (const go of this.waiting.splice(0)) go();
  }

  async append(batch: Batch): Promise<void> {
    this.asked.push(`append ${batch.entries.map(({ seq }) => seq)}`);
    if (this.held) await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.faults.length > 0) throw this.faults.shift();
    const next = (this.log.at(-1)?.seq ?? 0) + 1;
    if (batch.entries[0]!.seq !== next) throw new SwarmError('STORE_CONFLICT', `Entry ${batch.entries[0]!.seq} does not follow.`);
    this.batches.push(batch);
    this.log.push(...batch.entries);
  }

  async saveSnapshot(snapshot: Snapshot): Promise<void> {
    this.asked.push(`snapshot ${snapshot.seq}`);
    if (this.snapshotFaults.length > 0) throw this.snapshotFaults.shift();
    if (snapshot.seq > (this.log.at(-1)?.seq ?? 0)) throw new Error('a snapshot of what is not stored');
    this.snapshots.push(snapshot);
  }

  async entries(after: number, limit: number): Promise<Entry[]> {
    this.asked.push(`entries after ${after}`);
    return this.log.filter(({ seq }) => seq > after).slice(0, limit);
  }

  async snapshot(through: number): Promise<Snapshot | null> {
    return this.snapshots.filter(({ seq }) => seq <= through).at(-1) ?? null;
  }

  lastSeq = async () => this.log.at(-1)?.seq ?? 0;
  rows = async () => [];
  tensors = async () => [];
  close = async () => {};
}
const full = () => new SwarmError('STORE_FAILED', 'The disk is full.');
const conflict = () => new SwarmError('STORE_CONFLICT', 'Another server wrote.');

// ── a journal whose time stands still ───────────────────────────────────────────────────────────

/** Everything that is only waiting for promises has happened. */
const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));

class Bench {
  readonly store: FakeStore;
  /** What was let out, and what was answered, in order. */
  readonly out: string[] = [];
  readonly troubles: (string | null)[] = [];
  now = 1_000;
  pauses: number[] = [];
  journal!: Journal<Input, Effect, Counter>;
  describe: JournalPorts<Input, Effect>['describe'] = () => ({ rows: [], released: [] });
  deliver: JournalPorts<Input, Effect>['deliver'] = () => {};
  private tasks: (() => void)[] = [];
  private waiting: (() => void)[] = [];

  constructor(store = new FakeStore()) {
    this.store = store;
  }

  static async begun(options?: { snapshotEvery: number }): Promise<Bench> {
    const bench = new Bench();
    const { begin } = await bench.open(options);
    bench.journal = await begin('first');
    bench.store.asked.length = 0;
    return bench;
  }

  open(options?: { snapshotEvery: number }, rules = 1) {
    return Journal.open<Input, Effect, Counter>(
      this.store,
      makerOf(rules),
      {
        now: () => this.now,
        soon: (task) => this.tasks.push(task),
        pause: (ms) => {
          this.pauses.push(ms);
          return new Promise((resolve) => this.waiting.push(resolve));
        },
        deliver: (handled) => {
          this.out.push(`let out ${handled.seq}`);
          this.deliver(handled);
        },
        describe: (handled) => this.describe(handled),
        onTrouble: (error) => this.troubles.push(error?.code ?? null),
      },
      options,
    );
  }

  submit(add: number, tensorsFor?: (effects: readonly Effect[]) => readonly StoredTensor[]): Promise<readonly Effect[]> {
    const promise = this.journal.submit({ add }, tensorsFor);
    promise.then(
      ([effect]) => this.out.push(`answered ${effect!.sum}`),
      (error: SwarmError) => this.out.push(`rejected ${error.code}`),
    );
    return promise;
  }

  /** What is to run soon runs, and everything that follows from it. */
  async flush(): Promise<void> {
    for (const task of this.tasks.splice(0)) task();
    await quiet();
  }

  /** The pause before the next attempt is over. */
  async again(): Promise<void> {
    for (const go of this.waiting.splice(0)) go();
    await quiet();
  }

  get state(): State {
    return this.journal.machine.snapshot();
  }
}

// ── tests ───────────────────────────────────────────────────────────────────────────────────────

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
