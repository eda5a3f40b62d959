/**
 * A state machine that survives its process. Inputs are handled one at a time and written in groups; what they cause
 * (effects, answers) is let out only when the group is durable, in order. So nobody ever learns of something that a
 * killed server would have forgotten, and reading the log again gives the same state, to the bit.
 *
 * While the store cannot be written nothing is let out and nothing is lost: the same group is tried again until it
 * works. A lost process costs the inputs nobody was answered, which their senders send again.
 */
import { SwarmError } from '@starling/protocol';
import { type Genesis, type NewRules, snapshotOf } from './log-format.ts';
import type { Machine, Maker } from './machine.ts';
import { type Beginning, type Replayed, replay } from './replay.ts';
import type { Batch, Entry, Row, Snapshot, Store, StoredTensor } from './store.ts';

export interface Handled<Input, Effect> {
  input: Input;
  effects: readonly Effect[];
  at: number;
  seq: number;
}

export interface JournalPorts<Input, Effect> {
  /** Unix ms. */
  now(): number;
  /** Runs `task` soon; what is submitted until then is written with it. */
  soon(task: () => void): void;
  /** Resolves after so many ms. */
  pause(ms: number): Promise<void>;
  /** Called in order when an input is durable, before its `submit` resolves. */
  deliver(handled: Handled<Input, Effect>): void;
  /** Rows for pages, and scopes whose tensors are not needed any more. */
  describe(handled: Handled<Input, Effect>): { rows: Row[]; released: string[] };
  /** The store cannot be written (an error), or can again (null). */
  onTrouble(error: SwarmError | null): void;
}

/**
 * Inputs between snapshots. Reading so many again takes one or two seconds after a crash; everybody waits up to a quarter of
 * a second for the snapshot of a large run, and must not do so more often than every hundredth of the time.
 */
const SNAPSHOT_EVERY = 250_000;
const RETRY_MS = 1_000;
/** Groups on their way to the disk at once: one is written while the next is handed over. More only make groups smaller. */
const GROUPS_UNDER_WAY = 2;

interface Pending<Input, Effect> extends Handled<Input, Effect> {
  tensors: readonly StoredTensor[];
  resolve(effects: readonly Effect[]): void;
  reject(error: unknown): void;
}

export interface Opened<Input, Effect, M extends Machine<Input, Effect>> {
  journal: Journal<Input, Effect, M> | null;
  damage: SwarmError | null;
  /** The rules of the log until now, where it goes on under others; null: it does not. */
  rulesBefore: number | null;
  begin(genesis: unknown): Promise<Journal<Input, Effect, M>>;
}

export class Journal<Input, Effect, M extends Machine<Input, Effect>> {
  readonly machine: M;
  private readonly rules: number;
  private readonly store: Store;
  private readonly ports: JournalPorts<Input, Effect>;
  private readonly snapshotEvery: number;
  private pending: Pending<Input, Effect>[] = [];
  /** Taken, and not handed over yet. */
  private snapshots: Snapshot[] = [];
  private snapshotSeq: number;
  private seq: number;
  /** The newest entry that is stored. */
  private durable: number;
  private at: number;
  /** How far the clock is behind the log: it may have been set back while nobody was here. */
  private readonly behind: number;
  private scheduled = false;
  /** Being written, the oldest first. */
  private readonly groups: Pending<Input, Effect>[][] = [];
  /** Calls of the store that have failed at least once and not got through yet. */
  private failing = 0;
  private tail: Promise<void> = Promise.resolve();
  private broken: SwarmError | null = null;
  private closed = false;

  private constructor(store: Store, ports: JournalPorts<Input, Effect>, from: Beginning<M>, snapshotEvery: number) {
    this.store = store;
    this.ports = ports;
    this.machine = from.machine;
    this.rules = from.rules;
    this.seq = from.seq;
    this.durable = from.seq;
    this.at = from.machine.now;
    this.behind = Math.max(0, from.machine.now - ports.now());
    this.snapshotSeq = from.snapshotSeq;
    this.snapshotEvery = snapshotEvery;
  }

