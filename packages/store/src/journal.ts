/**
 * A state machine that survives its process. Inputs are handled one at a time and written in groups; what they cause
 * (effects, answers) is let out only when the group is durable, in order. So nobody ever learns of something that a
 * killed server would have forgotten, and reading the log again gives the same state, to the bit.
 *
 * While the store cannot be written nothing is let out and nothing is lost: the same group is tried again until it
 * works. A lost process costs the inputs nobody was answered, which their senders send again.
 */
import { hash } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import type { Batch, Entry, Row, Snapshot, Store, StoredTensor } from './store.ts';

/** What is journaled: pure, and plain data in and out. */
export interface Machine<Input, Effect> {
  /** Unix ms of the newest input. */
  readonly now: number;
  handle(input: Input, now: number): Effect[];
  /** Equal states give equal JSON. */
  snapshot(): unknown;
}

/** How a machine begins: from the log's first entry, or from a snapshot. */
export interface Maker<M> {
  /** Number of the rules its machines handle inputs by: other rules may make another state of the same inputs. */
  readonly rules: number;
  begin(genesis: unknown, now: number): M;
  restore(snapshot: unknown): M;
}

/** The first entry of a log, and of every new beginning in it. */
interface Genesis {
  type: 'genesis';
  rules: number;
  genesis: unknown;
}

/** What follows was handled by these rules: the first entry of a release with other rules. It changes nothing of the state. */
interface NewRules {
  type: 'rules';
  rules: number;
}

/** Of logs and snapshots from before rules were numbered. */
const NO_RULES = 0;

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
/** Entries read at a time. */
const PAGE = 5_000;
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

/** A snapshot's text; from before rules were numbered it is `state` alone. */
interface Saved {
  rules: number;
  state: unknown;
}

function snapshotOf(machine: Machine<never, unknown>, rules: number, seq: number): Snapshot {
  const state = JSON.stringify({ rules, state: machine.snapshot() } satisfies Saved);
  return { seq, hash: hash('sha256', state), state };
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

interface Beginning<M> {
  machine: M;
  /** Those of its newest entry. */
  rules: number;
  /** The newest entry in it. */
  seq: number;
  /** The snapshot it was read from; the genesis when there was none. */
  snapshotSeq: number;
}

export interface Replayed<M> extends Beginning<M> {
  /** The newest input that was handled by other rules here than when it was written: since then the state may be another. */
  otherRules: { seq: number; rules: number } | null;
}

export interface ReplayOptions<Input, Effect, M> {
  /** The last entry. */
  through?: number;
  /** False: read the whole log. */
  snapshots?: boolean;
  /** Handle inputs of other rules, too, and tell of it; else they are refused. */
  anyRules?: boolean;
  /** Go on from there instead; its machine is used. */
  from?: Replayed<M> | null;
  /** Gets an input and what it caused, after it was handled. */
  watch?(handled: { seq: number; input: Input; effects: readonly Effect[]; machine: M }): void;
}

/**
 * The machine as it was after entry `through`, from the newest snapshot before it; null for an empty log.
 * Throws `LOG_DAMAGED`, and `LOG_UNREADABLE` for a log of another release.
 */
export async function replay<Input, Effect, M extends Machine<Input, Effect>>(
  store: Pick<Store, 'entries' | 'snapshot'>,
  maker: Maker<M>,
  options: ReplayOptions<Input, Effect, M> = {},
): Promise<Replayed<M> | null> {
  const { through = Number.MAX_SAFE_INTEGER, snapshots = true, anyRules = false, from = null, watch } = options;
  const snapshot = snapshots && !from ? await store.snapshot(through) : null;
  let machine = from?.machine ?? null;
  let rules = from?.rules ?? NO_RULES;
  let seq = from?.seq ?? snapshot?.seq ?? 0;
  let snapshotSeq = from?.snapshotSeq ?? seq;
  let otherRules = from?.otherRules ?? null;
  try {
    if (snapshot) {
      const saved = savedIn(snapshot);
      rules = saved.rules;
      machine = maker.restore(saved.state);
    }
    for (let more = true; more && seq < through; ) {
      const page = await store.entries(seq, Math.min(PAGE, through - seq));
      more = page.length > 0;
      for (const entry of page) {
        const input = parse<Input>(entry, seq);
        if (isGenesis(input)) {
          machine = maker.begin(input.genesis, entry.at);
          rules = input.rules ?? NO_RULES;
          snapshotSeq = entry.seq;
          otherRules = null;
        } else if (isNewRules(input)) {
          rules = input.rules;
        } else {
          if (!machine) throw new Error('it does not begin at its beginning');
          if (rules !== maker.rules) {
            if (!anyRules) throw ofOtherRules(entry.seq, rules, maker.rules);
            otherRules = { seq: entry.seq, rules };
          }
          const effects = machine.handle(input, entry.at);
          watch?.({ seq: entry.seq, input, effects, machine });
        }
        seq = entry.seq;
      }
    }
  } catch (error) {
    if (error instanceof SwarmError && error.code !== 'INTERNAL') throw error;
    throw new SwarmError('LOG_UNREADABLE', `The log cannot be read after entry ${seq}: ${(error as Error).message}.`, { cause: error });
  }
  return machine && { machine, rules, seq, snapshotSeq, otherRules };
}

function ofOtherRules(seq: number, rules: number, here: number): SwarmError {
  const written = rules === NO_RULES ? 'before rules were numbered' : `under rules ${rules}`;
  const then =
    rules === NO_RULES
      ? 'Only the release that wrote it can go on with it.'
      : 'To go on, start the release that wrote it once more and stop it with SIGTERM, which leaves a snapshot at the end of the log; then start this one.';
  return new SwarmError(
    'LOG_UNREADABLE',
    `Entry ${seq} of the log was written ${written}: those of this release (${here}) could make another state of it. ${then}`,
  );
}

function savedIn({ state }: Snapshot): Saved {
  const saved = JSON.parse(state) as Partial<Saved>;
  return typeof saved.rules === 'number' ? (saved as Saved) : { rules: NO_RULES, state: saved };
}

function parse<Input>({ seq, body }: Entry, before: number): Genesis | NewRules | Input {
  if (seq !== before + 1) throw new SwarmError('LOG_DAMAGED', `Entry ${before + 1} of the log is missing.`);
  try {
    return JSON.parse(body) as Genesis | NewRules | Input;
  } catch (error) {
    throw new SwarmError('LOG_DAMAGED', `Entry ${seq} of the log is not what was written.`, { cause: error });
  }
}

const typeOf = (input: unknown) => (input as { type?: unknown })?.type;
const isGenesis = (input: unknown): input is Genesis => typeOf(input) === 'genesis';
const isNewRules = (input: unknown): input is NewRules => typeOf(input) === 'rules';
