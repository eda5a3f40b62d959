/** What tests of journals need: a machine that counts, a store that does what it is told, and time that stands still. */
import { SwarmError } from '@starling/protocol';
import { Journal, type JournalPorts } from './journal.ts';
import type { Machine, Maker } from './machine.ts';
import type { Batch, Entry, Snapshot, Store, StoredTensor } from './store.ts';

// ── a machine ───────────────────────────────────────────────────────────────────────────────────

export type Input = { add: number } | { fail: string };
export interface Effect {
  sum: number;
}

export class Counter implements Machine<Input, Effect> {
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
export type State = ReturnType<Counter['snapshot']>;

/** By rules n everything counts n times. */
export const makerOf = (rules: number): Maker<Counter> => ({
  rules,
  begin: (genesis, now) => new Counter(rules, genesis as string, now),
  restore: (snapshot) => {
    const { name, now, sum, inputs } = snapshot as State;
    return new Counter(rules, name, now, sum, inputs);
  },
});
export const maker = makerOf(1);

// ── a store that does what it is told ───────────────────────────────────────────────────────────

export class FakeStore implements Store {
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
export const full = () => new SwarmError('STORE_FAILED', 'The disk is full.');
export const conflict = () => new SwarmError('STORE_CONFLICT', 'Another server wrote.');

// ── a journal whose time stands still ───────────────────────────────────────────────────────────

/** Everything that is only waiting for promises has happened. */
export const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));

export class Bench {
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