  /**
   * What is there to go on with: null when the log is empty, or when it is damaged, as `damage` then tells. `begin`
   * begins anew behind whatever is there (its blobs may be gone, too); that stays as it is. A log of other rules is gone on with
   * where a snapshot is at its end, as `close` leaves it. Throws what the store throws, and `LOG_UNREADABLE` for a log of another
   * release.
   */
  static async open<Input, Effect, M extends Machine<Input, Effect>>(
    store: Store,
    maker: Maker<M>,
    ports: JournalPorts<Input, Effect>,
    { snapshotEvery = SNAPSHOT_EVERY }: { snapshotEvery?: number } = {},
  ): Promise<Opened<Input, Effect, M>> {
    let damage: SwarmError | null = null;
    const found = await replay(store, maker).catch((error: unknown) => {
      if (!(error instanceof SwarmError) || error.code !== 'LOG_DAMAGED') throw error;
      damage = error;
      return null;
    });
    const rulesBefore = found && found.rules !== maker.rules ? found.rules : null;
    const from = found && rulesBefore !== null ? await underNewRules(store, maker, found) : found;
    return {
      journal: from && new Journal(store, ports, from, snapshotEvery),
      damage,
      rulesBefore,
      begin: async (genesis) => {
        const seq = (await store.lastSeq()) + 1;
        const at = Math.max(found?.machine.now ?? 0, ports.now());
        const { rules } = maker;
        const entry: Genesis = { type: 'genesis', rules, genesis };
        await store.append({ entries: [{ seq, at, body: JSON.stringify(entry) }], rows: [], tensors: [], released: [] });
        const machine = maker.begin(genesis, at);
        // Nobody will ever read what is before it again, and perhaps nobody can.
        if (damage) await store.saveSnapshot(snapshotOf(machine, rules, seq));
        return new Journal(store, ports, { machine, rules, seq, snapshotSeq: seq }, snapshotEvery);
      },
    };
  }

  /** Number of the newest input handled, durable or not. */
  get handled(): number {
    return this.seq;
  }

  /** Unix ms, never before the log's newest entry. */
  get now(): number {
    return this.ports.now() + this.behind;
  }

  /** For how many ms the oldest input that is not durable has waited; 0 when there is none. */
  get overdueMs(): number {
    const oldest = this.groups[0]?.[0] ?? this.pending[0];
    return oldest ? this.now - oldest.at : 0;
  }

  /** Inputs handled and not yet durable. */
  get waiting(): number {
    return this.seq - this.durable;
  }

  /**
   * Handles an input at once and resolves with its effects when it is durable. `tensorsFor` is called at once, too: what it
   * returns becomes durable with the input.
   * Rejects with `STORE_CONFLICT` when this process is not the log's writer any more; then nothing works any more. With
   * `STORE_FAILED` after `close`.
   */
  submit(input: Input, tensorsFor?: (effects: readonly Effect[]) => readonly StoredTensor[]): Promise<readonly Effect[]> {
    if (this.broken) return Promise.reject(this.broken);
    if (this.closed) return Promise.reject(new SwarmError('STORE_FAILED', 'The log is closed.'));
    this.at = Math.max(this.at, this.now);
    const { promise, resolve, reject } = Promise.withResolvers<readonly Effect[]>();
    try {
      const effects = this.machine.handle(input, this.at);
      const tensors = tensorsFor?.(effects) ?? [];
      this.seq += 1;
      if (this.seq - this.snapshotSeq >= this.snapshotEvery) {
        this.snapshotSeq = this.seq;
        this.snapshots.push(snapshotOf(this.machine, this.rules, this.seq));
      }
      this.pending.push({ input, effects, at: this.at, seq: this.seq, tensors, resolve, reject });
    } catch (error) {
      // The machine may be half changed, or ahead of the log: that is right, and whoever restarts goes on from it.
      return Promise.reject(this.break(error));
    }
    if (!this.scheduled) {
      this.scheduled = true;
      this.ports.soon(() => this.flush());
    }
    return promise;
  }

