/**
 * The miner's runtime as a model: one stage, one queue, the same rules as `packages/miner`, with durations instead of
 * computation and names instead of tensors. Everything that goes wrong in it is drawn from the schedule.
 */
import type { GrantedLease, Merge } from '@starling/coordinator';
import { type Command, digest, gradientOf, parametersAfter, type Reply, type Request, reducedOf } from './messages.ts';
import { PING_MS, type Wire } from './network.ts';
import type { World } from './world.ts';

/** How often an unanswered request is sent again on an open connection; a lost message is worse than TCP allows. */
const REPEAT_MS = 10_000;
/** A socket that is refused is tried again after so long, at random. */
const RECONNECT_MS = [500, 5_000] as const;

export interface Temper {
  /** Ms of a forward. */
  pace: number;
  /** One way to the server, ms. */
  latency: number;
  /** Ms to fetch a stage, or to hand in a gradient. */
  transfer: number;
}

/** Everything that ends with an assignment. */
interface Term {
  stage: number;
  version: number;
  parameterHash: string;
  /** The gradient sum so far. */
  sum: { round: number; microbatches: number[] };
  handedIn: { round: number; microbatches: number[] } | null;
  /** Of the assignment. */
  round: number;
  /** Inputs kept, by microbatch: for the forwards that brought them and may count. */
  kept: Map<number, Set<string>>;
  /** Leases ever received: one that is repeated is not computed again. */
  seen: Set<string>;
  cancelled: Set<string>;
  unanswered: Set<Pending>;
  /** A gradient is handed in when all receipts are answered. */
  whenAnswered: (() => void)[];
}

interface Pending {
  request: Request;
  settle: (reply: Reply) => void;
}

export class VirtualMiner {
  readonly id: string;
  readonly temper: Temper;
  alive = true;
  /** Leases computed, and how many of them counted. */
  computed = 0;
  readonly world: World;
  private wire: Wire | null = null;
  private joined = false;
  private term: Term | null = null;
  private readonly pending = new Set<Pending>();
  private readonly queue: { term: Term | null; ms: () => number; run: () => void }[] = [];
  private working = false;
  private frozenUntil = 0;

  constructor(world: World, id: string, temper: Temper) {
    this.world = world;
    this.id = id;
    this.temper = temper;
    this.connect();
  }

  /** What it would show as proved, for the last look at the end of a run. */
  get holds(): { version: number; parameterHash: string } | null {
    return this.term && this.term.version >= 0 ? { version: this.term.version, parameterHash: this.term.parameterHash } : null;
  }

  get online(): boolean {
    return this.joined;
  }

  // ── faults ────────────────────────────────────────────────────────────────────────────────────

  /** The process is gone. */
  crash(): void {
    this.alive = false;
    this.wire?.close();
  }

  leave(): void {
    const { wire } = this;
    this.request('leave', { name: 'leave' }, () => {});
    this.alive = false;
    this.world.timeline.later(1_000, () => wire?.close());
  }

  /** It does nothing for so long; its socket stays open, and the system behind it takes what comes. */
  freeze(ms: number): void {
    this.frozenUntil = Math.max(this.frozenUntil, this.world.timeline.now + ms);
    const { wire } = this;
    if (ms > PING_MS) this.world.timeline.later(PING_MS, () => wire?.close());
  }

  drop(): void {
    this.wire?.close();
  }

  cut(ms: number): void {
    this.wire?.cut(ms);
  }

  // ── connection ────────────────────────────────────────────────────────────────────────────────

  private connect(): void {
    if (!this.alive) return;
    const { world } = this;
    const wire = world.dial(this.id, this.temper.latency, {
      command: (command) => this.awake(() => this.wire === wire && this.command(command)),
      closed: () => {
        if (this.wire !== wire) return;
        this.wire = null;
        this.joined = false;
        this.reconnectLater();
      },
    });
    this.wire = wire;
    if (wire) this.hello();
    else this.reconnectLater();
  }

  private reconnectLater(): void {
    const { timeline } = this.world;
    timeline.later(this.world.vary(...RECONNECT_MS), () => this.awake(() => this.connect()));
  }

  private hello(): void {
    this.joined = false;
    const holding = this.term && this.term.version >= 0 ? { stage: this.term.stage, version: this.term.version } : null;
    this.emit({
      request: { name: 'hello', holding },
      settle: (reply) => {
        if (!reply.ok) return;
        this.joined = true;
        for (const item of this.pending) this.emit(item);
      },
    });
  }

  /** `what`: for whoever injects faults. */
  private request(what: string, wanted: Request, settle: (reply: Reply) => void): Pending {
    const { world } = this;
    const spoil = world.strike(this, `sends ${what}`);
    const request =
      spoil === 'lie' && 'parameterHash' in wanted
        ? { ...wanted, parameterHash: 'a lie' }
        : spoil === 'lie' && 'hash' in wanted
          ? { ...wanted, hash: digest('a lie') }
          : spoil === 'useless' && 'useless' in wanted
            ? { ...wanted, useless: true }
            : wanted;
    const item: Pending = {
      request,
      settle: (reply) => {
        world.strike(this, `is told of ${what}`);
        if (this.alive) settle(reply);
      },
    };
    this.pending.add(item);
    if (spoil === 'lost') {
      world.timeline.later(REPEAT_MS, () => this.joined && this.pending.has(item) && this.emit(item));
      return item;
    }
    if (this.joined) this.emit(item);
    if (this.joined && spoil === 'twice') this.emit(item);
    return item;
  }