  /** Returns what broke it first. */
  private break(cause: unknown): SwarmError {
    if (this.broken) return this.broken;
    const error = SwarmError.from(cause);
    this.broken = error;
    this.ports.onTrouble(error);
    for (const { reject } of this.pending.splice(0)) reject(error);
    return error;
  }

  /** Resolves when everything submitted so far is durable. */
  async settled(): Promise<void> {
    while (!this.broken && (this.pending.length > 0 || this.groups.length > 0)) {
      await this.tail;
      // What was submitted in this turn is handed over at its end.
      if (this.groups.length === 0 && this.pending.length > 0) await new Promise<void>((resolve) => this.ports.soon(resolve));
    }
  }

  /**
   * Takes no more inputs, and leaves a snapshot at the end of the log: from there a release with other rules can go on. Throws
   * what the store throws; then only a release with the same rules can.
   */
  async close(): Promise<void> {
    this.closed = true;
    await this.settled();
    if (this.broken || this.seq === this.snapshotSeq) return;
    await this.store.saveSnapshot(snapshotOf(this.machine, this.rules, this.seq));
    this.snapshotSeq = this.seq;
  }

  /** Hands over what is pending, in groups: while some are being written, the next one gathers. */
  private flush(): void {
    this.scheduled = false;
    if (this.broken || this.pending.length === 0 || this.groups.length >= GROUPS_UNDER_WAY) return;
    const group = this.pending;
    this.pending = [];
    this.groups.push(group);
    const written = this.write(group);
    written.catch(() => {}); // looked at in its turn
    this.tail = this.tail.then(async () => {
      try {
        await written;
        for (const handled of group) {
          this.ports.deliver(handled);
          handled.resolve(handled.effects);
        }
      } catch (error) {
        // Those that were answered before it stay so.
        for (const { reject } of group) reject(this.break(error));
      }
      this.groups.shift();
      this.flush();
    });
  }

  private async write(group: readonly Pending<Input, Effect>[]): Promise<void> {
    const described = group.map((handled) => this.ports.describe(handled));
    const batch: Batch = {
      entries: group.map(({ seq, at, input }): Entry => ({ seq, at, body: JSON.stringify(input) })),
      rows: described.flatMap(({ rows }) => rows),
      tensors: group.flatMap(({ tensors }) => tensors),
      released: described.flatMap(({ released }) => released),
    };
    const stored = group.at(-1)!.seq;
    const covered = this.snapshots.filter(({ seq }) => seq <= stored);
    this.snapshots = this.snapshots.slice(covered.length);
    await this.untilItWorks(() => this.store.append(batch));
    this.durable = stored;
    for (const snapshot of covered) await this.untilItWorks(() => this.store.saveSnapshot(snapshot));
  }

  private async untilItWorks(attempt: () => Promise<void>): Promise<void> {
    for (let failed = false; ; failed = true) {
      try {
        await attempt();
        if (failed && --this.failing === 0) this.ports.onTrouble(null);
        return;
      } catch (error) {
        const fault = SwarmError.from(error, 'STORE_FAILED');
        if (fault.code !== 'STORE_FAILED') throw fault;
        if (!failed && this.failing++ === 0) this.ports.onTrouble(fault);
        await this.ports.pause(RETRY_MS);
      }
    }
  }
}

/** Notes in the log that other rules hold from here on, and saves what they begin with. */
async function underNewRules<M extends Machine<never, unknown>>(
  store: Store,
  { rules }: Maker<M>,
  found: Replayed<M>,
): Promise<Beginning<M>> {
  const { machine } = found;
  const seq = found.seq + 1;
  const entry: NewRules = { type: 'rules', rules };
  await store.append({ entries: [{ seq, at: machine.now, body: JSON.stringify(entry) }], rows: [], tensors: [], released: [] });
  await store.saveSnapshot(snapshotOf(machine, rules, seq));
  return { machine, rules, seq, snapshotSeq: seq };
}