  private emit(item: Pending): void {
    const { wire } = this;
    if (!wire?.open || !this.alive) return;
    let answered = false;
    this.world.options.trace?.(`${this.world.timeline.now.toFixed(0)} ${this.id} → ${JSON.stringify(item.request)}`);
    const isHello = item.request.name === 'hello';
    wire.send('up', () =>
      this.world.serve(wire, this.id, item.request, (reply) =>
        wire.send('down', () =>
          this.awake(() => {
            if (answered || !this.alive || this.wire !== wire) return;
            answered = true;
            if (!reply.ok && reply.code === 'NOT_JOINED') {
              // The session ended meanwhile: hello comes first, then this again.
              if (this.joined) this.hello();
              return;
            }
            if (isHello || this.pending.delete(item)) item.settle(reply);
          }),
        ),
      ),
    );
    this.world.timeline.later(REPEAT_MS, () => {
      if (!answered && this.alive && this.wire === wire && (isHello ? !this.joined : this.joined && this.pending.has(item)))
        this.emit(item);
    });
  }

  /** Runs when the process does. */
  private awake(run: () => void): void {
    const { timeline } = this.world;
    if (timeline.now >= this.frozenUntil) run();
    else timeline.later(this.frozenUntil - timeline.now, () => this.awake(run));
  }

  // ── commands ──────────────────────────────────────────────────────────────────────────────────

  private command(command: Command): void {
    if (!this.alive) return;
    this.world.options.trace?.(`${this.world.timeline.now.toFixed(0)} ${this.id} ← ${JSON.stringify(command)}`);
    const spoil = this.world.strike(this, `gets ${command.name === 'lease' ? command.lease.kind : command.name}`);
    if (spoil === 'lost' || !this.alive) return;
    if (spoil === 'busy' && command.name === 'lease') {
      this.request('busy', { name: 'busy', leaseId: command.lease.id, pauseMs: 2_000 }, () => {});
      return;
    }
    this.obey(command);
    if (spoil === 'twice') this.obey(command);
  }

  private obey(command: Command): void {
    const { transfer } = this.temper;
    switch (command.name) {
      case 'assign': {
        if (this.term && command.round <= this.term.round) return;
        const term = this.newTerm(command.stage, command.round);
        this.enqueue(
          term,
          () => transfer,
          () => this.hold(term, command),
        );
        break;
      }
      case 'lease': {
        const { term } = this;
        if (!term || term.seen.has(command.lease.id)) return;
        term.seen.add(command.lease.id);
        this.enqueue(
          term,
          () => this.durationOf(term, command.lease),
          () => this.work(term, command.lease),
        );
        break;
      }
      case 'cancel':
        this.term?.cancelled.add(command.leaseId);
        break;
      case 'collect': {
        const { term } = this;
        this.enqueue(
          term,
          () => 0,
          () => term && this.handIn(term, command),
        );
        break;
      }
      case 'reduce': {
        const { term } = this;
        this.enqueue(
          term,
          () => transfer / 2,
          () => this.reduce(command),
        );
        break;
      }
      case 'merge': {
        const { term } = this;
        this.enqueue(
          term,
          () => transfer / 2,
          () => term && this.apply(term, command.stage, command.merge),
        );
        break;
      }
    }
  }

  private newTerm(stage: number, round: number): Term {
    for (const item of this.term?.unanswered ?? []) this.pending.delete(item);
    this.term = {
      stage,
      version: -1,
      parameterHash: '',
      sum: { round: -1, microbatches: [] },
      handedIn: null,
      round,
      kept: new Map(),
      seen: new Set(),
      cancelled: new Set(),
      unanswered: new Set(),
      whenAnswered: [],
    };
    return this.term;
  }

  /** Drops the stage and asks for an assignment as a newcomer would. */
  private resynchronise(): void {
    this.newTerm(-1, this.term?.round ?? 0);
    if (this.joined) this.hello();
  }

  private enqueue(term: Term | null, ms: () => number, run: () => void): void {
    this.queue.push({ term, ms, run });
    if (!this.working) this.workOn();
  }

  private workOn(): void {
    const next = this.queue.shift();
    this.working = next !== undefined;
    if (!next || !this.alive) return;
    const current = next.term === this.term;
    this.world.timeline.later(current ? next.ms() : 0, () =>
      this.awake(() => {
        if (this.alive && next.term === this.term && next.term !== null) next.run();
        this.workOn();
      }),
    );
  }

  private hold(term: Term, { version, parameterHash }: Extract<Command, { name: 'assign' }>): void {
    Object.assign(term, { version, parameterHash } satisfies Partial<Term>);
    this.request(
      'ready',
      { name: 'ready', stage: term.stage, round: term.round, version, parameterHash: this.said(parameterHash) },
      () => {},
    );
  }

  private said(parameterHash: string): string {
    return this.world.fault('lie') ? 'a lie' : parameterHash;
  }

  private durationOf(term: Term, lease: GrantedLease): number {
    if (lease.stage !== term.stage || lease.version !== term.version || term.cancelled.has(lease.id)) return 0;
    const usual = this.temper.pace * (lease.kind === 'backward' ? 2.5 : 1) * this.world.vary(0.8, 1.3);
    return this.world.fault('stall') ? Math.min(120_000, usual * this.world.random.between(20, 2_000)) : usual;
  }

  private work(term: Term, lease: GrantedLease): void {
    const { world } = this;
    const { id: leaseId, kind, stage, version, microbatch, round } = lease;
    if (stage !== term.stage || version !== term.version) return;
    const cancelled = term.cancelled.has(leaseId);
    if (kind === 'backward' && !lease.sendInput && !cancelled && !term.kept.has(microbatch)) {
      // One that was taken away long ago, and overtaken by its successor, may find its input used; one that counts on it may not.
      if (world.server.coordinator?.leaseOf(leaseId)?.state === 'open')
        world.fail(`${this.id} is to use an input of microbatch ${microbatch} that it does not keep`);
      this.request('busy', { name: 'busy', leaseId, pauseMs: 0 }, () => {});
      return;
    }
    if (kind === 'backward') term.kept.delete(microbatch);
    if (cancelled) return;
    if (world.fault('busy')) {
      this.request('busy', { name: 'busy', leaseId, pauseMs: 2_000 }, () => {});
      return;
    }
    if (kind === 'forward') term.kept.set(microbatch, (term.kept.get(microbatch) ?? new Set()).add(leaseId));
    this.computed += 1;
    world.computed(kind);
    const useless = world.isPoison(microbatch) || world.fault('useless');
    const item = this.request(`receipt of a ${kind}`, { name: 'receipt', leaseId, useless }, (reply) => {
      term.unanswered.delete(item);
      // Sent twice: the first one counted.
      const counted = reply.ok ? reply.counted : reply.code === 'RECEIPT_DUPLICATE';
      if (kind === 'forward' && !counted) this.forget(term, leaseId, microbatch);
      if (counted && kind === 'backward' && term === this.term) this.accumulate(term, round, microbatch);
      if (term.unanswered.size === 0) for (const go of term.whenAnswered.splice(0)) go();
    });
    term.unanswered.add(item);
  }

  /** This forward does not count. Another lease for the same microbatch may have brought the input, too. */
  private forget(term: Term, leaseId: string, microbatch: number): void {
    const leases = term.kept.get(microbatch);
    if (leases?.delete(leaseId) && leases.size === 0) term.kept.delete(microbatch);
  }

  private accumulate(term: Term, round: number, microbatch: number): void {
    if (round > term.sum.round) term.sum = { round, microbatches: [] };
    if (round === term.sum.round) term.sum.microbatches.push(microbatch);
  }

  private handIn(term: Term, collect: Extract<Command, { name: 'collect' }>): void {
    if (term.unanswered.size > 0) {
      // Later work waits behind it, as in the real one's queue: receipts are answered without it.
      term.whenAnswered.push(() => term === this.term && this.handIn(term, collect));
      return;
    }
    const { stage, version, round, shards } = collect;
    if (stage !== term.stage || (version !== term.version && term.handedIn?.round !== round)) return;
    if (term.handedIn?.round !== round) {
      if (term.sum.round !== round) {
        this.resynchronise();
        return;
      }
      term.handedIn = { round, microbatches: term.sum.microbatches };
      term.sum = { round: -1, microbatches: [] };
    }
    const { microbatches } = term.handedIn;
    const hashes = gradientOf(stage, version, microbatches, shards);
    const useless = this.world.fault('useless');
    this.world.timeline.later(this.temper.transfer, () => {
      if (term === this.term && this.alive)
        this.request('contribution', { name: 'contribution', stage, version, round, microbatches, hashes, useless }, () => {});
    });
  }

  private reduce(task: Extract<Command, { name: 'reduce' }>): void {
    const { stage, version, round, shard } = task;
    const hash = this.world.fault('lie') ? digest(`a lie of ${this.id}`) : reducedOf(task);
    this.request('result', { name: 'result', stage, version, round, shard, hash }, () => {});
  }

  private apply(term: Term, stage: number, merge: Merge): void {
    const { version } = merge;
    if (stage !== term.stage || version < term.version) return;
    if (version > term.version + 1) {
      this.resynchronise();
      return;
    }
    if (version === term.version + 1) {
      term.version = version;
      term.parameterHash = parametersAfter(term.parameterHash, merge);
      term.sum = { round: -1, microbatches: [] };
      term.kept.clear();
    }
    this.request('applied', { name: 'applied', stage, version, parameterHash: this.said(term.parameterHash) }, () => {});
  }
}
